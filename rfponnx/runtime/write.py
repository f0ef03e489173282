"""Results on disk: there whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from rfponnx.errors import OutputError
from rfponnx.runtime.ports import Array


def check_target(path: Path, *, force: bool) -> None:
    """Refuse a place that cannot be written, before any work is done.

    Raises
    ------
    OutputError
        It exists (without `force`), is a directory, or its folder is missing or closed.
    """
    if path.is_dir():
        raise OutputError("is a directory", str(path), "name a file in it")
    if path.exists() and not force:
        raise OutputError("the file exists", str(path), "--force replaces it")
    if not path.parent.is_dir():
        raise OutputError("its folder does not exist", str(path), "make the folder first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError("its folder cannot be written", str(path))


def check_output(path: Path, model: Path, *, force: bool) -> None:
    """Refuse a place for a converted model that cannot be written, or that is the model itself.

    Where there is no model, that is what has to be said first, by whoever reads it.

    Raises
    ------
    OutputError
        See `check_target`.
    """
    if not model.is_file():
        return
    with contextlib.suppress(OSError):
        if path.exists() and path.samefile(model):
            raise OutputError("is the model itself", str(path), "name another file with -o")
    check_target(path, force=force)


def write(path: Path, fill: Callable[[IO[bytes]], None], *, force: bool = False) -> None:
    """Let `fill` write a file that appears under its name when it is complete.

    Raises
    ------
    OutputError
        See `check_target`; or the disk is full.
    """
    check_target(path, force=force)
    name = ""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        with os.fdopen(handle, "wb") as file:
            fill(file)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)  # gone after a success


def write_arrays(path: Path, arrays: Mapping[str, Array], *, force: bool = False) -> None:
    """Write arrays under their names as an .npz archive; the same arrays give the same bytes."""

    def fill(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                with archive.open(entry, "w", force_zip64=True) as member:
                    plain = array.astype("U") if array.dtype.kind == "O" else array
                    np.lib.format.write_array(member, np.asanyarray(plain), allow_pickle=False)

    write(path, fill, force=force)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value
