"""Batch normalisations that the file keeps are the same network as folded ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import rfponnx
from rfponnx.rules.composite import COMPOSITES
from rfponnx.verify.float64 import Float64
from tests.reference import nets
from tests.reference.export import export
from tests.reference.net import Net
from tests.reference.resnet import merged

EXACT = 1e-10


def coarse(net: Net) -> Net:
    """Return a network whose folded weights float32 holds: few bits, gains that are powers of 2."""
    steps = []
    for place, step in enumerate(net.steps):
        p = {k: v for k, v in step.p.items() if v is not None}
        numbers = {k: np.round(v * 64) / 64 for k, v in p.items() if isinstance(v, np.ndarray)}
        if step.kind == "batchnorm":
            shape = np.shape(step.p["scale"])
            power = 2.0 ** ((np.arange(shape[0]) + place) % 3 - 1)
            numbers |= {"scale": np.sign(step.p["scale"]), "var": power**2 - step.p["eps"]}
        steps.append(replace(step, p={**step.p, **numbers}))
    return Net(net.shape, steps)


@pytest.mark.parametrize("name", COMPOSITES)
def test_kept_or_folded_the_relevance_is_the_same(name: str, rng: np.random.Generator) -> None:
    net = coarse(nets.residual(rng))
    given: dict[str, Any] = {
        "method": "lrp", "composite": name, "account": "explicit", "target": "argmax,0",
        "set": {"batchnorm": "merge"},
    }  # fmt: skip
    x = {"x": rng.normal(size=(2, *net.shape)).astype(np.float32)}
    runs = []
    for one in (net, merged(net)):
        model = export(one)
        made = rfponnx.convert(model, **given)
        runs.append(Float64(made.model).run(x))
        alone = Float64(model).run(x)
        assert all(np.array_equal(runs[-1][k], alone[k]) for k in alone)
    kept, folded = runs
    assert len([n for n in kept if n.endswith("_relevance")]) == 3
    for output in (n for n in kept if n.endswith("_relevance")):
        scale = max(np.abs(kept["x_relevance"]).sum(), np.abs(kept[output]).max())
        assert np.abs(kept[output] - folded[output]).max() <= EXACT * scale, output
    assert kept["x_relevance"].any() or name == "zero"
