"""Ways to damage a model file: what `tools/fuzz.py` and the tests of hostile input draw from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

Rng = np.random.Generator
T = TypeVar("T")
WORDS = (
    *("", "nowhere", "input", "rfp/constant", "a/b:c.d", "[0:1]", "a+b@mask", "'", "x" * 300),
    *("\u00e9", "\u202e\U0001f600", "\n", "{}", "%s"),
)
OPERATORS = (
    *("", "NoSuchOp", "Relu", "Conv", "Identity", "Reshape", "Constant", "If", "Loop", "Cast"),
    *("Shape", "Concat", "MatMul", "Softmax", "ConstantOfShape", "Range", "Expand", "Tile"),
)
SIZES = (-(2**63), -7, -1, 0, 1, 2, 3, 65, 2**20, 2**31, 2**40, 2**62, 2**63 - 1)


def pick(things: Sequence[T], rng: Rng) -> T:
    """Return one of some things."""
    return things[int(rng.integers(len(things)))]


# ---- bytes -----------------------------------------------------------------------------------


def flip(data: bytearray, rng: Rng) -> None:
    """Change some bytes."""
    for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
        data[place] = int(rng.integers(0, 256))


def flip_early(data: bytearray, rng: Rng) -> None:
    """Change one byte of the first thousand, where the structure is."""
    data[int(rng.integers(0, min(len(data), 1000)))] = int(rng.integers(0, 256))


def cut(data: bytearray, rng: Rng) -> None:
    """Truncate."""
    del data[int(rng.integers(0, len(data))) :]


def repeat(data: bytearray, rng: Rng) -> None:
    """Insert a piece of the file once more."""
    first, last = sorted(int(v) for v in rng.integers(0, min(len(data), 4096), 2))
    data[first:first] = data[first:last]


def drop(data: bytearray, rng: Rng) -> None:
    """Leave out a piece."""
    first = int(rng.integers(0, len(data)))
    del data[first : first + int(rng.integers(1, 100))]


# ---- nodes -----------------------------------------------------------------------------------


def drop_node(model: ModelProto, rng: Rng) -> None:
    """Remove a node."""
    del model.graph.node[int(rng.integers(len(model.graph.node)))]


def double_node(model: ModelProto, rng: Rng) -> None:
    """Have a node twice: its outputs too, or under new names."""
    model.graph.node.add().CopyFrom(node := _node(model, rng))
    if rng.random() < 0.5:
        for i in range(len(node.output)):
            model.graph.node[-1].output[i] += "_again"


def rename(model: ModelProto, rng: Rng) -> None:
    """Give one operand of a node another name: a strange one, or that of another tensor."""
    node = _node(model, rng)
    field = node.input if rng.random() < 0.7 and node.input else node.output
    if field:
        names = WORDS if rng.random() < 0.4 else _tensors(model.graph)
        field[int(rng.integers(len(field)))] = str(pick(names, rng))


def rename_everywhere(model: ModelProto, rng: Rng) -> None:
    """Give a tensor a strange name wherever it occurs: the model is as good as before."""
    graph = model.graph
    old, new = pick(_tensors(graph), rng), pick(WORDS[2:], rng)
    for holder in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        holder.name = new if holder.name == old else holder.name
    for node in graph.node:
        for field in (node.input, node.output):
            field[:] = [new if name == old else name for name in field]


def name_node(model: ModelProto, rng: Rng) -> None:
    """Name a node strangely, or as another is named."""
    _node(model, rng).name = pick((*WORDS, _node(model, rng).name), rng)


def change_arity(model: ModelProto, rng: Rng) -> None:
    """Give a node one operand or result more, or take one away."""
    node = _node(model, rng)
    field = node.input if rng.random() < 0.6 else node.output
    if field and rng.random() < 0.6:
        del field[int(rng.integers(len(field)))]
    else:
        field.append(pick((*_tensors(model.graph), ""), rng))


def change_operator(model: ModelProto, rng: Rng) -> None:
    """Make a node another operator, or move it to another domain."""
    node = _node(model, rng)
    if rng.random() < 0.3:
        node.domain = pick(("com.example", "ai.onnx", "ai.onnx.ml", "com.microsoft", "\n"), rng)
        if rng.random() < 0.3:
            model.opset_import.append(helper.make_opsetid(node.domain, int(rng.integers(3))))
    else:
        node.op_type = pick((*OPERATORS, _node(model, rng).op_type), rng)


def swap(model: ModelProto, rng: Rng) -> None:
    """Exchange two nodes."""
    one, other = _node(model, rng), _node(model, rng)
    copy = NodeProto()
    copy.CopyFrom(one)
    one.CopyFrom(other)
    other.CopyFrom(copy)


def close_cycle(model: ModelProto, rng: Rng) -> None:
    """Let a node read what is made after it."""
    node, later = _node(model, rng), _node(model, rng)
    if node.input and later.output:
        node.input[0] = later.output[0]


# ---- attributes ------------------------------------------------------------------------------


def drop_attribute(model: ModelProto, rng: Rng) -> None:
    """Remove an attribute."""
    node = _node(model, rng)
    if node.attribute:
        del node.attribute[int(rng.integers(len(node.attribute)))]


def change_attribute(model: ModelProto, rng: Rng) -> None:
    """Falsify a number of an attribute, or how many there are."""
    attribute = _attribute(model, rng)
    if attribute is None:
        return
    if attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = _size(rng)
        if rng.random() < 0.4:
            del attribute.ints[int(rng.integers(len(attribute.ints))) :]
        elif rng.random() < 0.3:
            attribute.ints.append(_size(rng))
    elif attribute.type == AttributeProto.TENSOR:
        change_tensor(attribute.t, rng)
    elif attribute.type == AttributeProto.STRING:
        attribute.s = pick((b"", b"\xff\xfe", b"SAME_UPPER", b"linear", b"constant"), rng)
    else:
        attribute.i, attribute.f = _size(rng), float(pick((0.0, -1.0, np.nan, np.inf, 1e38), rng))


def change_attribute_type(model: ModelProto, rng: Rng) -> None:
    """Claim that an attribute is of another type, or have it under another name."""
    attribute = _attribute(model, rng)
    if attribute is not None and rng.random() < 0.7:
        attribute.type = pick(tuple(AttributeProto.AttributeType.values()), rng)
    elif attribute is not None:
        attribute.name = pick(("axis", "pads", "to", "value", "perm", *WORDS), rng)


def add_attribute(model: ModelProto, rng: Rng) -> None:
    """Add an attribute, known or not, once or twice."""
    name = pick(("axis", "axes", "strides", "to", "training_mode", "nonsense"), rng)
    value = pick((1, 0, -9, 2.5, "x", [1, 1], [], [1.5]), rng)
    kind = AttributeProto.INTS if value == [] else None
    made = helper.make_attribute(name, value, attr_type=kind)
    _node(model, rng).attribute.append(made)


# ---- tensors, types, versions ----------------------------------------------------------------


def change_weight(model: ModelProto, rng: Rng) -> None:
    """Falsify a stored tensor, or leave it out."""
    held = model.graph.initializer
    if not held:
        return
    index = int(rng.integers(len(held)))
    if rng.random() < 0.15:
        del held[index]
    else:
        change_tensor(held[index], rng)


def change_tensor(tensor: TensorProto, rng: Rng) -> None:
    """Falsify dimensions, element type, data or place of a stored tensor."""
    what = rng.random()
    if what < 0.35 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = _size(rng)
    elif what < 0.5:
        tensor.data_type = int(rng.integers(0, 30))
    elif what < 0.65 and tensor.raw_data:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data)))]
    elif what < 0.75:
        tensor.ClearField("raw_data")
    elif what < 0.85:
        tensor.dims.append(_size(rng))
    else:
        tensor.data_location = TensorProto.EXTERNAL
        place = pick(
            ("../w.bin", "/etc/passwd", "w.bin", "", ".", "a/../../b", "current.onnx"), rng
        )
        for key, value in (("location", place), ("offset", "-1"), ("length", "zz")):
            if rng.random() < 0.6:
                tensor.external_data.add(key=key, value=value)


def change_shape(model: ModelProto, rng: Rng) -> None:
    """Falsify the declared shape or type of an input, an output or something between."""
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    if not values:
        return
    kind, what = pick(values, rng).type, rng.random()
    if what < 0.25:
        kind.tensor_type.elem_type = int(rng.integers(0, 30))
    elif what < 0.35:
        kind.Clear()
    elif what < 0.45:
        kind.tensor_type.ClearField("shape")
    elif what < 0.55:
        kind.tensor_type.shape.dim.add().dim_value = _size(rng)
    elif kind.tensor_type.shape.dim:
        dim = pick(list(kind.tensor_type.shape.dim), rng)
        if rng.random() < 0.5:
            dim.dim_value = _size(rng)
        else:
            dim.dim_param = pick(WORDS, rng)


def change_ends(model: ModelProto, rng: Rng) -> None:
    """Add, double, rename or remove an input or output of the graph."""
    field = model.graph.input if rng.random() < 0.4 else model.graph.output
    if not field or rng.random() < 0.4:
        declared = {value.name for value in (*model.graph.input, *model.graph.output)}
        free = [name for name in _tensors(model.graph) if name not in declared]
        kind, shape = int(pick((1, 1, 7, 8, 10, 11), rng)), pick((None, [], ["N"], [2]), rng)
        field.append(helper.make_tensor_value_info(pick((*free, *WORDS), rng), kind, shape))
    elif rng.random() < 0.3:
        del field[int(rng.integers(len(field)))]
    elif rng.random() < 0.5:
        field.add().CopyFrom(field[0])
    else:
        pick(list(field), rng).name = pick(WORDS, rng)


def change_version(model: ModelProto, rng: Rng) -> None:
    """Claim another opset or format version."""
    what = rng.random()
    if what < 0.5 and model.opset_import:
        model.opset_import[0].version = pick((-1, 0, 1, 5, 6, 7, 9, 12, 13, 21, 99, 999), rng)
    elif what < 0.6:
        del model.opset_import[:]
    elif what < 0.7:
        model.opset_import.append(helper.make_opsetid("", int(rng.integers(1, 25))))
    else:
        model.ir_version = pick((-1, 0, 1, 2, 3, 4, 7, 10, 99), rng)


def wrap(model: ModelProto, rng: Rng) -> None:
    """Move a node into a local function, which may call itself or lack what it needs."""
    node = _node(model, rng)
    if node.domain or any(a.type == AttributeProto.GRAPH for a in node.attribute):
        return
    inner = NodeProto()
    inner.CopyFrom(node)
    names = [f"f{i}" for i in range(len(node.input))], [f"g{i}" for i in range(len(node.output))]
    inner.input[:], inner.output[:] = names
    body = [inner]
    if rng.random() < 0.25:  # a function that calls itself
        body[0] = helper.make_node("Wrapped", names[0], names[1], domain="local")
    if rng.random() < 0.15:
        inner.input[:] = ["absent"] * len(inner.input)
    opsets = [o for o in model.opset_import if rng.random() < 0.9]
    model.functions.append(helper.make_function("local", "Wrapped", *names, body, opsets))
    node.op_type, node.domain = "Wrapped", "local"
    if rng.random() < 0.9:
        del node.attribute[:]
        model.opset_import.append(helper.make_opsetid("local", 1))


def nest(model: ModelProto, rng: Rng) -> None:
    """Put a node into a branch of an If, which may lack its output or a condition."""
    index = int(rng.integers(len(model.graph.node)))
    node = NodeProto()
    node.CopyFrom(model.graph.node[index])
    if not node.output:
        return
    made = [name for name in node.output if name]
    node.output[:] = [f"{name}_in" if name else "" for name in node.output]
    ends = [onnx.ValueInfoProto(name=f"{name}_in") for name in made]
    if rng.random() < 0.7:
        ends = [helper.make_tensor_value_info(e.name, TensorProto.FLOAT, None) for e in ends]
    branch = GraphProto(name="branch", node=[node], output=ends[: len(ends) - (rng.random() < 0.1)])
    condition = pick(("cond", "cond", "cond", pick(_tensors(model.graph), rng)), rng)
    both = {"then_branch": branch, "else_branch": branch}
    model.graph.node[index].CopyFrom(helper.make_node("If", [condition], made, **both))
    if rng.random() < 0.9 and condition == "cond":
        value = helper.make_tensor("cond", TensorProto.BOOL, [], [int(rng.integers(2))])
        model.graph.initializer.append(value)


ON_BYTES: tuple[Callable[[bytearray, Rng], None], ...] = (flip, flip_early, cut, repeat, drop)
ON_GRAPHS: tuple[Callable[[ModelProto, Rng], None], ...] = (
    *(drop_node, double_node, rename, rename_everywhere, name_node, change_arity),
    *(change_operator, swap, close_cycle, drop_attribute, change_attribute),
    *(change_attribute_type, add_attribute, change_weight, change_shape, change_ends),
    *(change_version, wrap, nest),
)


def damage(data: bytes, rng: Rng) -> tuple[bytes, list[str]]:
    """Return a damaged copy of a model file, and what was done to it."""
    if rng.random() < 0.15:
        raw = bytearray(data)
        by_bytes = pick(ON_BYTES, rng)
        by_bytes(raw, rng)
        return bytes(raw), [by_bytes.__name__]
    model, done = onnx.load_model_from_string(data), []
    for _ in range(pick((1, 1, 1, 2, 3), rng)):
        by_graph = pick(ON_GRAPHS, rng)
        if model.graph.node:
            by_graph(model, rng)
            done.append(by_graph.__name__)
    return model.SerializeToString(), done


def _size(rng: Rng) -> int:
    return int(pick(SIZES, rng)) if rng.random() < 0.5 else int(rng.integers(-3, 9))


def _node(model: ModelProto, rng: Rng) -> NodeProto:
    return pick(list(model.graph.node), rng) if model.graph.node else NodeProto()


def _attribute(model: ModelProto, rng: Rng) -> AttributeProto | None:
    having = [node for node in model.graph.node if node.attribute]
    return pick(list(pick(having, rng).attribute), rng) if having else None


def _tensors(graph: GraphProto) -> list[str]:
    return list(dict.fromkeys(_names(graph))) or [""]


def _names(graph: GraphProto) -> Iterator[str]:
    for holder in (*graph.input, *graph.initializer):
        yield holder.name
    for node in graph.node:
        yield from node.output
