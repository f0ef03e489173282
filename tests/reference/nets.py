"""The networks of the comparisons: each kind of step, in the company it has in practice."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numpy as np

from tests.reference.net import Array, Net, Step

Rng = np.random.Generator


#: Of each network: drawing one that is alive takes longer than running it.
VARIANTS = 3


def single(a: Any) -> Array:
    """Return numbers that float32 holds, in float64: what a model stores."""
    return np.asarray(a, np.float32).astype(np.float64)


def conv(rng: Rng, name: str, read: str, o: int, i: int, k: int = 3, **p: Any) -> Step:
    """Return a convolution with drawn weights; a bias unless ``bias=False``."""
    scale = 1 / np.sqrt(i * k * k)
    b = single(rng.normal(size=o) / 4 + 0.1) if p.pop("bias", True) else None
    w = single(rng.normal(size=(o, i // p.get("group", 1), k, k)) * scale * 1.5)
    return Step(name, "conv", (read,), {"w": w, "b": b, **p})


def dense(rng: Rng, name: str, read: str, o: int, i: int) -> Step:
    """Return a dense layer with drawn weights."""
    w, b = rng.normal(size=(o, i)) / np.sqrt(i) * 1.5, rng.normal(size=o) / 4 + 0.1
    return Step(name, "dense", (read,), {"w": single(w), "b": single(b)})


def batchnorm(rng: Rng, name: str, read: str, n: int) -> Step:
    """Return a batch normalisation with scales of both signs."""
    p = {
        "scale": single(rng.uniform(0.5, 1.5, n) * rng.choice([1, 1, -1], n)),
        "shift": single(rng.normal(size=n) / 4),
        "mean": single(rng.normal(size=n) / 4),
        "var": single(rng.uniform(0.5, 2, n)),
        "eps": 2.0**-16,
    }
    return Step(name, "batchnorm", (read,), p)


def relu(name: str, read: str) -> Step:
    """Return a ReLU."""
    return Step(name, "relu", (read,))


def alive(build: Callable[[Rng], Net]) -> Callable[[Rng], Net]:
    """Draw a network again until every ReLU lets something through and every score weighs.

    A score that only one sign of its terms speaks for has no relevance under half of the rules.
    """

    @cache
    def drawn(seed: int) -> Net:
        rng = np.random.default_rng(seed)
        for _ in range(1000):
            net = build(rng)
            runs = [net.forward(np.round(rng.normal(size=net.shape), 1)) for _ in range(6)]
            through = (run[s.name].any() for run in runs for s in net.steps if s.kind == "relu")
            last = net.steps[-1]
            terms = (net.linear(last).matrix * run[last.reads[0]] for run in runs)
            if all(through) and all((t.max(1) > 0).all() and (t.min(1) < 0).all() for t in terms):
                return net
        raise AssertionError("no such network in a thousand")

    @wraps(build)
    def make(rng: Rng) -> Net:
        return drawn(int(rng.integers(VARIANTS)))

    return make


@alive
def layers(rng: Rng) -> Net:
    """Dense and ReLU only."""
    return Net((7,), [
        dense(rng, "d1", "x", 6, 7), relu("r1", "d1"),
        dense(rng, "d2", "r1", 5, 6), relu("r2", "d2"),
        dense(rng, "scores", "r2", 3, 5),
    ])  # fmt: skip


@alive
def vgg(rng: Rng) -> Net:
    """Convolutions with stride, groups and padding, a max pool, a dense head."""
    return Net((2, 6, 6), [
        conv(rng, "c1", "x", 4, 2, pad=1), relu("r1", "c1"),
        conv(rng, "c2", "r1", 4, 4, pad=1, group=2), relu("r2", "c2"),
        Step("p", "maxpool", ("r2",), {"kernel": 2}),
        conv(rng, "c3", "p", 3, 4, k=2, stride=1), relu("r3", "c3"),
        Step("f", "flatten", ("r3",)),
        dense(rng, "d1", "f", 5, 12), relu("r4", "d1"),
        dense(rng, "scores", "r4", 3, 5),
    ])  # fmt: skip


@alive
def smooth(rng: Rng) -> Net:
    """Activations that are no ReLU, one of them not 0 at 0."""
    return Net((2, 5, 5), [
        conv(rng, "c1", "x", 3, 2, pad=1), Step("a1", "leaky", ("c1",)),
        conv(rng, "c2", "a1", 3, 3, stride=2), Step("a2", "tanh", ("c2",)),
        Step("f", "flatten", ("a2",)), dense(rng, "d1", "f", 5, 12), Step("a3", "sigmoid", ("d1",)),
        dense(rng, "scores", "a3", 3, 5),
    ])  # fmt: skip


@alive
def pools(rng: Rng) -> Net:
    """Two max pools with overlap and padding, an average pool, a concat of two branches."""
    return Net((2, 8, 8), [
        conv(rng, "c1", "x", 3, 2, pad=1, stride=1), relu("r1", "c1"),
        Step("p1", "maxpool", ("r1",), {"kernel": 3, "stride": 2, "pad": 1}),
        Step("p2", "maxpool", ("p1",), {"kernel": 2, "stride": 1}),
        conv(rng, "c2", "p2", 2, 3, k=1), relu("r2", "c2"),
        Step("j", "concat", ("p2", "r2")),
        Step("p3", "avgpool", ("j",), {"kernel": 2, "stride": 1}),
        conv(rng, "c3", "p3", 3, 5, k=2), relu("r3", "c3"),
        Step("g", "global", ("r3",)), Step("f", "flatten", ("g",)),
        dense(rng, "scores", "f", 3, 3),
    ])  # fmt: skip


@alive
def residual(rng: Rng) -> Net:
    """A block with an identity skip and one with a projection, batchnorms as torchvision's."""
    return Net((2, 8, 8), [
        conv(rng, "c1", "x", 4, 2, pad=1, bias=False), batchnorm(rng, "b1", "c1", 4),
        relu("r1", "b1"), Step("p", "maxpool", ("r1",), {"kernel": 3, "stride": 2, "pad": 1}),
        conv(rng, "c2", "p", 4, 4, pad=1, bias=False), batchnorm(rng, "b2", "c2", 4),
        relu("r2", "b2"),
        conv(rng, "c3", "r2", 4, 4, pad=1, bias=False), batchnorm(rng, "b3", "c3", 4),
        Step("a1", "add", ("b3", "p")), relu("r3", "a1"),
        conv(rng, "c4", "r3", 4, 4, pad=1, stride=2, bias=False), batchnorm(rng, "b4", "c4", 4),
        relu("r4", "b4"),
        conv(rng, "c5", "r4", 4, 4, pad=1, bias=False), batchnorm(rng, "b5", "c5", 4),
        conv(rng, "c6", "r3", 4, 4, k=1, stride=2, bias=False), batchnorm(rng, "b6", "c6", 4),
        Step("a2", "add", ("b5", "b6")), relu("r5", "a2"),
        Step("g", "global", ("r5",)), Step("f", "flatten", ("g",)),
        dense(rng, "scores", "f", 3, 4),
    ])  # fmt: skip


