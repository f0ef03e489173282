"""What a path of inputs starts from: a number, a blurred input, a file, or a graph input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rfponnx.emit.attribution import channel_axis
from rfponnx.errors import OptionError
from rfponnx.graph.builder import Builder
from rfponnx.methods.inputs import reference_input
from rfponnx.ops.activation import exactly

BLUR = 11  # entries of the window of a blurred reference along each axis


def reference_of(b: Builder, tensor: str, given: Any) -> str:
    """Return the reference of an input, shaped like it.

    Raises
    ------
    OptionError
        It is no number, `blur`, `input` or array file, or does not fit.
    """
    if given == "input":
        return reference_input(tensor)
    if given == "blur":
        return _blurred(b, tensor)
    if isinstance(given, str) and given.endswith((".npy", ".npz")):
        values = b.floats(_stored(Path(given), tensor), b.dtype(tensor))
        return b.op("Expand", values, b.shape(tensor))
    try:
        value = float(given)
    except (TypeError, ValueError):
        hint = "give a number, blur, input or FILE.npy"
        raise OptionError(f"the reference is `{given}`", "--set reference", hint) from None
    dtype = b.dtype(tensor)
    return b.op("Expand", exactly(value).emit(b, dtype), b.shape(tensor))


def _stored(path: Path, tensor: str) -> np.ndarray[Any, Any]:
    where = f"--set reference={path}"
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot be read: {error}", where) from None
    if isinstance(found, np.ndarray):
        return found
    if tensor not in found:
        raise OptionError(f"holds no array `{tensor}`", where)
    return np.asarray(found[tensor])


def _blurred(b: Builder, tensor: str) -> str:
    """Return the mean over windows of the spatial axes; of what has none, the mean of the row."""
    axis, rank = channel_axis(b.graph, tensor), len(b.dims(tensor))
    if axis is None:
        axes = list(range(1, rank))
        mean = b.reduce("ReduceMean", tensor, axes) if axes else tensor
        return b.op("Expand", mean, b.shape(tensor))
    order = [0, axis, *(a for a in range(1, rank) if a != axis)]
    first = tensor if axis == 1 else b.op("Transpose", tensor, perm=order)
    pads, kernel = [BLUR // 2] * (2 * (rank - 2)), [BLUR] * (rank - 2)
    mean = b.op("AveragePool", first, kernel_shape=kernel, pads=pads, strides=[1] * (rank - 2))
    back = [order.index(a) for a in range(rank)]
    return mean if axis == 1 else b.op("Transpose", mean, perm=back)
