"""Normalisations: variance, norm and denominator released, mean and scale linear (METHODS 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rfponnx.maps.base import Identity, Map, Plus, then
from rfponnx.maps.expr import (
    Expr,
    absolute,
    applied,
    ints,
    mean,
    number,
    per_channel,
    power,
    quotient,
    reciprocal,
    shape,
    sign,
    sqrt,
    tensor,
    total,
)
from rfponnx.maps.gain import ChannelGain, Gain, spread
from rfponnx.maps.kernel import PerChannel
from rfponnx.maps.rearrange import Retype
from rfponnx.maps.reduce import Average, Centre, Deflation, Grouped, NeighbourMean, Repeated
from rfponnx.ops.op import At, Linearisation, Op, Term, stopped


def batch_normalization(at: At) -> Linearisation:
    """``y = s / sqrt(v + eps) (x - m) + b`` with the statistics of the training data."""
    if int(at.attr("training_mode", 0)) or at.which:
        raise at.refuse("it is in training mode")
    scale, shift, average, variance = (tensor(at.input(i)) for i in range(1, 5))
    rank, eps = at.rank(at.x), float(at.attr("epsilon", 1e-5))
    slope = scale / sqrt(variance + eps)
    offset = per_channel(shift - average * slope, rank)
    gain = ChannelGain(per_channel(slope, rank), at.x, at.y, slope)
    if not any(at.carries(i) for i in at.node.inputs[1:]):
        return at.linear(gain, offset=offset, affine=True)
    inverse = reciprocal(sqrt(variance + eps))
    unit = (at.vx - per_channel(average, rank)) * per_channel(inverse, rank)
    everywhere = PerChannel(at.y)
    by = {
        1: then(everywhere, Gain(unit, at.y, at.y)),
        2: everywhere,
        3: then(everywhere, Gain(-per_channel(slope, rank), at.y, at.y)),
        4: then(everywhere, Gain(unit * per_channel(slope * inverse * -0.5, rank), at.y, at.y)),
    }
    return at.with_operands(Linearisation((Term(at.x, gain),), offset, affine=True), by)


def normalised(
    at: At,
    gain: Expr,
    correction: Map,
    *,
    before: Sequence[Map] = (),
    by: Mapping[int, Map] = MappingProxyType({}),
) -> Linearisation:
    """``y = g(x) B x + b`` with the statistics in g released, or differentiated.

    Parameters
    ----------
    gain
        g: the scale, divided by the deviation or norm.
    correction
        Acts between B and g and makes the map the full derivative.
    before
        B: what centres x.
    by
        The maps of scale and shift, by the place of the input.
    """
    last, centres = Gain(gain, at.x, at.y), bool(before)
    if at.full:
        made = Linearisation((Term(at.x, then(*before, correction, last)),), "rest")
    else:
        form = then(*before, last)
        note = "released its statistics"
        made = Linearisation((Term(at.x, form),), "rest", centres, frozen=True, note=note)
    return at.with_operands(made, by)


def deviation(centred: Expr, axes: Sequence[int], eps: float) -> Expr:
    """Return ``sqrt(var x + eps)`` over some axes, kept, from x less its mean."""
    return sqrt(mean(centred * centred, ints(axes)) + eps)


def standardised(x: Expr, axes: Sequence[int], eps: float) -> tuple[Expr, Expr]:
    """Return ``(x - mean x) / std`` over some axes, and std."""
    centred = x - mean(x, ints(axes))
    std = deviation(centred, axes, eps)
    return centred / std, std


def instance_normalization(at: At) -> Linearisation:
    """``y = s (x - mean) / sqrt(var + eps) + b`` over the spatial axes."""
    axes, rank = tuple(range(2, at.rank(at.x))), at.rank(at.x)
    unit, std = standardised(at.vx, axes, float(at.attr("epsilon", 1e-5)))
    everywhere = PerChannel(at.y)
    return normalised(
        at,
        per_channel(tensor(at.input(1)), rank) / std,
        Deflation(unit, unit, axes, at.x),
        before=[Centre(axes)],
        by={1: then(everywhere, Gain(unit, at.y, at.y)), 2: everywhere},
    )


def layer_normalization(at: At) -> Linearisation:
    """``y = s (x - mean) / sqrt(var + eps) + b`` over the axes from `axis` on."""
    axes = tuple(range(at.axis(-1, at.x), at.rank(at.x)))
    unit, std = standardised(at.vx, axes, float(at.attr("epsilon", 1e-5)))
    if at.which:
        return _statistic(at, axes, unit)
    by: dict[int, Map] = {1: Gain(unit, at.input(1), at.y)}
    if at.carries(at.input(2)):
        by[2] = spread(at.graph, at.input(2), at.y)
    return normalised(
        at,
        tensor(at.input(1)) / std,
        Deflation(unit, unit, axes, at.x),
        before=[Centre(axes)],
        by=by,
    )


def _statistic(at: At, axes: tuple[int, ...], unit: Expr) -> Linearisation:
    """Linearise the mean, or 1 / std, whose derivative is ``- mean(unit x) / std^2``."""
    same = at.graph.dtype(at.x) == at.graph.dtype(at.y)
    average = then(Average(axes, True, at.x), *([] if same else [Retype(at.x, at.y)]))
    if at.which == 1:
        return at.linear(average)
    if not at.full:
        return stopped(at)
    square = -(at.vy * at.vy)
    return at.linear(then(Gain(unit, at.x, at.x), average, Gain(square, at.y, at.y)), offset="rest")


def rms_normalization(at: At) -> Linearisation:
    """``y = s x / sqrt(mean of x^2 + eps)`` over the axes from `axis` on."""
    axes = tuple(range(at.axis(-1, at.x), at.rank(at.x)))
    rms = sqrt(mean(at.vx * at.vx, ints(axes)) + float(at.attr("epsilon", 1e-5)))
    unit = at.vx / rms
    correction = Deflation(unit, unit, axes, at.x)
    by = {1: Gain(unit, at.input(1), at.y)}
    return normalised(at, tensor(at.input(1)) / rms, correction, by=by)


def mean_variance_normalization(at: At) -> Linearisation:
    """``y = (x - mean) / (std + 1e-9)`` over some axes."""
    axes = at.axes(at.attr("axes", (0, 2, 3)), at.x)
    centred = at.vx - mean(at.vx, ints(axes))
    std = deviation(centred, axes, 0.0)
    unit = quotient(centred, std, number(0))
    correction = Deflation(at.vy, unit, axes, at.x)
    return normalised(at, reciprocal(std + 1e-9), correction, before=[Centre(axes)])


def lp_normalization(at: At) -> Linearisation:
    """``y = x / norm of x`` along an axis; 0 where the norm is 0."""
    return by_norm(at, at.axis(-1, at.x), int(at.attr("p", 2)))


def by_norm(at: At, axis: int, p: int) -> Linearisation:
    """``y = x / norm of x``, the sum of absolute values (p = 1) or the Euclidean one."""
    axes, x = ints([axis]), at.vx
    norm = total(absolute(x), axes) if p == 1 else sqrt(total(x * x, axes))
    slope = sign(x) if p == 1 else at.vy  # of the norm
    correction = Deflation(at.vy, slope, (axis,), at.x, "ReduceSum")
    return normalised(at, quotient(number(1.0), norm, number(0.0)), correction)


def lrn(at: At) -> Linearisation:
    """``y = x / (bias + alpha mean of x^2)^beta``, the mean over neighbouring channels."""
    size, alpha = int(at.attr("size")), float(at.attr("alpha", 1e-4))
    before, beta = (size - 1) // 2, float(at.attr("beta", 0.75))
    squares = applied("Reshape", at.vx * at.vx, ints([0, 0, -1]))
    local = applied(
        "AveragePool", applied("Unsqueeze", squares, ints([1])), kernel_shape=[size, 1],
        pads=[before, 0, size - 1 - before, 0], count_include_pad=1,
    )  # fmt: skip
    means = applied("Reshape", applied("Squeeze", local, ints([1])), shape(at.x))
    base = float(at.attr("bias", 1.0)) + alpha * means
    gain = reciprocal(power(base, beta))
    if not at.full:
        return normalised(at, gain, Identity())
    around = NeighbourMean(before, at.x)
    fall = Gain(at.vy / base * (-2 * alpha * beta), at.x, at.y)
    form = Plus((Gain(gain, at.x, at.y), then(Gain(at.vx, at.x, at.x), around, fall)))
    return at.linear(form, offset="rest", note="nothing is released")


def group_normalization(at: At) -> Linearisation:
    """``y = s (x - mean) / sqrt(var + eps) + b`` over groups of channels.

    s and b are per group up to opset 20, per channel from 21 on.
    """
    groups, channels = int(at.attr("num_groups")), at.shape(at.x)[1]
    if not isinstance(channels, int):
        raise at.refuse(f"the number of channels of `{at.x}` is not known")
    rank, old, members = at.rank(at.x), at.graph.opset < 21, channels // groups
    parted = applied("Reshape", at.vx, ints([0, groups, -1]))
    unit, std = standardised(parted, [2], float(at.attr("epsilon", 1e-5)))
    slope, scale = reciprocal(std), tensor(at.input(1))
    if old:
        slope = slope * per_channel(scale, 3)
    slope = applied("Expand", slope, ints([1, 1, members]))
    gain = applied("Reshape", slope, ints([0, -1, *[1] * (rank - 2)]))
    if not old:
        gain = gain * per_channel(scale, rank)
    everywhere = then(*([Repeated(members)] if old else []), PerChannel(at.y))
    whole = Gain(applied("Reshape", unit, shape(at.x)), at.y, at.y)
    return normalised(
        at,
        gain,
        Grouped(groups, Deflation(unit, unit, (2,), at.x), at.x),
        before=[Grouped(groups, Centre((2,)), at.x)],
        by={1: then(everywhere, whole), 2: everywhere},
    )


OPS = (
    Op(
        "BatchNormalization",
        "linear",
        batch_normalization,
        "y = s (x - m) / sqrt(v + eps) + b",
    ),
    Op(
        "InstanceNormalization",
        "normalisation",
        instance_normalization,
        "y = s (x - mean) / std + b, std released",
    ),
    Op(
        "GroupNormalization",
        "normalisation",
        group_normalization,
        "y = s (x - mean) / std + b in groups of channels, std released",
    ),
    Op(
        "LayerNormalization",
        "normalisation",
        layer_normalization,
        "y = s (x - mean) / std + b, std released",
    ),
    Op(
        "RMSNormalization",
        "normalisation",
        rms_normalization,
        "y = s x / rms, rms released",
    ),
    Op("LpNormalization", "normalisation", lp_normalization, "y = x / norm, norm released"),
    Op(
        "MeanVarianceNormalization",
        "normalisation",
        mean_variance_normalization,
        "y = (x - mean) / std, std released",
    ),
    Op("LRN", "normalisation", lrn, "y = x / denominator, denominator released"),
)
