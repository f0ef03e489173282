"""A model is written whole, with its data, or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rfponnx.errors import OutputError
from rfponnx.graph import save as module
from rfponnx.graph.load import load
from rfponnx.graph.save import save

F = TensorProto.FLOAT
X = np.arange(2, dtype=np.float32)


def plain(tools):
    return tools.model([helper.make_node("Relu", ["x"], ["y"])], [("x", F, [2])], [("y", F, [2])])


def heavy(tools, folder: Path, location="data/w.bin"):
    """Write a model with two weights in one data file; return its path."""
    nodes = [helper.make_node("Add", ["x", "v"], ["h"]), helper.make_node("Mul", ["h", "w"], ["y"])]
    model = tools.model(nodes, [("x", F, [2])], [("y", F, [2])])
    for i, name in enumerate("vw"):
        weight = TensorProto(name=name, data_type=F, dims=[2], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": location, "offset": 8 * i, "length": 8}.items():
            weight.external_data.add(key=key, value=str(value))
        model.graph.initializer.append(weight)
    target = folder / location
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(np.array([1, 2, 3, 4], np.float32).tobytes())
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def everything(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


def test_what_is_written_is_the_model(tools, tmp_path):
    model, path = plain(tools), tmp_path / "out.onnx"
    size = save(model, path, folder=None)
    assert size == path.stat().st_size
    assert onnx.load(path) == model
    assert list(everything(tmp_path)) == ["out.onnx"]


def test_the_same_model_gives_the_same_bytes(tools, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        model = plain(tools)
        helper.set_model_props(model, {"one": "1", "two": "2"})
        save(model, tmp_path / name, folder=None)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_permissions_are_those_of_any_new_file(tools, tmp_path):
    (tmp_path / "plain").touch()
    save(plain(tools), tmp_path / "out.onnx", folder=None)
    assert (tmp_path / "out.onnx").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_existing_file_needs_force(tools, tmp_path):
    path = tmp_path / "out.onnx"
    path.write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        save(plain(tools), path, folder=None)
    assert path.read_text() == "mine"
    save(plain(tools), path, folder=None, force=True)
    assert onnx.load(path) == plain(tools)


@pytest.mark.parametrize(
    ("name", "what"), [(".", "directory"), ("no/such/out.onnx", "no such directory")]
)
def test_bad_places_are_named(tools, tmp_path, name, what):
    with pytest.raises(OutputError, match=what):
        save(plain(tools), tmp_path / name, folder=None, force=True)
    assert everything(tmp_path) == {}


def test_data_in_the_same_folder_is_only_referred_to(tools, tmp_path):
    source = heavy(tools, tmp_path)
    before = (tmp_path / "data/w.bin").stat()
    loaded = load(source)
    save(loaded.proto, tmp_path / "out.onnx", folder=loaded.folder)
    after = (tmp_path / "data/w.bin").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    one, two = (tools.run(p, {"x": X})[0] for p in (source, tmp_path / "out.onnx"))
    assert np.array_equal(one, two)


def test_data_is_copied_beside_an_output_elsewhere(tools, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    source = heavy(tools, tmp_path / "in")
    loaded = load(source)
    save(loaded.proto, tmp_path / "out/out.onnx", folder=loaded.folder)
    assert list(everything(tmp_path / "out")) == ["data", "data/w.bin", "out.onnx"]
    one, two = (tools.run(p, {"x": X})[0] for p in (source, tmp_path / "out/out.onnx"))
    assert np.array_equal(one, two)
    # the same data again is no conflict, other data is
    save(loaded.proto, tmp_path / "out/again.onnx", folder=loaded.folder)
    (tmp_path / "out/data/w.bin").write_bytes(bytes(16))
    with pytest.raises(OutputError, match=r"differs.*--force"):
        save(loaded.proto, tmp_path / "out/third.onnx", folder=loaded.folder)
    assert not (tmp_path / "out/third.onnx").exists()
    save(loaded.proto, tmp_path / "out/third.onnx", folder=loaded.folder, force=True)
    assert (tmp_path / "out/data/w.bin").read_bytes() != bytes(16)


def test_the_models_own_data_is_never_overwritten(tools, tmp_path):
    loaded = load(heavy(tools, tmp_path, "w.bin"))
    before = everything(tmp_path)
    for force in (False, True):
        with pytest.raises(OutputError, match=r"external data|exists"):
            save(loaded.proto, tmp_path / "w.bin", folder=loaded.folder, force=force)
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="has the name of the output"):
        save(loaded.proto, tmp_path / "out/w.bin", folder=loaded.folder, force=True)
    (tmp_path / "out").rmdir()
    assert everything(tmp_path) == before


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, None])
def test_a_failure_leaves_nothing_behind(tools, tmp_path, monkeypatch, function, call, code):
    """A full disk, a forbidden folder or an interrupt at any step."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    loaded = load(heavy(tools, tmp_path / "in"))
    real, calls = getattr(os, function), []

    def fail(*given):
        calls.append(given)
        if len(calls) == call + 1:
            raise KeyboardInterrupt if code is None else OSError(code, os.strerror(code))
        return real(*given)

    monkeypatch.setattr(module.os, function, fail)
    expected = KeyboardInterrupt if code is None else OutputError
    with pytest.raises(expected):
        save(loaded.proto, tmp_path / "out/out.onnx", folder=loaded.folder)
    assert len(calls) == call + 1
    assert everything(tmp_path / "out") == {}


def test_an_unwritable_folder_is_named(tools, tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module.Path, "open", refuse)
    with pytest.raises(OutputError, match="Permission denied; choose a folder"):
        save(plain(tools), tmp_path / "out.onnx", folder=None)
    monkeypatch.undo()
    assert everything(tmp_path) == {}


def test_a_model_too_large_for_protobuf_is_refused(tools, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROTO_LIMIT", 10)
    with pytest.raises(OutputError, match=r"2 GB.*external data"):
        save(plain(tools), tmp_path / "out.onnx", folder=None)
    assert everything(tmp_path) == {}
