"""Hold a relevance graph against the reference, in float64 and in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import rfponnx
from rfponnx.verify.float64 import Float64
from tests.ops.harness import run_float32, worst
from tests.reference.export import export
from tests.reference.net import Array, Net
from tests.reference.walk import Relevance

#: Of the largest entry: float64 keeps some 15 digits, and quotients of small differences less;
#: float32 keeps 7.
EXACT, SINGLE = 1e-8, 1e-5


def drawn(net: Net, rng: np.random.Generator, samples: int = 2) -> Array:
    """Return inputs that float32 holds, [N, *shape], some of their entries exactly 0."""
    x = rng.normal(size=(samples, *net.shape))
    return np.where(rng.uniform(size=x.shape) < 0.1, 0, x).astype(np.float32)


def agree(
    net: Net,
    feeds: Mapping[str, Array],
    wanted: Callable[[Array], Array | Relevance],
    *,
    single: float | None = SINGLE,
    zero: bool = False,
    **options: Any,
) -> None:
    """Assert that the converted network gives what `wanted` gives for every sample of ``x``.

    `single` bounds the difference in float32; ``None`` leaves float32 out.  `zero` allows maps
    of nothing but 0, which prove little.
    """
    made = rfponnx.convert(export(net), **options).model
    x = feeds["x"].astype(np.float64)
    each = [wanted(one) for one in x]
    runs = [("float64", Float64(made).run(feeds), EXACT)]
    if single is not None:
        runs.append(("float32", run_float32(made, feeds), single))
    maps = np.stack([e.x if isinstance(e, Relevance) else e for e in each])
    assert zero or maps.any(), "nothing to compare"
    for name, found, bound in runs:
        assert worst(found["x_relevance"].reshape(maps.shape), maps) <= bound, name
        if isinstance(each[0], Relevance):
            size = np.abs(maps).sum(axis=1) + np.array([abs(e.bias) + abs(e.leak) for e in each])
            for output in ("bias", "leak"):
                numbers = np.array([getattr(e, output) for e in each])
                error = np.abs(found[f"{output}_relevance"] - numbers)
                assert error.max() <= bound * size.max(), f"{output}, {name}"
