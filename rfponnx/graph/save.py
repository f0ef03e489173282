"""Write a model so that it is there whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx

from rfponnx.errors import OutputError


def save(proto: onnx.ModelProto, path: Path, *, folder: Path | None, force: bool = False) -> int:
    """Write a model atomically and return its size in bytes.

    Raises
    ------
    OutputError
        The file exists (without `force`), or cannot be written.
    """
    if path.exists() and not force:
        raise OutputError("the file exists", str(path), "use --force to replace it")
    data = proto.SerializeToString(deterministic=True)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", str(path)) from error
    return len(data)
