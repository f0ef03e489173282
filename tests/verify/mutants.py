"""Converted files broken on purpose: each says which checks have to notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

PRIMAL = "primal unchanged"
READS = "overlay only reads"
SAME = "prediction, not optimised"
SUMS = "relevances in the file sum up"
FRESH = "relevances as converted afresh"
NUMBERS = "NaN or infinity"

#: Breaks a converted model in place, given the number of primal nodes; False: nothing to break.
Break = Callable[[ModelProto, int], bool]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One way to break a file."""

    name: str
    notices: tuple[str, ...]
    apply: Break

    def __str__(self) -> str:
        return self.name


def broken(converted: ModelProto, primal: ModelProto, mutant: Mutant) -> ModelProto | None:
    """Return a broken copy; ``None`` where the mutant does not apply."""
    model = ModelProto()
    model.CopyFrom(converted)
    return model if mutant.apply(model, len(primal.graph.node)) else None


# ---- the primal -------------------------------------------------------------------------


def weight_by_an_ulp(model: ModelProto, count: int) -> bool:
    tensor = next(t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT)
    value = numpy_helper.to_array(tensor).copy()
    value.flat[0] = np.nextafter(value.flat[0], np.float32(np.inf))
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return True


def attribute(model: ModelProto, count: int) -> bool:
    node = next(n for n in model.graph.node[:count] if n.op_type in ("Gemm", "Conv", "Relu"))
    node.attribute.append(helper.make_attribute("unheard_of", 1))
    return True


def node_name(model: ModelProto, count: int) -> bool:
    model.graph.node[0].name += "_"
    return True


def node_order(model: ModelProto, count: int) -> bool:
    """Move an overlay node to the front: still a model, but the primal is not where it was."""
    ready = set(free(model))
    node = next((n for n in model.graph.node[count:] if set(n.input) <= ready), None)
    if node is None:
        return False
    rest = [n for n in model.graph.node if n is not node]
    ordered = [copied(node), *map(copied, rest)]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    return True


def primal_reads_overlay(model: ModelProto, count: int) -> bool:
    """Feed a primal node the same values through the overlay."""
    given = model.graph.input[0].name
    model.graph.node.insert(0, helper.make_node("Identity", [given], ["rfp/copy"], "rfp/copy"))
    node = next(n for n in model.graph.node[1 : count + 1] if given in n.input)
    node.input[list(node.input).index(given)] = "rfp/copy"
    return True


def input_shape(model: ModelProto, count: int) -> bool:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "M"
    return True


def output_order(model: ModelProto, count: int) -> bool:
    first, *rest = [copied(o) for o in model.graph.output]
    del model.graph.output[:]
    model.graph.output.extend([*rest, first])
    return True


def opset(model: ModelProto, count: int) -> bool:
    model.opset_import[0].version += 1
    return True


def ir_version(model: ModelProto, count: int) -> bool:
    model.ir_version -= 1
    return True


def documentation(model: ModelProto, count: int) -> bool:
    model.graph.doc_string = "another"
    return True


def metadata(model: ModelProto, count: int) -> bool:
    model.metadata_props.add(key="author", value="somebody")
    return True


def dropped_weight_name(model: ModelProto, count: int) -> bool:
    """Rename a weight everywhere: the same computation, other protos."""
    old = next(t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT)
    for tensor in model.graph.initializer:
        tensor.name = "renamed" if tensor.name == old else tensor.name
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = "renamed" if name == old else name
    return True


# ---- names and outputs of the overlay -----------------------------------------------------


def overlay_name(model: ModelProto, count: int) -> bool:
    model.graph.node[count].name = "mine"
    return True


def overlay_tensor(model: ModelProto, count: int) -> bool:
    results = {o.name for o in model.graph.output}
    node = next(n for n in model.graph.node[count:] if n.output[0] not in results)
    rename(model, node.output[0], "mine", count)
    return True


def overlay_constant(model: ModelProto, count: int) -> bool:
    tensor = model.graph.initializer[-1]
    if not tensor.name.startswith("rfp/"):
        return False
    rename(model, tensor.name, "mine", count)
    tensor.name = "mine"
    return True


def extra_output(model: ModelProto, count: int) -> bool:
    name = model.graph.node[count].output[0]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return True


def extra_input(model: ModelProto, count: int) -> bool:
    model.graph.input.append(helper.make_tensor_value_info("unasked", TensorProto.FLOAT, [1]))
    return True


