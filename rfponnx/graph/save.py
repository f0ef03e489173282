"""Write a model so that it is there whole, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import EncodeError
from onnx import GraphProto, ModelProto

from rfponnx.errors import OutputError
from rfponnx.graph.external import is_external, reference
from rfponnx.graph.load import PROTO_LIMIT
from rfponnx.graph.walk import tensors

_TOO_LARGE = "the model is larger than 2 GB, which protobuf cannot write"


def save(proto: ModelProto, path: Path, *, folder: Path | None, force: bool = False) -> int:
    """Write a model, its external data beside it, and return the bytes of the model file.

    Everything is written under temporary names first and renamed at the end, so a failure
    leaves nothing behind.  Data files are copied as streams; where the output lies in
    `folder` the references hold as they are.

    Parameters
    ----------
    proto
        The model; its external tensors are references.
    path
        The file to write.
    folder
        Where the external data lies; None if there is none.
    force
        Replace files that exist.

    Raises
    ------
    OutputError
        If something exists (without `force`), would overwrite the data the model
        refers to, or cannot be written.
    """
    locations = _locations(proto)
    _check_target(path, force)
    if folder is not None and any(_is_same(path, folder / name) for name in locations):
        raise OutputError(
            "would overwrite the external data of the model", str(path), "choose another name"
        )
    data = _serialised(proto, path)
    copies = [] if folder is None else list(_copies(locations, folder, path, force))
    with ExitStack() as undo:
        staged = [_staged(target, _stream(source), undo) for source, target in copies]
        staged.append(_staged(path, lambda file: file.write(data), undo))
        targets = [target for _, target in copies] + [path]
        _publish(staged, targets, undo)
    return len(data)


def _locations(proto: ModelProto) -> list[str]:
    """Return the data files that the model refers to, each once."""
    bodies = (GraphProto(node=function.node) for function in proto.functions)
    held = (t for graph in (proto.graph, *bodies) for t in tensors(graph) if is_external(t))
    return list(dict.fromkeys(reference(t).location for t in held))


def _check_target(path: Path, force: bool) -> None:
    try:
        if path.is_dir():
            raise OutputError("is a directory", str(path), "name a file")
        if not path.parent.is_dir():
            raise OutputError("no such directory", str(path.parent), "create it first")
        if path.exists() and not path.is_file():
            raise OutputError("is not a regular file", str(path), "name a file")
        if path.exists() and not force:
            raise OutputError("exists already", str(path), "use --force to replace it")
    except (OSError, ValueError) as error:
        raise _failed(error, path) from error


def _serialised(proto: ModelProto, path: Path) -> bytes:
    hint = "save the model with external data before converting it"
    try:
        data: bytes = proto.SerializeToString(deterministic=True)
    except (EncodeError, ValueError, MemoryError) as error:
        raise OutputError(_TOO_LARGE, str(path), hint) from error
    if len(data) > PROTO_LIMIT:
        raise OutputError(_TOO_LARGE, str(path), hint)
    return data


def _copies(
    locations: Sequence[str], folder: Path, path: Path, force: bool
) -> Iterator[tuple[Path, Path]]:
    """Yield (source, target) of the data files that are not yet where `path` needs them."""
    for location in locations:
        source, target = folder / location, path.parent / location
        if _is_same(source, target):
            continue
        if _is_same(target, path):
            raise OutputError(
                f"the external data has the name of the output, `{location}`",
                str(path),
                "choose another name",
            )
        if target.is_dir():
            raise OutputError("is a directory where external data must go", str(target))
        if target.exists() and not force and not _equal(source, target):
            raise OutputError("exists already and differs", str(target), "use --force")
        yield source, target


def _is_same(a: Path, b: Path) -> bool:
    """Say whether two paths are one place, be there a file or not."""
    try:
        return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))
    except OSError:
        return False


def _equal(a: Path, b: Path, block: int = 1 << 20) -> bool:
    try:
        if a.stat().st_size != b.stat().st_size:
            return False
        with a.open("rb") as one, b.open("rb") as two:
            while part := one.read(block):
                if part != two.read(block):
                    return False
    except OSError:
        return False
    return True


def _stream(source: Path) -> Callable[[BinaryIO], object]:
    def write(file: BinaryIO) -> None:
        with source.open("rb") as data:
            shutil.copyfileobj(data, file, 1 << 20)

    return write


def _staged(target: Path, write: Callable[[BinaryIO], object], undo: ExitStack) -> Path:
    """Write a temporary file beside `target`; `undo` removes it, and folders made for it."""
    try:
        _make_folder(target.parent, undo)
        temporary = target.parent / f".rfponnx-{secrets.token_hex(8)}.tmp"
        with temporary.open("xb") as file:  # unlike `tempfile`, with the user's permissions
            undo.callback(_remove, temporary)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
    except OSError as error:
        raise _failed(error, target) from error
    return temporary


def _make_folder(folder: Path, undo: ExitStack) -> None:
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    for path in reversed(missing):
        path.mkdir()
        undo.callback(_remove, path)


def _publish(staged: Sequence[Path], targets: Sequence[Path], undo: ExitStack) -> None:
    """Rename everything into place, the model last: it never refers to what is not there."""
    for temporary, target in zip(staged, targets, strict=True):
        new = not target.exists()
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise _failed(error, target) from error
        if new:
            undo.callback(_remove, target)
    undo.pop_all()


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


def _failed(error: Exception, path: Path) -> OutputError:
    reason = getattr(error, "strerror", None) or str(error)
    hints = {
        errno.ENOSPC: "free some space",
        errno.EACCES: "choose a folder that you may write to",
        errno.EROFS: "choose a folder that you may write to",
    }
    return OutputError(f"cannot be written: {reason}", str(path), hints.get(_number(error), ""))


def _number(error: Exception) -> int:
    return error.errno or 0 if isinstance(error, OSError) else 0
