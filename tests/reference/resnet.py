"""Whole networks under LRP: pools, sums and batchnorms beside the layers, and two recipes.

`recipe` is a function of a step; `lrp_resnet` is the one of [RES] as the paper states it,
`lrp_resnet_code` as its authors' program does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tests.reference import lrp
from tests.reference.net import Array, Linear, Net, Step, linear
from tests.reference.walk import Relevance, Split, propagate, rearranged

ZENNIT = lrp.FLAVORS["zennit"]
Values = dict[str, Array]


def explain(
    net: Net,
    x: Array,
    seed: Array,
    rules: Mapping[str, lrp.Rule],
    *,
    residual: str = "proportional",
    identity_skips: str = "include",
    max_pool: lrp.Rule | None = None,
    ones: bool = False,
    stabiliser: float = 1e-6,
) -> Relevance:
    """Return the relevance of x.

    Parameters
    ----------
    rules
        By kind of step (conv, dense, batchnorm, avgpool, global) or by the name of one.
        A kind without a rule passes its relevance on as it is.
    residual, identity_skips
        How a sum divides its relevance, and whether an identity skip gets any.
    max_pool
        A rule for the 2 x 2 average that takes the place of a max pool; without, the winner
        takes all.
    ones
        Whether the first layer is told that the input is 1 everywhere.
    stabiliser
        Of a proportional sum.
    """
    values = net.forward(x)

    def rule(step: Step, reads: Sequence[Array], y: Array, r: Array) -> Split:
        if step.kind in ("flatten", "concat"):
            return Split(rearranged(step, reads, r))
        if step.kind == "add":
            kept = _kept(net, step, identity_skips)
            return Split(_divided(reads, r, residual, kept, stabiliser))
        if step.kind == "maxpool" and max_pool is None:
            return Split([_winners(net, step, reads[0], r)])
        if step.kind == "maxpool":
            average = Step(step.name, "avgpool", step.reads, {"kernel": 2})
            return max_pool(linear(average, net.shapes[step.reads[0]]), reads[0], r)
        found = rules.get(step.name, rules.get(step.kind))
        if found is None:
            return Split([r])
        read = np.ones_like(reads[0]) if ones and step.reads[0] == "x" else reads[0]
        return found(net.linear(step), read, r)

    return propagate(net, values, seed, rule)


def _winners(net: Net, step: Step, x: Array, r: Array) -> Array:
    found = np.zeros_like(x)
    for j, window in enumerate(net.windows(step)):
        found[max(window, key=lambda i: x[i])] += r[j]  # the first of equals
    return found


def _kept(net: Net, step: Step, identity_skips: str) -> list[bool]:
    """Return which operands of a sum get a share: all, or those that are no identity skip."""
    if identity_skips == "include":
        return [True] * len(step.reads)
    above = [_ancestors(net, r) for r in step.reads]
    return [
        not any(read in above[k] for k in range(len(above)) if k != place)
        for place, read in enumerate(step.reads)
    ]


def _ancestors(net: Net, name: str) -> set[str]:
    if name == "x":
        return set()
    reads = net.step(name).reads
    return set(reads).union(*(_ancestors(net, r) for r in reads))


def _divided(
    reads: Sequence[Array], r: Array, policy: str, kept: Sequence[bool], stabiliser: float
) -> Sequence[Array]:
    """Divide the relevance of a sum among its operands."""
    alive = [h if k else np.zeros_like(h) for h, k in zip(reads, kept, strict=True)]
    if policy == "symmetric":
        return [r * k / sum(kept) for k in kept]
    if policy == "proportional":
        d = lrp.signed(np.sum(alive, axis=0), stabiliser)
    else:
        alive = [np.abs(h) for h in alive]
        d = np.sum(alive, axis=0)
    q = np.divide(r, d, out=np.zeros_like(r), where=d != 0)
    return [h * q for h in alive]


def softmax(scores: Array) -> Array:
    """Return probabilities."""
    e = np.exp(scores - scores.max())
    return e / e.sum()


def probability_seed(net: Net, x: Array, target: int) -> Array:
    """Return the probability of a class, at its place."""
    scores = net.forward(x)[net.out]
    return np.where(np.arange(len(scores)) == target, softmax(scores), 0)


def lrp_resnet(net: Net, x: Array, target: int) -> Relevance:
    """The recipe of the paper: z_plus without biases everywhere, sums by absolute ratio."""
    f = replace(ZENNIT, stabiliser=1e-9, plus_bias="none")
    rule = lrp.z_plus(f)
    rules = dict.fromkeys(("conv", "dense", "avgpool", "global"), rule)
    return explain(net, x, probability_seed(net, x, target), rules, residual="ratio")


def lrp_resnet_code(net: Net, x: Array, target: int) -> Relevance:
    """The recipe of the authors' program: eps 1e-5 unsigned, x not split, ones as the image."""
    f = lrp.Flavor(1e-5, 1e-5, lrp.unsigned, lrp.unsigned, plus_bias="all", split=False)
    conv, dense = lrp.z_plus(f), lrp.z_plus(replace(f, plus_bias="none"))
    rules = {"conv": conv, "dense": dense, "avgpool": lrp.epsilon(f), "global": lrp.epsilon(f)}
    return explain(
        net, x, probability_seed(net, x, target), rules, residual="ratio",
        max_pool=lrp.epsilon(f), ones=True,
    )  # fmt: skip


