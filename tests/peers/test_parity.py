"""The backward methods against the tools that people use, on nets that all of them can run.

The vectors are those tools' own answers (``fixtures/peers/README.md``), in float64, on the
numbers of the ONNX file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from rfponnx.methods.convert import Converted
from rfponnx.verify.float64 import Float64
from tests.ops.harness import run_float32
from tests.peers.vectors import ASKS, INPUT, NETS, OUTPUT, Array, Vector, arrays, vectors

#: Relative to the largest entry of a map.  Two orders of float64 arithmetic differ by 1e-13, and
#: what is left is room for cancellation; float32 keeps 6e-8 an operation.
FLOAT32, FLOAT64 = 1e-5, 1e-8

ALL = [pytest.param(vector, id=str(vector)) for vector in vectors()]


@pytest.fixture(scope="module")
def made() -> dict[Vector, Converted]:
    """Conversions that were made."""
    return {}


def conversion(vector: Vector, made: dict[Vector, Converted]) -> Converted:
    if vector not in made:
        made[vector] = vector.converted()
    return made[vector]


def assert_same(vector: Vector, outputs: Mapping[str, Any], tolerance: float) -> None:
    """Hold a map against the peer's, sample by sample: neither hides behind the other."""
    found, expected = outputs[f"{INPUT}_relevance"], vector.expected()
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    for ours, theirs in zip(found, expected, strict=True):
        assert worst(ours, theirs) < tolerance


def worst(ours: Array, theirs: Array) -> float:
    """Return the largest difference relative to the largest entry; a map can be zero."""
    difference = float(np.abs(ours - theirs).max())
    return difference and difference / max(float(np.abs(theirs).max()), 1e-30)


@pytest.mark.parametrize("vector", ALL)
def test_equal_in_float64(vector: Vector, made: dict[Vector, Converted]) -> None:
    model = conversion(vector, made).model
    outputs = Float64(model).run(vector.feeds())
    assert_same(vector, outputs, FLOAT64)


@pytest.mark.parametrize("vector", ALL)
def test_equal_in_float32(vector: Vector, made: dict[Vector, Converted]) -> None:
    model = conversion(vector, made).model
    assert_same(vector, run_float32(model, vector.feeds()), FLOAT32)


@pytest.mark.parametrize("net", NETS)
def test_the_peers_saw_this_network(net: str, fixtures: Any) -> None:
    model = Float64(onnx.load(fixtures / "peers" / f"{net}.onnx"))
    found = model.run({INPUT: arrays(net)[INPUT]})[OUTPUT]
    np.testing.assert_allclose(found, arrays(net)[OUTPUT], rtol=1e-12)


def test_no_vector_is_left_out() -> None:
    stored = {key.rsplit("/", 2)[0] for net in NETS for key in arrays(net)} - {INPUT, OUTPUT}
    assert stored == set(ASKS)
