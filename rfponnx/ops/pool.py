"""Means and sums: over windows, over axes, along an axis; and the way back from a pool."""

from __future__ import annotations

from onnx import TensorProto

from rfponnx.graph.builder import BOOL, INT64
from rfponnx.maps.base import then
from rfponnx.maps.expr import applied, ints, positions, tensor
from rfponnx.maps.gain import Gain
from rfponnx.maps.pool import WindowMean
from rfponnx.maps.reduce import Average, GlobalAverage, RunningSum, Total
from rfponnx.maps.scatter import Select
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


def max_unpool(at: At) -> Linearisation:
    """``y[I[j]] = x[j]``, 0 elsewhere; the node itself says which x each entry of y comes from."""
    counted = applied("Add", positions(at.x), ints([1]))
    node = applied("MaxUnpool", applied("Cast", counted, to=TensorProto.FLOAT),
                   *(tensor(i) for i in at.node.inputs[1:]), **at.node.attrs)  # fmt: skip
    found = applied("Cast", node, to=INT64)
    index = applied("Max", applied("Sub", found, ints([1])), ints([0]))
    there = applied("Cast", applied("Cast", found, to=BOOL), to=at.graph.dtype(at.x))
    return at.linear(then(Select(at.x, at.y, index), Gain(there, at.y, at.y)))


OPS = (
    Op("AveragePool", "linear", average_pool, "y = mean of every window"),
    Op(
        "GlobalAveragePool",
        "linear",
        lambda at: at.linear(GlobalAverage(at.x, at.y)),
        "y = mean over the spatial axes",
    ),
    Op("ReduceSum", "linear", reduce_sum, "y = sum over axes"),
    Op("ReduceMean", "linear", reduce_mean, "y = mean over axes"),
    Op("MaxUnpool", "rearranging", max_unpool, "y = x put back where I says", inputs=(0,)),
    Op("CumSum", "linear", cum_sum, "y = running sum along an axis"),
)
