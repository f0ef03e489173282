"""What operators meant in old opsets, written down as new ones say it: converters leave it out."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

#: From here on, Resize says where the entries of its output lie on its input.
COORDINATES_SINCE = 11

#: From here on, the mask of a Dropout holds truth values; that of inference is all true.
MASKS_ARE_BOOL, MASKS_OF_ONES = 10, 12

#: From here on, Softmax and its like work along one axis; before, on a matrix of all behind it.
AXIS_ALONE_SINCE = 13


def in_new_words(graph: GraphProto, before: int, after: int) -> list[NodeProto]:
    """Return the nodes of a graph whose opset was raised, so that they compute what they did."""
    if before < COORDINATES_SINCE <= after:
        _interpolate_as_before(graph)
    nodes = list(graph.node)
    for node in nodes:  # the checker stumbles over the default of opset 13
        if node.op_type == "MeanVarianceNormalization" and not node.attribute:
            node.attribute.append(helper.make_attribute("axes", [0, 2, 3]))
    if before < MASKS_OF_ONES <= after:
        types = {value.name: value.type.tensor_type.elem_type for value in graph.output}
        floats = types if before < MASKS_ARE_BOOL else None
        nodes = [part for node in nodes for part in _masked(node, floats)]
    if before < AXIS_ALONE_SINCE <= after:
        nodes = [part for node in nodes for part in _coerced(node)]
    return nodes


def _interpolate_as_before(graph: GraphProto) -> None:
    """Write what Resize and Upsample meant before they had attributes for it; converters do not."""
    stored = {t.name: t for t in graph.initializer}
    constants = (n for n in graph.node if n.op_type == "Constant")
    stored |= {n.output[0]: a.t for n in constants for a in n.attribute if a.name == "value"}
    resizes = (n for n in graph.node if n.op_type == "Resize" and len(n.input) > 2)
    for node in resizes:
        how = {"coordinate_transformation_mode": "asymmetric"}
        if next((a.s for a in node.attribute if a.name == "mode"), b"nearest") == b"nearest":
            scales = stored.get(node.input[2])
            shrinks = scales is not None and max(numpy_helper.to_array(scales)) <= 1
            how["nearest_mode"] = "ceil" if shrinks else "floor"
        node.attribute.extend(helper.make_attribute(k, v) for k, v in how.items())


def _coerced(node: NodeProto) -> list[NodeProto]:
    """Write out the matrix that Hardmax used to make of its input; converters do not."""
    if node.op_type != "Hardmax" or node.domain not in ("", "ai.onnx"):
        return [node]
    x, y = node.input[0], node.output[0]
    shape, matrix, hard = (f"{y}/coerced_{part}" for part in ("shape", "matrix", "hard"))
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    return [
        helper.make_node("Shape", [x], [shape]),
        helper.make_node("Flatten", [x], [matrix], axis=axis),
        helper.make_node("Hardmax", [matrix], [hard], axis=1),
        helper.make_node("Reshape", [hard, shape], [y]),
    ]


def _masked(node: NodeProto, floats: Mapping[str, int] | None) -> list[NodeProto]:
    """Write out the mask that a Dropout used to give in inference: zeros.

    Parameters
    ----------
    floats
        The element types of outputs where masks were floats; ``None`` where they held truth values.
    """
    if node.op_type != "Dropout" or len(node.output) < 2 or not node.output[1]:
        return [node]
    mask = node.output.pop()
    dtype = TensorProto.BOOL if floats is None else floats.get(mask, TensorProto.FLOAT)
    zero = helper.make_tensor("zero", dtype, [1], [0])
    return [
        node,
        helper.make_node("Shape", [node.input[0]], [f"{mask}/shape"]),
        helper.make_node("ConstantOfShape", [f"{mask}/shape"], [mask], value=zero),
    ]
