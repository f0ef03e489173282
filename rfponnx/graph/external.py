"""Where the data of external tensors lies, and whether it may be read from there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import GraphProto, ModelProto, TensorProto, helper

from rfponnx.errors import ModelError
from rfponnx.graph.walk import tensors


def is_external(tensor: TensorProto) -> bool:
    """Say whether the data of a tensor lies in another file."""
    return tensor.data_location == TensorProto.EXTERNAL


def stored_bytes(tensor: TensorProto) -> int:
    """Return the number of bytes that type and dimensions call for.

    Raises
    ------
    ModelError
        If the type has no fixed size or a dimension is negative.
    """
    count = 1
    for dim in tensor.dims:
        count *= dim
    try:
        bits = _bits(tensor.data_type)
    except (KeyError, TypeError) as error:
        raise ModelError("external data of a type without fixed size", tensor.name) from error
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"negative dimension in {list(tensor.dims)}", tensor.name)
    return (count * bits + 7) // 8


@dataclass(frozen=True, slots=True)
class Reference:
    """Where the bytes of an external tensor lie: a file below the model's folder."""

    location: str
    offset: int
    length: int


def reference(tensor: TensorProto) -> Reference:
    """Return where the data of an external tensor lies.

    Raises
    ------
    ModelError
        If the entry is malformed, or names a place outside the model's folder.
    """
    entry = {e.key: e.value for e in tensor.external_data}
    where = f"initializer `{tensor.name}`"
    need = stored_bytes(tensor)
    try:
        offset, length = int(entry.get("offset", 0)), int(entry.get("length", need))
    except ValueError as error:
        raise ModelError("offset or length of its external data is no number", where) from error
    location = entry.get("location", "")
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    if not posix.name or "\0" in location:
        raise ModelError("its external data names no file", where)
    if posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in windows.parts:
        raise ModelError(
            f"external data `{location}` lies outside the folder of the model",
            where,
            "put the data file beside the model",
        )
    if offset < 0 or length < need:
        raise ModelError(f"external data has {length} bytes at {offset}, needs {need}", where)
    return Reference(location, offset, length)


def _bits(data_type: int) -> int:
    if data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        raise KeyError(data_type)
    name = TensorProto.DataType.Name(data_type)
    if name in ("INT4", "UINT4", "FLOAT4E2M1"):
        return 4
    if name in ("INT2", "UINT2"):
        return 2
    return 8 * int(helper.tensor_dtype_to_np_dtype(data_type).itemsize)


def check_external(proto: ModelProto, folder: Path | None) -> None:
    """Refuse external data that is missing, too short or outside `folder`."""
    held = [t for t in tensors(proto.graph) if is_external(t)]
    for function in proto.functions:
        held += (t for t in tensors(GraphProto(node=function.node)) if is_external(t))
    if held and folder is None:
        raise ModelError(
            "external data of a model that has no folder",
            f"initializer `{held[0].name}`",
            "give the path of the model file",
        )
    sizes: dict[str, int] = {}
    for tensor in held:
        assert folder is not None
        ref = reference(tensor)
        if ref.location not in sizes:
            sizes[ref.location] = _data_size(folder, ref.location)
        if ref.offset + ref.length > sizes[ref.location]:
            raise ModelError(
                f"external data `{ref.location}` is too short "
                f"({sizes[ref.location]} bytes, {ref.offset + ref.length} needed)",
                f"initializer `{tensor.name}`",
                "copy or download the data file again",
            )


def _data_size(folder: Path, location: str) -> int:
    path = folder / location
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        if not inside:
            raise ModelError(
                f"external data `{location}` is a link that leads outside the folder of the model",
                hint="put the data file itself beside the model",
            )
        if not path.is_file():
            raise ModelError(
                f"external data `{location}` is missing", hint="put it beside the model file"
            )
        return path.stat().st_size
    except (OSError, RuntimeError) as error:
        raise ModelError(f"external data `{location}` cannot be read", hint=str(error)) from error
