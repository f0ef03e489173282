"""Where streams begin: ``x^s = x`` on the entries of source s, 0 elsewhere ([RFP] Def. 1)."""

from __future__ import annotations

import numpy as np

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Value, Window, whole
from rfponnx.plan.plan import Group, Plan
from rfponnx.plan.sources import mask_input, mask_of, masks_input
from rfponnx.plan.spec import Piece, Slice


def start_of(b: Builder, plan: Plan, group: Group, tensor: str) -> Value:
    """Return the stream of a group at a source tensor."""
    if plan.masks is not None:
        one = b.op("Unsqueeze", tensor, b.ints([0]))
        return Value(b.op("Mul", one, masks_input(plan.masks.tensor)), stack=True)
    values = []
    for index in group.members:
        source = plan.sources[index]
        with b.at(source.name):
            pieces = [p for p in source.pieces if p.tensor == tensor]
            values.append(_owned(b, tensor, pieces, mask_input(source.name)))
    if not group.stacked:
        return values[0]
    stacked = [b.op("Unsqueeze", whole(b, v).name, b.ints([0])) for v in values]
    return Value(b.op("Concat", *stacked, axis=0) if len(stacked) > 1 else stacked[0], stack=True)


def rest_of(b: Builder, plan: Plan, tensor: str) -> str:
    """Return a mask of the entries of a tensor that nobody owns (floats, 1 = free)."""
    dtype = b.dtype(tensor)
    one = b.floats(1.0, dtype)
    if plan.masks is not None:
        taken = b.reduce("ReduceSum", masks_input(plan.masks.tensor), [0], keepdims=False)
        return b.op("Sub", one, taken)
    free = one
    for source in plan.sources:
        for piece in (p for p in source.pieces if p.tensor == tensor):
            own = mask_input(source.name) if piece.masked else _mask(b, piece)
            free = b.op("Sub", free, own)
    return free


def _owned(b: Builder, tensor: str, pieces: list[Piece], mask: str) -> Value:
    """Return ``x`` on the entries of some pieces, 0 elsewhere."""
    if any(not p.cuts and not p.masked for p in pieces):
        return Value(tensor)
    window = _window(b, pieces)
    if window is not None:
        part = b.slice(tensor, [window.axis], [window.start], [window.stop])
        return Value(part, window=window)
    name = ""
    for piece in pieces:
        part = b.op("Mul", tensor, mask if piece.masked else _mask(b, piece))
        name = b.op("Add", name, part) if name else part
    return Value(name)


def _window(b: Builder, pieces: list[Piece]) -> Window | None:
    """Return the window of a single piece that is one plain range of one axis of known size."""
    if len(pieces) != 1 or pieces[0].masked or len(pieces[0].cuts) != 1:
        return None
    axis, cut = pieces[0].cuts[0]
    size = b.dims(pieces[0].tensor)[axis]
    if not isinstance(size, int) or axis == 0:
        return None
    taken = range(*slice(*cut).indices(size))
    return Window(pieces[0].tensor, axis, taken.start, taken.stop) if taken.step == 1 else None


def _mask(b: Builder, piece: Piece) -> str:
    """Return a mask of a piece that broadcasts to its tensor: 1 on its entries."""
    rank = len(b.dims(piece.tensor))
    name = ""
    for axis, cut in piece.cuts:
        one = _axis_mask(b, piece, axis, cut, rank)
        name = b.op("Mul", name, one) if name else one
    return name


def _axis_mask(b: Builder, piece: Piece, axis: int, cut: Slice, rank: int) -> str:
    dtype, size = b.dtype(piece.tensor), b.dims(piece.tensor)[axis]
    behind = [1] * (rank - 1 - axis)
    if isinstance(size, int):
        return b.floats(mask_of(piece, axis, size).astype(np.float64).reshape(-1, *behind), dtype)
    # The size is known at run time only: put ones at the positions that the slice takes.
    length = b.dim(piece.tensor, axis)
    count = b.op("Squeeze", length, b.ints([0]))
    positions = b.op("Range", b.ints(0), count, b.ints(1))
    start, stop, step = cut[0], cut[1], 1 if cut[2] is None else cut[2]
    far = 2**62
    first = start if start is not None else (0 if step > 0 else far)
    last = stop if stop is not None else (far if step > 0 else -far)
    taken = b.op(
        "Slice", positions, b.ints([first]), b.ints([last]), b.ints([0]), b.ints([step])
    )  # fmt: skip
    ones = b.op("Expand", b.floats(1.0, dtype), b.op("Shape", taken))
    zeros = b.op("Expand", b.floats(0.0, dtype), length)
    mask = b.op("ScatterElements", zeros, taken, ones, axis=0)
    return b.op("Reshape", mask, b.ints([-1, *behind])) if behind else mask


def mask_of_source(b: Builder, plan: Plan, index: int, tensor: str) -> str | None:
    """Return a mask of a source's entries of a tensor; empty: all of them; ``None``: none."""
    source = plan.sources[index]
    pieces = [p for p in source.pieces if p.tensor == tensor]
    if not pieces:
        return None
    if any(not p.cuts and not p.masked for p in pieces):
        return ""
    name = ""
    for piece in pieces:
        own = mask_input(source.name) if piece.masked else _mask(b, piece)
        name = b.op("Add", name, own) if name else own
    return name
