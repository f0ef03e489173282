"""Stored values as arrays: initializers, Constant nodes, attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from rfponnx.errors import ModelError
from rfponnx.graph.external import is_external, reference


def read_tensor(tensor: TensorProto, folder: Path | None) -> np.ndarray:
    """Return a stored tensor as an array; of external data only its own bytes are read.

    Raises
    ------
    ModelError
        If the data does not fit the dimensions or cannot be read.
    """
    try:
        if is_external(tensor):
            held = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            held.raw_data = _external(tensor, folder)
            return numpy_helper.to_array(held)
        return numpy_helper.to_array(tensor)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"stored values cannot be read: {error}", tensor.name) from error


def constant_value(node: NodeProto, folder: Path | None) -> np.ndarray | None:
    """Return what a Constant node yields, whichever attribute holds it."""
    for a in node.attribute:
        if a.name == "value":
            return read_tensor(a.t, folder)
        if a.name in ("value_float", "value_floats"):
            return np.array(a.f if a.name == "value_float" else list(a.floats), np.float32)
        if a.name in ("value_int", "value_ints"):
            return np.array(a.i if a.name == "value_int" else list(a.ints), np.int64)
        if a.name in ("value_string", "value_strings"):
            return np.array(a.s if a.name == "value_string" else list(a.strings), object)
    return None


def _external(tensor: TensorProto, folder: Path | None) -> bytes:
    if folder is None:
        raise ModelError("external data of a model that has no folder", tensor.name)
    ref = reference(tensor)
    with (folder / ref.location).open("rb") as file:
        file.seek(ref.offset)
        return file.read(ref.length)


def decoded(a: AttributeProto) -> Any:
    """Return the value of an attribute: a number, text, an array, a list, a graph."""
    kind = AttributeProto
    if a.type == kind.TENSOR:
        return a.t if is_external(a.t) else numpy_helper.to_array(a.t)
    if a.type == kind.TENSORS:
        return [t if is_external(t) else numpy_helper.to_array(t) for t in a.tensors]
    if a.type == kind.STRING:
        return a.s.decode("utf-8", "replace")
    if a.type == kind.STRINGS:
        return [s.decode("utf-8", "replace") for s in a.strings]
    if a.type in (kind.FLOATS, kind.INTS, kind.GRAPHS):
        return list({kind.FLOATS: a.floats, kind.INTS: a.ints, kind.GRAPHS: a.graphs}[a.type])
    single = {kind.FLOAT: a.f, kind.INT: a.i, kind.GRAPH: a.g}
    return single.get(a.type)