# ---- values of the overlay ----------------------------------------------------------------


def behind(op: str, *kinds: str) -> Break:
    """Put an operator behind the first overlay node of some kinds."""

    def apply(model: ModelProto, count: int) -> bool:
        node = next((n for n in overlay(model, count) if n.op_type in kinds), None)
        if node is None:
            return False
        insert_behind(model, node, lambda x, y: helper.make_node(op, [x], [y], "rfp/mutant"))
        return True

    return apply


def scaled(factor: float, *kinds: str) -> Break:
    """Multiply what the first overlay node of some kinds gives."""

    def apply(model: ModelProto, count: int) -> bool:
        node = next((n for n in overlay(model, count) if n.op_type in kinds), None)
        if node is None:
            return False
        scale_behind(model, node, factor)
        return True

    return apply


def first_operand_only(*kinds: str) -> Break:
    """Make an overlay node pass its first operand on: a mask, a summand is dropped."""

    def apply(model: ModelProto, count: int) -> bool:
        node = next((n for n in signals(model, count) if n.op_type in kinds), None)
        if node is None:
            return False
        kept, name = node.input[0], node.output[0]
        node.CopyFrom(helper.make_node("Identity", [kept], [name], node.name))
        return True

    return apply


def doubled_operand(model: ModelProto, count: int) -> bool:
    node = next((n for n in signals(model, count) if n.op_type == "Add"), None)
    if node is None:
        return False
    node.input[1] = node.input[0]
    return True


def swapped_difference(model: ModelProto, count: int) -> bool:
    """``separate`` bias: the total less the explained tensor."""
    node = next((n for n in overlay(model, count) if n.op_type == "Sub"), None)
    if node is None:
        return False
    node.input[0], node.input[1] = node.input[1], node.input[0]
    return True


def swapped_sources(model: ModelProto, count: int) -> bool:
    """Exchange the first two rows of the result."""
    node = next((n for n in overlay(model, count)[::-1] if n.op_type == "Concat"), None)
    if node is None or len(node.input) < 3:
        return False
    node.input[0], node.input[1] = node.input[1], node.input[0]
    return True


def bias_among_sources(model: ModelProto, count: int) -> bool:
    """Exchange the first row and the bias."""
    node = next((n for n in overlay(model, count)[::-1] if n.op_type == "Concat"), None)
    if node is None:
        return False
    node.input[0], node.input[-1] = node.input[-1], node.input[0]
    return True


def shifted_pads(model: ModelProto, count: int) -> bool:
    for node in overlay(model, count):
        for a in node.attribute:
            if node.op_type == "Conv" and a.name == "pads" and a.ints[2] > 0:
                a.ints[0], a.ints[2] = a.ints[0] + 1, a.ints[2] - 1
                return True
    return False


def other_weight(model: ModelProto, count: int) -> bool:
    """Let an overlay Conv or Gemm use the weights turned by one place."""
    for node in overlay(model, count):
        stored = {t.name: t for t in model.graph.initializer}
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in stored:
            value = np.roll(numpy_helper.to_array(stored[node.input[1]]), 1)
            model.graph.initializer.append(numpy_helper.from_array(value, "rfp/turned"))
            node.input[1] = "rfp/turned"
            return True
    return False


