"""Bring a model into the form the overlay needs, with the same prediction."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
)

from rfponnx.errors import ModelError
from rfponnx.graph.external import is_external
from rfponnx.graph.load import Loaded
from rfponnx.graph.meaning import in_new_words
from rfponnx.graph.walk import order, reads

#: Initializers up to this many elements stay visible to the converter, which reads some of them.
SMALL = 512

#: Every supported ONNX Runtime runs this opset; above it, the installed one is asked.
SURE_OPSET = 19
SURE_IR = 9


@dataclass(frozen=True, slots=True)
class Prepared:
    """The model whose nodes the overlay reads.

    Parameters
    ----------
    proto
        The prepared primal; the very proto of `loaded` when nothing changed.
    loaded
        The model as read.
    changes
        What preparation did, a sentence each.
    """

    proto: ModelProto
    loaded: Loaded
    changes: tuple[str, ...]


def prepare(loaded: Loaded, minimum_opset: int) -> Prepared:
    """Return the model with functions inlined, nodes in order and opset at least `minimum_opset`.

    Names, the IR version and stored weights stay as they are.

    Raises
    ------
    ModelError
        If the opset is newer than ONNX Runtime supports or cannot be raised.
    """
    check_opset(loaded)
    proto = loaded.proto
    changes: list[str] = []
    if proto.functions:
        proto = _inlined(proto, loaded.name)
        count = len(loaded.proto.functions) - len(proto.functions)
        changes.append(f"{count} local function{'s' if count != 1 else ''} inlined")
    sequence = order(proto.graph.node)
    if len(sequence) < len(proto.graph.node):
        raise ModelError("the nodes form a cycle", loaded.name)
    if sequence != sorted(sequence):
        proto = _with_nodes(proto, [proto.graph.node[i] for i in sequence])
        changes.append("nodes sorted")
    before = default_opset(proto)
    if not any(o.domain in ("", "ai.onnx") for o in proto.opset_import):
        proto = _with_nodes(proto, proto.graph.node)  # no standard operator: any opset will do
        proto.opset_import.append(helper.make_opsetid("", minimum_opset))
    elif before < minimum_opset:
        proto = _raised(proto, minimum_opset, loaded.name)
        changes.append(f"opset raised from {before} to {minimum_opset}")
    return Prepared(proto, loaded, tuple(changes))


def default_opset(proto: ModelProto) -> int:
    """Return the opset of the standard operators: the last declared, 1 where there is none."""
    versions = [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
    return versions[-1] if versions else 1


def outline(proto: ModelProto) -> ModelProto:
    """Return a copy in which the large initializers are plain graph inputs.

    What only needs types and shapes works on this without moving the weights.
    """
    light = ModelProto()
    for field, value in proto.ListFields():
        if field.name != "graph":
            _copy_field(light, field.name, value)
    graph = light.graph
    for field, value in proto.graph.ListFields():
        if field.name not in ("initializer", "input"):
            _copy_field(graph, field.name, value)
    held = {t.name for t in proto.graph.initializer if is_large(t)}
    graph.input.extend(value for value in proto.graph.input if value.name not in held)
    for tensor in proto.graph.initializer:
        if tensor.name in held:
            graph.input.append(declared(tensor))
        else:
            graph.initializer.append(tensor)
    return light


def is_large(tensor: TensorProto) -> bool:
    """Say whether a stored tensor is one whose values decide no shape."""
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count > SMALL or is_external(tensor)


def declared(tensor: TensorProto) -> ValueInfoProto:
    """Return name, type and shape of a stored tensor."""
    return helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))


def _copy_field(target: object, name: str, value: object) -> None:
    if isinstance(value, (int, float, str)):
        setattr(target, name, value)
    elif isinstance(value, bytes):
        return  # a remark that is no text, which protobuf would not take back
    else:
        getattr(target, name).extend(value)


def _with_nodes(proto: ModelProto, nodes: Sequence[NodeProto]) -> ModelProto:
    """Return a copy of the model that has these nodes."""
    kept = [copy.deepcopy(node) for node in nodes]
    result = ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    result.graph.node.extend(kept)
    return result


def _inlined(proto: ModelProto, name: str) -> ModelProto:
    import onnx.inliner

    light = outline(proto)
    try:
        done = onnx.inliner.inline_local_functions(light)
        if done.functions:
            done = onnx.inliner.inline_local_functions(light, convert_version=True)
    except Exception as error:  # the C++ side raises whatever it likes
        raise ModelError(
            f"local functions cannot be inlined: {_reason(error)}",
            name,
            "inline them at export",
        ) from error
    result = _with_nodes(proto, done.graph.node)
    del result.functions[:], result.opset_import[:]
    result.functions.extend(done.functions)
    result.opset_import.extend(done.opset_import)
    return result


def _raised(proto: ModelProto, version: int, name: str) -> ModelProto:
    """Return the model in a newer opset; initializers, inputs and outputs as they were."""
    from onnx import version_converter

    light = outline(proto)
    # The converter refuses IR < 3; the IR of its result is not used.
    light.ir_version = max(light.ir_version, 3)
    training = _training(light)
    try:
        done = version_converter.convert_version(light, version)
        if lost := _outputs(light) - _outputs(done):
            # what replaces a node gets a new output; that of a graph output keeps its name
            light.graph.output.extend(ValueInfoProto(name=name) for name in sorted(lost))
            done = version_converter.convert_version(light, version)
    except Exception as error:  # the C++ side raises whatever it likes
        raise ModelError(
            f"opset {default_opset(proto)} cannot be raised to {version}: {_reason(error)}",
            name,
            f"export the model with opset {version} or newer",
        ) from error
    have = {t.name for t in proto.graph.initializer} | {v.name for v in proto.graph.input}
    # as nodes: before IR 4 a new initializer would have to become an input too
    added = [_constant(t) for t in done.graph.initializer if t.name not in have]
    for node in done.graph.node:
        if statistics := training.get(node.output[0] if node.output else ""):
            node.output.extend(statistics)
            node.attribute.append(helper.make_attribute("training_mode", 1))
    made = in_new_words(done.graph, default_opset(proto), version)
    nodes = _restored(proto.graph.node, made)
    result = _with_nodes(proto, [*added, *nodes])
    kept = [o for o in result.opset_import if o.domain not in ("", "ai.onnx")]
    del result.opset_import[:]
    result.opset_import.extend([helper.make_opsetid("", version), *kept])
    return result


def _training(light: ModelProto) -> dict[str, list[str]]:
    """Leave out statistics of a batch that nobody reads, which the converter refuses.

    Returns, by what such a node makes of its own batch, the two that newer opsets still have.
    """
    read = {name for node in light.graph.node for name in reads(node)}
    read |= {value.name for value in light.graph.output}
    found = {}
    for node in light.graph.node:
        if node.op_type != "BatchNormalization" or len(node.output) < 2:
            continue
        if read.isdisjoint(node.output[1:]):
            found[node.output[0]] = list(node.output[1:3])
            del node.output[1:]
    return found


def _constant(tensor: TensorProto) -> NodeProto:
    return helper.make_node("Constant", [], [tensor.name], value=tensor)


def _outputs(proto: ModelProto) -> set[str]:
    return {name for node in proto.graph.node for name in node.output if name}


def _restored(before: Sequence[NodeProto], after: Sequence[NodeProto]) -> list[NodeProto]:
    """Return `after` under the original names, unchanged nodes as the original protos."""
    original = {name: node for node in before for name in node.output if name}
    nodes: list[NodeProto] = []
    for node in after:
        old = next((original[name] for name in node.output if name in original), None)
        if old is not None and _same(old, node):
            nodes.append(old)
            continue
        if old is not None:
            node.name, node.doc_string = old.name, old.doc_string
        nodes.append(node)
    _name_once(nodes, {node.name: node.op_type for node in before})
    return nodes


def _name_once(nodes: Sequence[NodeProto], operators: Mapping[str, str]) -> None:
    """Leave each original name to one node, that of the original operator if there is one.

    The converter names all nodes that replace one (Flatten, Softmax, Reshape) alike, and
    ONNX Runtime refuses that.
    """
    bearers: dict[str, list[NodeProto]] = {}
    for node in nodes:
        if node.name:
            bearers.setdefault(node.name, []).append(node)
    for name, sharing in bearers.items():
        heir = next((n for n in sharing if n.op_type == operators.get(name)), sharing[-1])
        for node in sharing:
            if node is not heir:
                node.name = ""


def _same(a: NodeProto, b: NodeProto) -> bool:
    if (a.op_type, a.domain) != (b.op_type, b.domain):
        return False
    if list(a.input) != list(b.input) or list(a.output) != list(b.output):
        return False
    one = {x.name: x.SerializeToString(deterministic=True) for x in a.attribute}
    return one == {x.name: x.SerializeToString(deterministic=True) for x in b.attribute}


def _reason(error: Exception) -> str:
    """Return the first line of a C++ message without the place in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^\S+:\d+: ", "", lines[0])[:160] if lines else type(error).__name__


def check_opset(loaded: Loaded) -> None:
    """Refuse an opset or IR version that the installed ONNX Runtime does not know.

    Raises
    ------
    ModelError
        Names the version and the newest possible one.
    """
    version, ir = default_opset(loaded.proto), loaded.proto.ir_version
    if version <= SURE_OPSET and ir <= SURE_IR:
        return
    limit = onnx.defs.onnx_opset_version()
    while limit > SURE_OPSET and not _runs(limit, SURE_IR):
        limit -= 1
    if version > limit:
        raise ModelError(
            f"opset {version} is newer than the installed onnxruntime and onnx support ({limit})",
            loaded.name,
            f"export the model with opset {limit} or older, or update both",
        )
    if not _runs(SURE_OPSET, ir):
        raise ModelError(
            f"IR version {ir} is newer than the installed onnxruntime supports",
            loaded.name,
            "export the model with an older IR version, or update onnxruntime",
        )


def _runs(opset: int, ir: int) -> bool:
    """Say whether the installed ONNX Runtime accepts models of this opset and IR version."""
    try:
        import onnxruntime
    except ImportError:
        return True
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # its error types are not exported
        return False
    return True
