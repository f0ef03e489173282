"""Averages over steps or samples: one walk a step, in a loop, so that memory stays that of one.

The body holds a copy of the model and of the walk; weights are those of the graph around it.
Sizes of the inputs stay as they are, so that models with a baked batch size work, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from rfponnx.emit.backward import Backward
from rfponnx.emit.replica import Replica
from rfponnx.emit.seed import Seed
from rfponnx.graph.builder import BOOL, Builder
from rfponnx.maps.base import Value, whole
from rfponnx.plan.plan import Plan, start_tensors

FEW = 16  # entries of a tensor of sizes
#: From a builder and the number of the step: the moved start tensors, and the weight of the step.
At = Callable[[Builder, str], tuple[Mapping[str, str], str]]


def averaged(plan: Plan, b: Builder, seed: Seed, steps: int, at: At) -> dict[str, Value]:
    """Return ``sum over steps of weight(step) m(step)`` at every start tensor."""
    starts, place = start_tensors(plan), b.name(f"{b.prefix}/step")
    number, going = f"{place}/number", f"{place}/going"
    mover, walker = Builder(plan.graph, f"{place}/at"), Builder(plan.graph, f"{place}/walk")
    moved, weight = at(mover, number)
    walked = Backward(plan, walker, {plan.explained[0].tensor: seed.value})
    befores = [f"{place}/sum/{t}" for t in starts]
    sums = []
    for tensor, before in zip(starts, befores, strict=True):
        value = walked.at.get(tensor)
        if value is None:
            sums.append(walker.op("Identity", before))
        else:
            part = walker.op("Mul", whole(walker, value).name, weight)
            sums.append(walker.op("Add", before, part))
    ended = walker.op("Identity", going)
    replica = Replica(plan.graph, moved, f"{place}/model")
    model = replica.nodes(i for node in walker.nodes for i in node.input)
    for node in walker.nodes:
        replica.rename(node)
    inside = [*mover.nodes, *model, *walker.nodes]
    lead = (len(plan.targets),) if seed.value.stack else ()
    body = helper.make_graph(
        [*_sizes(plan, place, inside), *inside],
        place,
        [
            helper.make_tensor_value_info(number, TensorProto.INT64, []),
            helper.make_tensor_value_info(going, TensorProto.BOOL, []),
            *(_info(plan, t, n, lead) for t, n in zip(starts, befores, strict=True)),
        ],
        [
            helper.make_tensor_value_info(ended, TensorProto.BOOL, []),
            *(_info(plan, t, n, lead) for t, n in zip(starts, sums, strict=True)),
        ],
    )
    b.initializers.extend([*mover.initializers, *walker.initializers])
    zeros = [b.op("Expand", b.floats(0.0, b.dtype(t)), b.shape(t, lead=lead)) for t in starts]
    true = b.op("Cast", b.ints(1), to=BOOL)
    names = b.ops("Loop", b.ints(steps), true, *zeros, outputs=len(starts), body=body)
    return {t: Value(n, seed.value.stack) for t, n in zip(starts, names, strict=True)}


def _sizes(plan: Plan, place: str, nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Put sizes, axes and empty operands into the body: shape inference does not look outside."""
    found: dict[str, NodeProto] = {}
    for node in nodes:
        for i, name in enumerate(node.input):
            value = plan.graph.constant(name) if plan.graph.is_constant(name) else None
            if value is None or value.size > FEW or (value.size and value.dtype.kind != "i"):
                continue
            own = f"{place}/constant/{name}"
            stored = numpy_helper.from_array(value)
            found[name] = helper.make_node("Constant", [], [own], own, value=stored)
            node.input[i] = own
    return list(found.values())


def _info(plan: Plan, tensor: str, name: str, lead: Sequence[int]) -> ValueInfoProto:
    shape = [*lead, *(plan.graph.shape(tensor) or ())]
    return helper.make_tensor_value_info(name, plan.graph.dtype(tensor) or TensorProto.FLOAT, shape)