@alive
def normalised(rng: Rng) -> Net:
    """Batchnorms in front of layers: behind a ReLU, at the input, and one that a ReLU reads."""
    return Net((2, 6, 6), [
        batchnorm(rng, "b0", "x", 2),
        conv(rng, "c1", "b0", 3, 2, k=3, pad=1), relu("r1", "c1"), batchnorm(rng, "b1", "r1", 3),
        conv(rng, "c2", "b1", 4, 3, pad=1, stride=2), relu("r2", "c2"),
        Step("p", "maxpool", ("r2",), {"kernel": 2, "stride": 1}),
        batchnorm(rng, "b2", "p", 4), relu("r3", "b2"), conv(rng, "c3", "r3", 3, 4, k=2),
        Step("f", "flatten", ("c3",)), dense(rng, "scores", "f", 3, 3),
    ])  # fmt: skip


@alive
def plain_residual(rng: Rng) -> Net:
    """The same blocks without batchnorms, with biases."""
    return Net((2, 6, 6), [
        conv(rng, "c1", "x", 3, 2, pad=1), relu("r1", "c1"),
        conv(rng, "c2", "r1", 3, 3, pad=1), relu("r2", "c2"),
        conv(rng, "c3", "r2", 3, 3, pad=1),
        Step("a1", "add", ("c3", "r1")), relu("r3", "a1"),
        conv(rng, "c4", "r3", 3, 3, pad=1, stride=2), conv(rng, "c5", "r3", 3, 3, k=1, stride=2),
        Step("a2", "add", ("c4", "c5")), relu("r4", "a2"),
        Step("p", "avgpool", ("r4",), {"kernel": 3}), Step("f", "flatten", ("p",)),
        dense(rng, "scores", "f", 3, 3),
    ])  # fmt: skip


@alive
def integers(rng: Rng) -> Net:
    """Small whole numbers: sums that are exactly 0, pools with ties, neurons at their hinge."""

    def whole(step: Step, *, bias: bool) -> Step:
        w = rng.integers(-1, 2, step.p["w"].shape).astype(np.float64)
        b = rng.integers(-1, 2, len(w)).astype(np.float64) if bias else None
        return Step(step.name, step.kind, step.reads, {**step.p, "w": w, "b": b})

    return Net((2, 6, 6), [
        whole(conv(rng, "c1", "x", 4, 2, pad=1), bias=False), relu("r1", "c1"),
        Step("p1", "maxpool", ("r1",), {"kernel": 2}),
        whole(conv(rng, "c2", "p1", 4, 4, pad=1), bias=True), relu("r2", "c2"),
        whole(conv(rng, "c3", "r2", 4, 4, pad=1), bias=True),
        Step("a", "add", ("c3", "p1")), relu("r3", "a"),
        Step("p2", "avgpool", ("r3",), {"kernel": 3, "stride": 3}), Step("f", "flatten", ("p2",)),
        whole(dense(rng, "d1", "f", 6, 4), bias=False), relu("r4", "d1"),
        whole(dense(rng, "scores", "r4", 3, 6), bias=True),
    ])  # fmt: skip


NETS: tuple[Callable[[Rng], Net], ...] = (layers, vgg, pools, residual, plain_residual)