def wrong_explained(model: ModelProto, count: int) -> bool:
    """Declare the prediction as the explained tensor."""
    if model.graph.output[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        return False
    for node in model.graph.node[count:]:
        if node.output[0].endswith("_explained"):
            node.input[0] = model.graph.output[0].name
            return True
    return False


def not_a_number(model: ModelProto, count: int) -> bool:
    node = next(n for n in overlay(model, count) if n.op_type in ("Conv", "Gemm", "MatMul"))
    scale_behind(model, node, float("nan"))
    return True


def endless(model: ModelProto, count: int) -> bool:
    node = next(n for n in overlay(model, count) if n.op_type in ("Conv", "Gemm", "MatMul"))
    scale_behind(model, node, float("inf"))
    return True


STREAMS = ("Conv", "Gemm", "MatMul")

MUTANTS = (
    Mutant("weight by an ulp", (PRIMAL,), weight_by_an_ulp),
    Mutant("attribute added", (PRIMAL,), attribute),
    Mutant("node renamed", (PRIMAL,), node_name),
    Mutant("node before the primal", (PRIMAL,), node_order),
    Mutant("primal reads the overlay", (PRIMAL,), primal_reads_overlay),
    Mutant("input shape", (PRIMAL,), input_shape),
    Mutant("outputs reordered", (PRIMAL,), output_order),
    Mutant("opset", (PRIMAL,), opset),
    Mutant("IR version", (PRIMAL,), ir_version),
    Mutant("documentation", (PRIMAL,), documentation),
    Mutant("metadata", (PRIMAL,), metadata),
    Mutant("weight renamed", (PRIMAL,), dropped_weight_name),
    Mutant("overlay node without prefix", (READS,), overlay_name),
    Mutant("overlay tensor without prefix", (READS,), overlay_tensor),
    Mutant("overlay constant without prefix", (READS,), overlay_constant),
    Mutant("undeclared output", (READS,), extra_output),
    Mutant("undeclared input", (READS,), extra_input),
    Mutant("sign of a stream", (FRESH,), behind("Neg", *STREAMS)),
    Mutant("mask dropped", (FRESH,), first_operand_only("Mul")),
    Mutant("summand dropped", (FRESH,), first_operand_only("Add")),
    Mutant("summand twice", (FRESH,), doubled_operand),
    Mutant("stream scaled by 1.001", (FRESH,), scaled(1.001, *STREAMS)),
    Mutant("stream scaled by 1.0001", (FRESH,), scaled(1.0001, *STREAMS)),
    Mutant("stream dropped", (FRESH,), scaled(0.0, *STREAMS)),
    Mutant("mask halved", (FRESH,), scaled(0.5, "HardSigmoid")),
    Mutant("bias with the wrong sign", (SUMS, FRESH), swapped_difference),
    Mutant("bias scaled", (SUMS, FRESH), scaled(1.01, "Sub")),
    Mutant("sources exchanged", (FRESH,), swapped_sources),
    Mutant("bias among the sources", (FRESH,), bias_among_sources),
    Mutant("pads shifted", (FRESH,), shifted_pads),
    Mutant("other weights", (FRESH,), other_weight),
    Mutant("another tensor explained", (FRESH,), wrong_explained),
    Mutant("NaN", (NUMBERS, SUMS, FRESH), not_a_number),
    Mutant("infinity", (NUMBERS, SUMS, FRESH), endless),
)


# ---- tools ----------------------------------------------------------------------------------


def overlay(model: ModelProto, count: int) -> list[NodeProto]:
    """Return the nodes behind the primal."""
    return list(model.graph.node[count:])


def signals(model: ModelProto, count: int) -> list[NodeProto]:
    """Return the overlay nodes that read no stored constant."""
    stored = {t.name for t in model.graph.initializer}
    return [n for n in overlay(model, count) if not stored & set(n.input)]


def free(model: ModelProto) -> Iterator[str]:
    """Yield the names that are there before any node runs."""
    yield from (i.name for i in model.graph.input)
    yield from (t.name for t in model.graph.initializer)


def copied(proto: onnx.NodeProto | onnx.ValueInfoProto) -> onnx.NodeProto | onnx.ValueInfoProto:
    """Return a copy of its own."""
    other = type(proto)()
    other.CopyFrom(proto)
    return other


def rename(model: ModelProto, old: str, new: str, count: int) -> None:
    """Rename an overlay tensor everywhere."""
    for node in model.graph.node[count:]:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = new if name == old else name


def insert_behind(
    model: ModelProto, node: NodeProto, make: Callable[[str, str], NodeProto]
) -> None:
    """Put a node between an overlay node and whoever reads its first output."""
    index = next(i for i, n in enumerate(model.graph.node) if n.output[0] == node.output[0])
    name, inner = node.output[0], "rfp/unbroken"
    node.output[0] = inner
    model.graph.node.insert(index + 1, make(inner, name))


def scale_behind(model: ModelProto, node: NodeProto, factor: float) -> None:
    """Multiply the first output of an overlay node."""
    model.graph.initializer.append(
        numpy_helper.from_array(np.asarray(factor, np.float32), "rfp/factor")
    )
    insert_behind(
        model, node, lambda x, y: helper.make_node("Mul", [x, "rfp/factor"], [y], "rfp/mutant")
    )


def floats_of(model: ModelProto, count: int) -> list[str]:
    """Return the first outputs of the overlay nodes that hold floats."""
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    types |= {o.name: o.type.tensor_type.elem_type for o in model.graph.output}
    names = [n.output[0] for n in overlay(model, count)]
    return [n for n in names if types.get(n) == TensorProto.FLOAT]
