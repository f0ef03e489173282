"""Small models that are wrong in one way each, and the files around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Value = tuple[str, int, Sequence[int | str] | None]
Prepare = Callable[[Path], object]
FLOAT = TensorProto.FLOAT
WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[Value] = (("x", FLOAT, ["N", 2]),),
    outputs: Sequence[Value] = (("y", FLOAT, ["N", 3]),),
    **more: object,
) -> ModelProto:
    """Return a model with the weight `w` [2, 3]."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    more = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8} | more
    return helper.make_model(graph, **more)


def node(kind: str, *inputs: str, to: str = "y", **more: object) -> NodeProto:
    return helper.make_node(kind, list(inputs), [to], **more)


def good() -> ModelProto:
    """y = relu(x w)."""
    return model([node("MatMul", "x", "w", to="h"), node("Relu", "h", name="last")])


def saved(made: ModelProto, name: str = "bad.onnx") -> Prepare:
    return lambda folder: (folder / name).write_bytes(made.SerializeToString())


def written(content: bytes, name: str = "bad.onnx") -> Prepare:
    return lambda folder: (folder / name).write_bytes(content)


def changed(change: Callable[[ModelProto], object]) -> Prepare:
    """Return what saves the good model with a change as bad.onnx."""
    made = good()
    change(made)
    return saved(made)


def with_external(location: str, length: int = 24) -> ModelProto:
    """Return the good model, its weight in another file."""
    made = good()
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    weight.external_data.add(key="length", value=str(length))
    return made


def outside(location: str, link: str = "") -> Prepare:
    """Return what saves models/bad.onnx with its data at `location`, and w.bin above it."""

    def prepare(folder: Path) -> None:
        (folder / "models").mkdir()
        (folder / "w.bin").write_bytes(WEIGHT.tobytes())
        onnx.save(with_external(location), folder / "models" / "bad.onnx")
        if link:
            (folder / "models" / link).symlink_to(folder / "w.bin")

    return prepare


def foreign(on_the_path: bool) -> ModelProto:
    """Return a model with an operator of nobody's, which relevance has to pass or not."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    trick = node("Magic", "h" if on_the_path else "c", to="z", name="trick", domain="com.example")
    outputs = [("z" if on_the_path else "y", FLOAT, ["N", 3])]
    inputs = [("x", FLOAT, ["N", 2]), ("c", TensorProto.INT64, ["N"])]
    nodes = [*good().graph.node, trick]
    return model(nodes, inputs, outputs, opset_imports=imports)


def nested(depth: int) -> ModelProto:
    """Return Ifs, each in a branch of the next."""
    inner = node("Relu", "x", to="t0")
    for level in range(depth):
        end = [onnx.ValueInfoProto(name=f"t{level}")]
        deep = helper.make_graph([inner], "deep", [], end)
        flat = helper.make_graph([node("Neg", "x", to=f"t{level}")], "flat", [], end)
        inner = node("If", "c", to=f"t{level + 1}", then_branch=deep, else_branch=flat)
    inputs = [("x", FLOAT, ["N", 2]), ("c", TensorProto.BOOL, [])]
    return model([inner], inputs, [(f"t{depth}", FLOAT, ["N", 2])])


def bottomless() -> bytes:
    """Return a file in which graphs lie in graphs, deeper than protobuf reads."""

    def field(number: int, content: bytes) -> bytes:
        length, size = b"", len(content)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = b""
    for _ in range(2000):
        graph = field(1, field(5, field(6, graph)))  # node, attribute, graph
    return field(7, graph)
