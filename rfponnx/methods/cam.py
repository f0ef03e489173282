"""Grad-CAM: where the channels of a layer matter to the target."""

from __future__ import annotations

from rfponnx.emit.attribution import Attribution
from rfponnx.emit.backward import Backward
from rfponnx.emit.readout import Result
from rfponnx.errors import OptionError, nearest
from rfponnx.graph.builder import Builder
from rfponnx.graph.graph import Graph
from rfponnx.maps.base import Value
from rfponnx.methods.backward import seed_of
from rfponnx.plan.flow import downstream
from rfponnx.plan.plan import Plan, start_tensors


def tensor_of(graph: Graph, at: str, reached: frozenset[str]) -> str:
    """Return the tensor of a map: the last Conv's behind an input, BatchNormalization included.

    Raises
    ------
    OptionError
        There is none, or no relevance passes it.
    """
    if at not in ("last_conv", "last_spatial"):
        if at not in graph.tensors():
            raise OptionError(f"no tensor `{at}`", "--set at", nearest(at, graph.tensors()))
        if at not in reached or (graph.rank(at) or 0) < 3:
            what = f"`{at}` has no spatial axes on the way to what is explained"
            raise OptionError(what, "--set at", "give last_conv, last_spatial or a feature map")
        return at
    for node in reversed(graph.nodes):
        y = node.outputs[0]
        if y not in reached or (graph.rank(y) or 0) < 3:
            continue
        if at == "last_spatial" and 1 not in (graph.shape(y) or ())[2:]:
            return y
        if at == "last_conv" and node.op == "Conv":
            readers = graph.consumers(y)
            alone = len(readers) == 1 and readers[0].op == "BatchNormalization"
            return readers[0].outputs[0] if alone else y
    raise OptionError("the model has no feature map", "--set at", "name a tensor")


def grad_cam(plan: Plan, b: Builder) -> tuple[Result, ...]:
    """``sum over channels of T times the mean of dy/dT over space``, resized to the inputs."""
    numbers = {**plan.options.way.keys, **plan.options.numbers}
    reached = frozenset(plan.carried) & frozenset(s.y for s in plan.steps)
    tensors = {
        start: tensor_of(b.graph, str(numbers["at"]), reached & downstream(b.graph, [start]))
        for start in start_tensors(plan)
    }
    first, ends = plan.explained[0].tensor, tuple(tensors.values())
    walked = Backward(plan, b, {first: seed_of(plan, b).value}, ends=ends)
    out = Attribution(plan, b)
    out.explained()
    for start, tensor in tensors.items():
        heat = _heat(b, tensor, walked.at[tensor], relu=bool(numbers["relu"]))
        out.one_channel(start, heat, tensor, resize=bool(numbers["resize"]))
    return tuple(out.results)


def _heat(b: Builder, tensor: str, m: Value, *, relu: bool) -> Value:
    """Return the sum over channels of a tensor times the mean of its gradient over space."""
    lead, rank = int(m.stack), len(b.dims(tensor))
    weights = b.reduce("ReduceMean", m.name, range(lead + 2, lead + rank))
    heat = b.reduce("ReduceSum", b.op("Mul", weights, tensor), [lead + 1])
    return Value(b.op("Relu", heat) if relu else heat, m.stack)
