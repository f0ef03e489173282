"""`--method deeplift` against the printed formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.reference import nets
from tests.reference.compare import agree, drawn
from tests.reference.deeplift import VARIANTS, deeplift
from tests.reference.net import Net
from tests.reference.resnet import merged

Rng = np.random.Generator


@pytest.mark.parametrize("make", [*nets.NETS, nets.smooth], ids=lambda f: f.__name__)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("zero", [True, False], ids=["zero", "drawn"])
def test_deeplift(make: Callable[[Rng], Net], variant: str, zero: bool, rng: Rng) -> None:
    net = make(rng)
    # contributions are those of a layer with its batchnorm; a single multiplier does not mind
    seen = net if variant == "rescale" else merged(net)
    x = drawn(net, rng)
    x0 = np.zeros_like(x) if zero else drawn(net, rng)
    bases = iter(x0.astype(np.float64))
    feeds = {"x": x} if zero else {"x": x, "x_reference": x0}
    settings = {"variant": variant} | ({} if zero else {"reference": "input"})
    agree(
        net, feeds, lambda one: deeplift(seen, one, next(bases), 1, variant),
        zero=variant == "no_crossing", method="deeplift", target=1, set=settings,
    )  # fmt: skip


@pytest.mark.parametrize("variant", ["rescale", "reveal_cancel"])
def test_no_difference_at_all(variant: str, rng: Rng) -> None:
    net = nets.vgg(rng)
    x = drawn(net, rng)
    agree(
        net, {"x": x, "x_reference": x}, lambda one: np.zeros(one.size), zero=True,
        method="deeplift", target=1, set={"variant": variant, "reference": "input"},
    )  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_entries_without_a_difference(variant: str, rng: Rng) -> None:
    net = nets.vgg(rng)
    x = drawn(net, rng)
    x0 = np.where(rng.uniform(size=x.shape) < 0.5, x, drawn(net, rng)).astype(np.float32)
    bases = iter(x0.astype(np.float64))
    agree(
        net, {"x": x, "x_reference": x0}, lambda one: deeplift(net, one, next(bases), 0, variant),
        method="deeplift", target=0, set={"variant": variant, "reference": "input"},
    )  # fmt: skip
