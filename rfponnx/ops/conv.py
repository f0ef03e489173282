"""Convolutions and their transposes, and how the windows of a node lie on its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rfponnx.maps.conv import Attrs, Conv, ConvTranspose, Geometry
from rfponnx.maps.expr import per_channel, tensor
from rfponnx.ops.op import At, Linearisation, Op, Term


def attributes(at: At, **other: Any) -> Attrs:
    """Return the attributes of the node, for the same node in the overlay."""
    given = {**at.node.attrs, **other}
    return tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in given.items()))


def lying(at: At, kernel: Sequence[int], *, transposed: bool = False) -> Geometry:
    """Return how the windows of a node lie on its wide tensor."""
    n = len(kernel)
    auto = at.attr("auto_pad", "NOTSET")
    pads: tuple[int, ...] | None = tuple(at.attr("pads") or (0,) * (2 * n))
    if auto == "VALID":
        pads = (0,) * (2 * n)
    if auto.startswith("SAME") or at.attr("output_shape"):
        pads = None
    return Geometry(
        wide=at.y if transposed else at.x,
        narrow=at.x if transposed else at.y,
        kernel=tuple(kernel),
        strides=tuple(at.attr("strides") or (1,) * n),
        dilations=tuple(at.attr("dilations") or (1,) * n),
        pads=pads,
        lower=auto != "SAME_UPPER",
        extra=tuple(at.attr("output_padding") or ()),
        group=int(at.attr("group", 1)),
        ceil=bool(at.attr("ceil_mode", 0)),
    )


def kernel_of(at: At, weight: str) -> tuple[int, ...]:
    """Return the spatial extent of a kernel."""
    given = at.attr("kernel_shape") or at.shape(weight)[2:]
    known = tuple(k for k in given if isinstance(k, int))
    if len(known) != len(given):
        raise at.refuse(f"the kernel shape of `{weight}` is not known")
    return known


def conv(at: At) -> Linearisation:
    """``y = W * x + b``: the bias is the offset."""
    weight = at.input(1)
    form = Conv(tensor(weight), lying(at, kernel_of(at, weight)), attributes(at))
    return _affine(at, Term(at.x, form))


def conv_transpose(at: At) -> Linearisation:
    """``y = W^T * x + b``: the transpose of a Conv."""
    weight = at.input(1)
    geometry = lying(at, kernel_of(at, weight), transposed=True)
    return _affine(at, Term(at.x, ConvTranspose(tensor(weight), geometry, attributes(at))))


def _affine(at: At, term: Term) -> Linearisation:
    weight, bias = at.input(1), at.input(2)
    held = [i for i in (weight, bias) if i and at.carries(i)]
    if weight in held and (not at.carries(at.x) or at.numbers.release not in ("auto", "right")):
        raise at.refuse("its weights carry relevance and can only be released")
    offset = per_channel(tensor(bias), at.rank(at.y)) if bias else None
    note = f"released {' and '.join(f'`{i}`' for i in held)}" if held else ""
    return Linearisation((term,), offset, affine=True, note=note)


OPS = (
    Op("Conv", "linear", conv, "y = W * x + b"),
    Op("ConvTranspose", "linear", conv_transpose, "y = W^T * x + b"),
)
