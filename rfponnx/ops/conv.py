"""Convolutions and their transposes, and how the windows of a node lie on its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rfponnx.maps.base import Map
from rfponnx.maps.conv import Attrs, Conv, ConvTranspose, Geometry
from rfponnx.maps.deform import DeformConv
from rfponnx.maps.expr import per_channel, tensor
from rfponnx.maps.kernel import KernelOfConv, KernelOfTranspose, PerChannel
from rfponnx.maps.places import ByOffset, KernelOfDeform
from rfponnx.ops.op import At, Linearisation, Op, Term
from rfponnx.ops.product import multilinear


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
    geometry, attrs = lying(at, kernel_of(at, at.input(1))), attributes(at)

    def by(place: int) -> Map:
        if place == 0:
            return Conv(tensor(at.input(1)), geometry, attrs)
        return KernelOfConv(at.vx, channels(at, 0), geometry, attrs)

    return _affine(at, by)


def conv_transpose(at: At) -> Linearisation:
    """``y = W^T * x + b``: the transpose of a Conv."""
    geometry, attrs = lying(at, kernel_of(at, at.input(1)), transposed=True), attributes(at)

    def by(place: int) -> Map:
        if place == 0:
            return ConvTranspose(tensor(at.input(1)), geometry, attrs)
        return KernelOfTranspose(at.vx, channels(at, 1), geometry, attrs)

    return _affine(at, by)


def deform_conv(at: At) -> Linearisation:
    """A Conv that reads x at moved places: weights, offset and mask are released."""
    weight, offset, bias, mask = (at.input(i) for i in range(1, 5))
    geometry, parts = lying(at, kernel_of(at, weight)), int(at.attr("offset_group", 1))
    form = DeformConv(tensor(weight), offset, mask, parts, geometry, attributes(at))
    shift = per_channel(tensor(bias), at.rank(at.y)) if bias else None
    by: dict[int, Map] = {
        1: KernelOfDeform(form, weight),
        2: ByOffset(form, masked=False),
        3: PerChannel(at.y),
        4: ByOffset(form, masked=True),
    }
    return at.with_operands(at.linear(form, offset=shift, affine=True), by)


def channels(at: At, axis: int) -> int:
    """Return the size of the weights along an axis."""
    size = at.shape(at.input(1))[axis]
    if not isinstance(size, int):
        raise at.refuse(f"axis {axis} of its weights `{at.input(1)}` is of a size not known")
    return size


def _affine(at: At, by: Callable[[int], Map]) -> Linearisation:
    """Linearise a product with weights, which are broadcast: they are released if x is Rel."""
    weight, bias = at.input(1), at.input(2)
    places = [p for p in (0, 1) if at.carries(at.input(p))] or [0]
    if len(places) > 1 and at.numbers.release in ("left", "split", "none"):
        made = multilinear(at, by, kept=None)
    else:
        note = f"released `{weight}`" if len(places) > 1 else ""
        term = Term(at.input(places[0]), by(places[0]))
        made = Linearisation((term,), affine=True, note=note)
    if made.offset is not None:
        made = replace(made, offset="rest")
    if not bias:
        return made
    if at.carries(bias):
        return replace(made, terms=(*made.terms, Term(bias, PerChannel(at.y))))
    return replace(made, offset=made.offset or per_channel(tensor(bias), at.rank(at.y)))


OPS = (
    Op("Conv", "linear", conv, "y = W * x + b"),
    Op("DeformConv", "linear", deform_conv, "y = W * x at moved places + b"),
    Op("ConvTranspose", "linear", conv_transpose, "y = W^T * x + b"),
)
