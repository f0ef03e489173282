"""Normalisations: variance, norm and denominator released, mean and scale linear (METHODS 3)."""

from __future__ import annotations

from collections.abc import Sequence

from rfponnx.maps.base import then
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
    sqrt,
    tensor,
    total,
)
from rfponnx.maps.gain import ChannelGain, Gain
from rfponnx.maps.reduce import Average, Centre, GroupCentre
from rfponnx.ops.op import At, Linearisation, Op, Term, stopped


def batch_normalization(at: At) -> Linearisation:
    """``y = s / sqrt(v + eps) (x - m) + b`` with the statistics of the training data."""
    if int(at.attr("training_mode", 0)) or at.which:
        raise at.refuse("it is in training mode")
    scale, shift, average, variance = (tensor(at.input(i)) for i in range(1, 5))
    rank = at.rank(at.x)
    slope = scale / sqrt(variance + float(at.attr("epsilon", 1e-5)))
    offset = per_channel(shift - average * slope, rank)
    gain = ChannelGain(per_channel(slope, rank), at.x, at.y, slope)
    return at.linear(gain, offset=offset, affine=True)


def centred(at: At, axes: Sequence[int], gain: Expr) -> Linearisation:
    """``y = g (x - mean x) + b``, the gain holding the released deviation."""
    form = then(Centre(tuple(axes)), Gain(gain, at.x, at.y))
    return _released(at, Linearisation((Term(at.x, form),), "rest", affine=True))


def scaled(at: At, gain: Expr) -> Linearisation:
    """``y = g x``, the gain holding the released norm."""
    return _released(at, at.gated(gain))


def _released(at: At, made: Linearisation) -> Linearisation:
    return Linearisation(
        made.terms, made.offset, made.affine, frozen=True, note="released its statistics"
    )


def deviation(x: Expr, axes: Sequence[int], eps: float) -> Expr:
    """Return ``sqrt(var x + eps)`` over some axes, kept."""
    shifted = x - mean(x, ints(axes))
    return sqrt(mean(shifted * shifted, ints(axes)) + eps)


def instance_normalization(at: At) -> Linearisation:
    """``y = s (x - mean) / sqrt(var + eps) + b`` over the spatial axes."""
    axes = range(2, at.rank(at.x))
    std = deviation(at.vx, axes, float(at.attr("epsilon", 1e-5)))
    return centred(at, axes, per_channel(tensor(at.input(1)), at.rank(at.x)) / std)


def layer_normalization(at: At) -> Linearisation:
    """``y = s (x - mean) / sqrt(var + eps) + b`` over the axes from `axis` on."""
    axes = range(at.axis(-1, at.x), at.rank(at.x))
    if at.which == 1:
        return at.linear(Average(tuple(axes), True, at.x))
    if at.which == 2:
        return stopped(at)
    std = deviation(at.vx, axes, float(at.attr("epsilon", 1e-5)))
    return centred(at, axes, tensor(at.input(1)) / std)


def rms_normalization(at: At) -> Linearisation:
    """``y = s x / sqrt(mean of x^2 + eps)`` over the axes from `axis` on."""
    axes = ints(range(at.axis(-1, at.x), at.rank(at.x)))
    norm = sqrt(mean(at.vx * at.vx, axes) + float(at.attr("epsilon", 1e-5)))
    return scaled(at, tensor(at.input(1)) / norm)


def mean_variance_normalization(at: At) -> Linearisation:
    """``y = (x - mean) / (std + 1e-9)`` over some axes."""
    axes = at.axes(at.attr("axes", (0, 2, 3)), at.x)
    return centred(at, axes, reciprocal(deviation(at.vx, axes, 0.0) + 1e-9))


def lp_normalization(at: At) -> Linearisation:
    """``y = x / norm of x`` along an axis; 0 where the norm is 0."""
    axes = ints([at.axis(-1, at.x)])
    x = at.vx
    norm = total(absolute(x), axes) if int(at.attr("p", 2)) == 1 else sqrt(total(x * x, axes))
    return scaled(at, quotient(number(1.0), norm, number(0.0)))


def lrn(at: At) -> Linearisation:
    """``y = x / (bias + alpha mean of x^2)^beta``, the mean over neighbouring channels."""
    size = int(at.attr("size"))
    before = (size - 1) // 2
    squares = applied("Reshape", at.vx * at.vx, ints([0, 0, -1]))
    local = applied(
        "AveragePool", applied("Unsqueeze", squares, ints([1])), kernel_shape=[size, 1],
        pads=[before, 0, size - 1 - before, 0], count_include_pad=1,
    )  # fmt: skip
    spread = applied("Reshape", applied("Squeeze", local, ints([1])), shape(at.x))
    base = float(at.attr("bias", 1.0)) + float(at.attr("alpha", 1e-4)) * spread
    return scaled(at, reciprocal(power(base, float(at.attr("beta", 0.75)))))


def group_normalization(at: At) -> Linearisation:
    """``y = s (x - mean) / sqrt(var + eps) + b`` over groups of channels.

    s and b are per group up to opset 20, per channel from 21 on.
    """
    groups, channels = int(at.attr("num_groups")), at.shape(at.x)[1]
    if not isinstance(channels, int):
        raise at.refuse(f"the number of channels of `{at.x}` is not known")
    rank = at.rank(at.x)
    parted = applied("Reshape", at.vx, ints([0, groups, -1]))
    slope = reciprocal(deviation(parted, [2], float(at.attr("epsilon", 1e-5))))
    scale = tensor(at.input(1))
    if at.graph.opset < 21:
        slope = slope * per_channel(scale, 3)
    slope = applied("Expand", slope, ints([1, 1, channels // groups]))
    gain = applied("Reshape", slope, ints([0, -1, *[1] * (rank - 2)]))
    if at.graph.opset >= 21:
        gain = gain * per_channel(scale, rank)
    form = then(GroupCentre(groups, at.x), Gain(gain, at.x, at.y))
    return _released(at, Linearisation((Term(at.x, form),), "rest", affine=True))


OPS = (
    Op(
        "BatchNormalization",
        "linear",
        batch_normalization,
        "y = s (x - m) / sqrt(v + eps) + b",
        inputs=(0,),
    ),
    Op(
        "InstanceNormalization",
        "normalisation",
        instance_normalization,
        "y = s (x - mean) / std + b, std released",
        inputs=(0,),
    ),
    Op(
        "GroupNormalization",
        "normalisation",
        group_normalization,
        "y = s (x - mean) / std + b in groups of channels, std released",
        inputs=(0,),
    ),
    Op(
        "LayerNormalization",
        "normalisation",
        layer_normalization,
        "y = s (x - mean) / std + b, std released",
        inputs=(0,),
    ),
    Op(
        "RMSNormalization",
        "normalisation",
        rms_normalization,
        "y = s x / rms, rms released",
        inputs=(0,),
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
