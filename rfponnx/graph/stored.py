"""Whether a stored tensor holds the data that its type and dimensions call for."""

from __future__ import annotations

import math

from onnx import ModelProto, TensorProto, TypeProto

from rfponnx.errors import ModelError
from rfponnx.graph.external import is_external, stored_bytes
from rfponnx.graph.walk import tensors

#: Values per entry in the field that holds values of a type one by one.
_TYPED = {
    TensorProto.FLOAT: ("float_data", 1), TensorProto.COMPLEX64: ("float_data", 2),
    TensorProto.DOUBLE: ("double_data", 1), TensorProto.COMPLEX128: ("double_data", 2),
    TensorProto.INT64: ("int64_data", 1), TensorProto.STRING: ("string_data", 1),
    TensorProto.UINT32: ("uint64_data", 1), TensorProto.UINT64: ("uint64_data", 1),
    TensorProto.INT32: ("int32_data", 1), TensorProto.INT16: ("int32_data", 1),
    TensorProto.INT8: ("int32_data", 1), TensorProto.UINT16: ("int32_data", 1),
    TensorProto.UINT8: ("int32_data", 1), TensorProto.BOOL: ("int32_data", 1),
    TensorProto.FLOAT16: ("int32_data", 1), TensorProto.BFLOAT16: ("int32_data", 1),
}  # fmt: skip


def check_stored(proto: ModelProto) -> None:
    """Refuse stored tensors with too little or too much data, or of a wrong element type.

    So no size in a damaged file makes anybody ask for memory that no file can fill.

    Raises
    ------
    ModelError
        Names the tensor.
    """
    declared = {value.name: value.type.tensor_type for value in proto.graph.input}
    for tensor in proto.graph.initializer:
        if tensor.name in declared:
            _check_declared(tensor, declared[tensor.name])
    for tensor in tensors(proto.graph):
        where = f"stored tensor `{tensor.name}`"
        if tensor.data_type not in TensorProto.DataType.values() or not tensor.data_type:
            raise ModelError(f"element type {tensor.data_type} does not exist", where)
        if any(dim < 0 for dim in tensor.dims):
            raise ModelError(f"negative dimension in {list(tensor.dims)}", where)
        if not is_external(tensor) and (difference := _difference(tensor)):
            raise ModelError(f"{difference}, its shape is {list(tensor.dims)}", where)


def _check_declared(tensor: TensorProto, kind: TypeProto.Tensor) -> None:
    """Refuse a stored tensor that is declared as an input of another type or shape."""
    where = f"stored tensor `{tensor.name}`"
    if kind.elem_type != tensor.data_type:
        what = f"holds {_kind(tensor.data_type)}, declared is {_kind(kind.elem_type)}"
        raise ModelError(what, where)
    if not kind.HasField("shape"):
        return
    pairs = zip(kind.shape.dim, tensor.dims, strict=False)
    same = all(d.dim_value == n or d.dim_value < 0 for d, n in pairs if d.HasField("dim_value"))
    if not same or len(kind.shape.dim) != len(tensor.dims):
        raise ModelError(f"declared with another shape than its own, {list(tensor.dims)}", where)


def _kind(data_type: int) -> str:
    known = data_type in TensorProto.DataType.values()
    return TensorProto.DataType.Name(data_type) if known else f"element type {data_type}"


def _difference(tensor: TensorProto) -> str:
    """Say what is there instead of what should be; empty where both are the same."""
    if tensor.HasField("raw_data"):
        if tensor.data_type == TensorProto.STRING:
            return "text as raw data"
        found, wanted = len(tensor.raw_data), stored_bytes(tensor)
        return f"holds {found} bytes, {wanted} needed" if found != wanted else ""
    field, per_entry = _TYPED.get(tensor.data_type, ("", 0))  # type: ignore[call-overload]
    if not field:
        return ""  # types whose packing is not the same everywhere
    found, wanted = len(getattr(tensor, field)), per_entry * math.prod(tensor.dims)
    return f"holds {found} values, {wanted} needed" if found != wanted else ""