def merged(net: Net) -> Net:
    """Return the network with every batchnorm inside the convolution in front of it."""
    behind = {s.reads[0]: s for s in net.steps if s.kind == "batchnorm"}
    steps = []
    for step in net.steps:
        if step.kind == "batchnorm":
            continue
        if step.name not in behind:
            steps.append(step)
            continue
        norm = behind[step.name]
        scale = norm.p["scale"] / np.sqrt(norm.p["var"] + norm.p["eps"])
        b = step.p["b"] if step.p.get("b") is not None else 0.0
        p = {**step.p, "w": step.p["w"] * scale[:, None, None, None]}
        p["b"] = (b - norm.p["mean"]) * scale + norm.p["shift"]
        steps.append(replace(step, name=norm.name, p=p))
    return Net(net.shape, steps)


def merged_ahead(net: Net) -> Net:
    """Return the network with batchnorms inside the layers that read them, padding and all."""
    norms = {s.name: s for s in net.steps if s.kind == "batchnorm"}
    layers = [s for s in net.steps if s.kind in ("conv", "dense") and s.reads[0] in norms]
    taken = {s.reads[0] for s in layers}
    around = {s.name: replace(s, reads=norms[s.reads[0]].reads) for s in layers}
    found = Net(net.shape, [around.get(s.name, s) for s in net.steps if s.name not in taken])
    for step in layers:
        norm, own = net.linear(norms[step.reads[0]]), net.linear(step)
        bias = own.matrix @ norm.bias + own.bias
        found.replace(step.name, Linear(own.matrix @ norm.matrix, bias, own.window))
    return found


def contrastive_lrp(net: Net, x: Array, target: int, *, positive: bool) -> Array:
    """Return ``n(R(y_k)) - n(R(y_not k))`` under z_plus ([LIE] eq. 15), n divides by the sum."""
    scores = net.forward(x)[net.out]
    own = np.arange(len(scores)) == target
    rules = dict.fromkeys(("conv", "dense"), lrp.z_plus(ZENNIT))
    rules |= dict.fromkeys(("avgpool", "global"), lrp.epsilon(ZENNIT))
    maps = [explain(net, x, np.where(mask, scores, 0), rules).x for mask in (own, ~own)]
    found = np.subtract(*(m / (m.sum() or 1) for m in maps))
    return np.maximum(found, 0) if positive else found


def excitation(f: lrp.Flavor) -> lrp.Rule:
    """``w^+ x`` over its sum, without biases."""
    return lrp.z_plus(replace(f, plus_bias="none"))


def contrastive_excitation(f: lrp.Flavor) -> lrp.Rule:
    """``Z^+ - N^+``: the shares of the weights less those of the negated ones ([LIE] eq. 16)."""

    def rule(layer: Linear, x: Array, r: Array) -> Split:
        opposite = replace(layer, matrix=-layer.matrix)
        return lrp.both(excitation(f)(layer, x, r), excitation(f)(opposite, x, r), -1.0)

    return rule


def quantized(a: Array, bins: int, reading: str) -> Array:
    """Return a heat map in steps: as printed ([RES] eq. 8), scale-preserving, or as coded."""
    low, high = a.min(), a.max()
    if low == high:
        return a
    if reading == "code":
        edges = np.linspace(low, high, bins)
        return np.array([max(e for e in edges if e <= v) for v in a.ravel()]).reshape(a.shape)
    steps = np.floor(bins * (a - low) / (high - low))  # exactly `bins` at the maximum
    return low + steps * (bins if reading == "printed" else (high - low) / bins)


Recipe = Callable[[Net, Array, int], Relevance]
RECIPES: dict[str, Recipe] = {"lrp_resnet": lrp_resnet, "lrp_resnet_code": lrp_resnet_code}
