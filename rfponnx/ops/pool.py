"""Means and sums: over windows, over axes, along an axis."""

from __future__ import annotations

from rfponnx.maps.pool import WindowMean
from rfponnx.maps.reduce import Average, GlobalAverage, RunningSum, Total
from rfponnx.ops.conv import attributes, lying
from rfponnx.ops.linear import reduction_axes
from rfponnx.ops.op import At, Linearisation, Op, passed


def average_pool(at: At) -> Linearisation:
    """The mean of every window, by the node's own convention of what counts."""
    return at.linear(WindowMean(lying(at, at.attr("kernel_shape")), attributes(at)))


def reduce_sum(at: At) -> Linearisation:
    """``y = sum of x over axes``."""
    axes = reduction_axes(at)
    return at.linear(Total(axes, bool(at.attr("keepdims", 1)), at.x)) if axes else passed(at)


def reduce_mean(at: At) -> Linearisation:
    """``y = mean of x over axes``."""
    axes = reduction_axes(at)
    return at.linear(Average(axes, bool(at.attr("keepdims", 1)), at.x)) if axes else passed(at)


def cum_sum(at: At) -> Linearisation:
    """``y`` = the running sum of x along an axis."""
    axis = int(at.constant(at.input(1), "axis").ravel()[0]) % at.rank(at.x)
    exclusive, reverse = (bool(at.attr(k, 0)) for k in ("exclusive", "reverse"))
    return at.linear(RunningSum(axis, exclusive, reverse))


OPS = (
    Op("AveragePool", "linear", average_pool, "y = mean of every window"),
    Op(
        "GlobalAveragePool",
        "linear",
        lambda at: at.linear(GlobalAverage(at.x)),
        "y = mean over the spatial axes",
    ),
    Op("ReduceSum", "linear", reduce_sum, "y = sum over axes"),
    Op("ReduceMean", "linear", reduce_mean, "y = mean over axes"),
    Op("CumSum", "linear", cum_sum, "y = running sum along an axis"),
)
