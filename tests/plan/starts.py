"""The streams at any tensor of a small model, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto

import rfponnx
from rfponnx.verify.float64 import Float64

Array = np.ndarray[Any, Any]

SIZES = (3, 6, 5)


def rows_at(
    model: ModelProto, feeds: Mapping[str, Array], tensor: str, *sources: str, **options: Any
) -> Array:
    """Return the relevance ``[S+1, *E]`` of a tensor."""
    made = rfponnx.convert(model, sources=list(sources), explain=[tensor], **options)
    return Float64(made.model).run(feeds, [f"{tensor}_relevance"])[f"{tensor}_relevance"]
