"""Rotary position embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.harness import Case, N, W, X


def rotary(
    about: str, x: tuple[int, ...], caches: tuple[int, ...], *more: Any, **attrs: Any
) -> Case:
    """Return a RotaryEmbedding with caches of some shape."""
    operands = [X(x), W(caches), N(caches), *more]
    return Case(
        "RotaryEmbedding", about, operands, attrs, opset=23, free=(0, 2) if len(x) == 4 else (0,)
    )


CASES = (
    rotary("heads", (2, 3, 4, 6), (2, 4, 3)),
    rotary("interleaved", (2, 3, 4, 6), (2, 4, 3), interleaved=1),
    rotary("some features only", (2, 3, 4, 6), (2, 4, 2), rotary_embedding_dim=4),
    rotary("positions", (2, 3, 4, 6), (7, 3), W(np.asarray([[0, 1, 2, 3], [3, 6, 5, 0]]))),
    rotary("heads in the features", (2, 4, 6), (2, 4, 1), num_heads=3),
    Case(
        "RotaryEmbedding",
        "angles from a source, nothing released",
        [X((2, 3, 4, 6)), X((2, 4, 3)), W((2, 4, 3))],
        opset=23,
        options={"linearisation": "taylor", "release": ["*=none"]},
        refuses="no derivative by `x1`",
    ),
)
