"""The operators of shape arithmetic on small arrays.

Only operators whose result every implementation agrees on to the last bit, so that a
folded value may stand for the value of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

#: Larger results are no shape arithmetic.
LIMIT = 4096

Array = np.ndarray[Any, Any]
Attrs = Mapping[str, Any]
Fold = Callable[[Sequence[Any], Attrs], Any]


def fold(
    op: str, inputs: Sequence[Array | None], attrs: Attrs, count: int = 1
) -> list[Array] | None:
    """Return the outputs of a node of the standard domain, None if that cannot be told.

    Parameters
    ----------
    op
        Operator type, any opset: axes and the like may be attribute or input.
    inputs
        Values; None for an absent optional input.
    attrs
        Decoded attributes.
    count
        Number of outputs the node has.
    """
    rule = FOLDS.get(op)
    if rule is None:
        return None
    try:
        with np.errstate(all="ignore"):
            result = rule(inputs, {"num_outputs": count, **attrs})
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError):
        return None  # operands with which the node would not run
    if result is None:
        return None
    outputs = result if isinstance(result, list) else [result]
    arrays = [np.asarray(value) for value in outputs]
    fits = len(arrays) == count and all(array.size <= LIMIT for array in arrays)
    return arrays if fits else None


def _axes(x: Sequence[Any], attrs: Attrs, slot: int = 1) -> tuple[int, ...] | None:
    given = attrs.get("axes")
    if given is None and len(x) > slot and x[slot] is not None:
        given = np.ravel(x[slot])
    return None if given is None else tuple(int(a) for a in given)


def _divide(x: Sequence[Any], attrs: Attrs) -> Any:
    a, b = x
    if a.dtype.kind == "f":
        return a / b
    if np.any(b == 0):
        return None
    quotient = np.abs(a) // np.abs(b)  # integers round towards zero
    return (quotient * np.sign(a) * np.sign(b)).astype(a.dtype)


def _modulo(x: Sequence[Any], attrs: Attrs) -> Any:
    if x[0].dtype.kind != "f" and np.any(x[1] == 0):
        return None
    return np.fmod(x[0], x[1]) if attrs.get("fmod") else np.mod(x[0], x[1])


def _cast(x: Sequence[Any], attrs: Attrs) -> Any:
    kind = helper.tensor_dtype_to_np_dtype(attrs["to"])
    if x[0].dtype.kind == "f" and kind.kind in "iu" and not np.all(np.isfinite(x[0])):
        return None
    return x[0].astype(kind)


def _slice(x: Sequence[Any], attrs: Attrs) -> Any:
    if "starts" in attrs:
        starts, ends, axes, steps = attrs["starts"], attrs["ends"], attrs.get("axes"), None
    else:
        starts, ends, axes, steps = (*x[1:], None, None)[:4]
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    data = x[0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = data.shape[axis]
        data = np.take(data, _span(int(start), int(end), int(step), size), axis=int(axis))
    return data


def _span(start: int, end: int, step: int, size: int) -> Array:
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        return np.arange(min(max(start, 0), size), min(max(end, 0), size), step)
    return np.arange(min(max(start, 0), size - 1), min(max(end, -1), size - 1), step)


def _reshape(x: Sequence[Any], attrs: Attrs) -> Any:
    target = attrs["shape"] if "shape" in attrs else x[1]
    copied = not attrs.get("allowzero")
    dims = [x[0].shape[i] if d == 0 and copied else int(d) for i, d in enumerate(target)]
    return x[0].reshape(dims)


def _squeeze(x: Sequence[Any], attrs: Attrs) -> Any:
    return np.squeeze(x[0], _axes(x, attrs))


def _unsqueeze(x: Sequence[Any], attrs: Attrs) -> Any:
    return np.expand_dims(x[0], _axes(x, attrs) or ())


def _split(x: Sequence[Any], attrs: Attrs) -> Any:
    axis = attrs.get("axis", 0)
    parts = attrs.get("split", x[1] if len(x) > 1 else None)
    if parts is None:
        count = attrs["num_outputs"]  # before opset 18 the node's own number
        each = -(-x[0].shape[axis] // count)
        return np.split(x[0], [each * i for i in range(1, count)], axis)
    return np.split(x[0], np.cumsum(parts)[:-1], axis)


def _range(x: Sequence[Any], attrs: Attrs) -> Any:
    start, limit, delta = (a.item() for a in x)
    count = max(int(np.ceil((limit - start) / delta)), 0) if delta else LIMIT + 1
    if count > LIMIT:
        return None
    return (start + delta * np.arange(count)).astype(x[0].dtype)


def _filled(x: Sequence[Any], attrs: Attrs) -> Any:
    if np.prod(x[0].astype(np.float64)) > LIMIT:
        return None
    value = attrs.get("value", np.zeros(1, np.float32))
    return np.full(tuple(x[0]), np.ravel(value)[0])


def _expand(x: Sequence[Any], attrs: Attrs) -> Any:
    shape = np.broadcast_shapes(x[0].shape, tuple(int(d) for d in x[1]))
    return None if np.prod(np.array(shape, float)) > LIMIT else np.broadcast_to(x[0], shape)


def _tile(x: Sequence[Any], attrs: Attrs) -> Any:
    if x[0].size * np.prod(np.asarray(x[1], float)) > LIMIT:
        return None
    return np.tile(x[0], tuple(x[1]))


def _reduce(function: Callable[..., Any]) -> Fold:
    def rule(x: Sequence[Any], attrs: Attrs) -> Any:
        axes = _axes(x, attrs)
        if x[0].dtype.kind == "f" and function in (np.sum, np.prod):
            return None  # the order of summation is not fixed
        if not axes and attrs.get("noop_with_empty_axes"):
            return x[0]
        keep = bool(attrs.get("keepdims", 1))
        return np.asarray(function(x[0], axis=axes or None, keepdims=keep)).astype(x[0].dtype)

    return rule


def _scatter_nd(x: Sequence[Any], attrs: Attrs) -> Any:
    if attrs.get("reduction", "none") not in ("none", b"none"):
        return None
    data = np.array(x[0])
    data[tuple(np.moveaxis(x[1], -1, 0))] = x[2]
    return data


def _scatter(x: Sequence[Any], attrs: Attrs) -> Any:
    if attrs.get("reduction", "none") not in ("none", b"none"):
        return None
    data = np.array(x[0])
    np.put_along_axis(data, x[1], x[2], attrs.get("axis", 0))
    return data


def _flatten(x: Sequence[Any], attrs: Attrs) -> Any:
    rows = int(np.prod(x[0].shape[: attrs.get("axis", 1)], dtype=np.int64))
    return x[0].reshape(rows, -1)


def _pad(x: Sequence[Any], attrs: Attrs) -> Any:
    pads = attrs.get("pads", x[1] if len(x) > 1 else None)
    if attrs.get("mode", "constant") != "constant" or pads is None or len(x) > 3:
        return None
    fill = x[2].item() if len(x) > 2 and x[2] is not None else attrs.get("value", 0)
    half = len(pads) // 2
    if min(pads, default=0) < 0:
        return None
    width = list(zip(pads[:half], pads[half:], strict=True))
    return np.pad(x[0], width, constant_values=fill)


def _clip(x: Sequence[Any], attrs: Attrs) -> Any:
    low, high = (*x[1:], None, None)[:2]
    low = attrs.get("min") if low is None else low
    high = attrs.get("max") if high is None else high
    data = x[0] if low is None else np.maximum(x[0], np.asarray(low, x[0].dtype))
    return data if high is None else np.minimum(data, np.asarray(high, x[0].dtype))


def _each(function: Callable[..., Any]) -> Fold:
    return lambda x, attrs: function(*x)


def _all(function: Callable[[Any, Any], Any]) -> Fold:
    def rule(x: Sequence[Any], attrs: Attrs) -> Any:
        result = x[0]
        for value in x[1:]:
            result = function(result, value)
        return result

    return rule


def _integer(function: Callable[..., Any]) -> Fold:
    return lambda x, attrs: None if x[0].dtype.kind == "f" else function(*x).astype(x[0].dtype)


def _constant(x: Sequence[Any], attrs: Attrs) -> Any:
    for name, kind in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in attrs:
            return np.array(attrs[name], kind)
    return attrs["value"]


FOLDS: Mapping[str, Fold] = {
    "Abs": _each(np.abs), "Add": _each(np.add), "And": _each(np.logical_and),
    "Cast": _cast, "Ceil": _each(np.ceil), "Clip": _clip, "Constant": _constant,
    "Concat": lambda x, a: np.concatenate(list(x), a["axis"]),
    "ConstantOfShape": _filled, "Div": _divide, "Equal": _each(np.equal), "Expand": _expand,
    "Flatten": _flatten, "Floor": _each(np.floor),
    "Gather": lambda x, a: np.take(x[0], x[1], a.get("axis", 0)),
    "GatherElements": lambda x, a: np.take_along_axis(x[0], x[1], a.get("axis", 0)),
    "GatherND": lambda x, a: (
        None if a.get("batch_dims") else x[0][tuple(np.moveaxis(x[1], -1, 0))]
    ),
    "Greater": _each(np.greater), "GreaterOrEqual": _each(np.greater_equal),
    "Identity": _each(np.array), "Less": _each(np.less), "LessOrEqual": _each(np.less_equal),
    "Max": _all(np.maximum), "Min": _all(np.minimum), "Mod": _modulo, "Mul": _each(np.multiply),
    "Neg": _each(np.negative), "NonZero": lambda x, a: np.array(np.nonzero(x[0]), np.int64),
    "Not": _each(np.logical_not), "Or": _each(np.logical_or), "Pad": _pad,
    "Pow": _integer(np.power), "Range": _range, "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min), "ReduceProd": _reduce(np.prod), "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape, "Round": _each(np.rint), "ScatterElements": _scatter,
    "ScatterND": _scatter_nd, "Sign": _each(np.sign), "Slice": _slice, "Split": _split,
    "Sqrt": _each(np.sqrt), "Squeeze": _squeeze, "Sub": _each(np.subtract), "Sum": _all(np.add),
    "Tile": _tile, "Transpose": lambda x, a: np.transpose(x[0], a.get("perm")),
    "Unsqueeze": _unsqueeze, "Where": _each(np.where), "Xor": _each(np.logical_xor),
    "CumSum": lambda x, a: (
        None if a.get("exclusive") or a.get("reverse") or x[0].dtype.kind == "f"
        else np.cumsum(x[0], int(x[1]))
    ),
}  # fmt: skip


def as_tensor(value: Array, name: str = "") -> TensorProto:
    """Return a stored tensor of the value."""
    return numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
