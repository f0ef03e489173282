"""Hostile input, through the installed program: a row is a command, its exit code, its words.

What fails says so in one line, exits with 2, writes nothing and shows no traceback; with --json
the same is a document.  tests/cli has more rows, and other commands, inside one process.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import rfponnx
from tests.hostile.models import (
    FLOAT,
    Prepare,
    bottomless,
    changed,
    foreign,
    good,
    model,
    nested,
    node,
    outside,
    saved,
    with_external,
    written,
)

PROGRAM = Path(sys.executable).with_name("rfponnx")
#: A disk that holds this many bytes of a file and no more.
SMALL_DISK = 600


@dataclass(frozen=True, slots=True)
class Row:
    """A command, what it exits with, and what it says."""

    name: str
    words: str
    says: str
    prepare: Prepare = lambda folder: None
    code: int = 2
    disk: int | None = None

    def __str__(self) -> str:
        return self.name


def array(values: object, dtype: type = np.float32) -> Prepare:
    return lambda folder: np.save(folder / "bad.npy", np.asarray(values, dtype))


def both(*steps: Prepare) -> Prepare:
    return lambda folder: [step(folder) for step in steps]


def shape_of(name: str, *dims: int) -> Prepare:
    """Return what saves the good model with another size of its stored tensor or its input."""

    def change(made: onnx.ModelProto) -> None:
        if name == "w":
            made.graph.initializer[0].dims[:] = dims
        else:
            kind = made.graph.input[0].type.tensor_type
            for dim, size in zip(kind.shape.dim, dims, strict=True):
                dim.dim_value = size

    return changed(change)


def function_of_itself() -> onnx.ModelProto:
    """Return a model with a local function that calls itself."""
    call = helper.make_node("Round", ["a"], ["b"], domain="own")
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    loop = helper.make_function("own", "Round", ["a"], ["b"], [call], imports)
    nodes = [helper.make_node("Round", ["x"], ["y"], domain="own")]
    return model(nodes, outputs=[("y", FLOAT, ["N", 2])], opset_imports=imports, functions=[loop])


def unsorted() -> onnx.ModelProto:
    """Return a model that the checker refuses and ONNX Runtime loads."""
    made = good()
    made.graph.node.reverse()
    return made


CONVERT = "convert bad.onnx"
#: ONNX Runtime runs it, the standard does not know it.
STRANGE = model(
    [node("MatMul", "x", "w", to="h"), node("QuickGelu", "h", name="q", domain="com.microsoft")],
    opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
)

FILES = (
    Row("missing", CONVERT, "bad.onnx: no such file"),
    Row("empty", CONVERT, "bad.onnx: is empty", written(b"")),
    Row("truncated", CONVERT, "bad.onnx: ", written(good().SerializeToString()[:-9])),
    Row("text", CONVERT, "bad.onnx: not an ONNX model", written(b"# a page of text\n" * 9)),
    Row("directory", CONVERT, "is a directory", lambda f: (f / "bad.onnx").mkdir()),
    Row("no text", CONVERT, "not UTF-8|not an ONNX model",
        written(good().SerializeToString().replace(b"Relu", b"\xff\xfe\xfd\xfc"))),
    Row("bottomless", CONVERT, "not an ONNX model", written(bottomless())),
    Row("nested deeply", CONVERT, "nested too deeply|no linearisation", saved(nested(30))),
)  # fmt: skip

GRAPHS = (
    Row("failing checker", CONVERT, "nodes sorted", saved(unsorted()), code=0),
    Row("failing runtime", CONVERT, "bad.onnx: ONNX Runtime does not load it: .*MatMul",
        shape_of("x", 5, 5)),
    Row("no such operator", CONVERT, "ONNX Runtime does not load it|has no linearisation",
        changed(lambda m: setattr(m.graph.node[1], "op_type", "Rleu"))),
    Row("opset of tomorrow", CONVERT, "opset 999 is newer than",
        changed(lambda m: setattr(m.opset_import[0], "version", 999))),
    Row("opset 0", CONVERT, "bad.onnx: ",
        changed(lambda m: setattr(m.opset_import[0], "version", 0))),
    Row("IR version of tomorrow", CONVERT, "IR version 99 is newer",
        changed(lambda m: setattr(m, "ir_version", 99))),
    Row("unsupported operator", CONVERT, "node `q`: com.microsoft:QuickGelu .*--release 'q=left'",
        saved(STRANGE)),
    Row("released operator", f"{CONVERT} --release q=left", "y_relevance", saved(STRANGE), code=0),
    Row("custom domain", CONVERT, "node `trick`: com.example:Magic .*--release 'trick=left'",
        saved(foreign(True))),
    Row("custom domain off the path", f"{CONVERT} --source x=x", "y_relevance",
        saved(foreign(False)), code=0),
    Row("calls itself", CONVERT, "local functions cannot be inlined|does not load",
        saved(function_of_itself())),
    Row("cycle", CONVERT, "`last`: .*cycle|cycle",
        changed(lambda m: m.graph.node[0].input.__setitem__(0, "y"))),
    Row("undefined", CONVERT, "reads tensor `q`, which nothing defines",
        changed(lambda m: m.graph.node[0].input.__setitem__(0, "q"))),
    Row("made twice", CONVERT, "tensor `h` is also produced by",
        changed(lambda m: m.graph.node[1].output.__setitem__(0, "h"))),
    Row("huge weight", CONVERT, "stored tensor `w`: holds 24 bytes", shape_of("w", 2**40, 3)),
    Row("negative weight", CONVERT, "stored tensor `w`: negative dimension", shape_of("w", -2, 3)),
    Row("weight of no type", CONVERT, "element type 99 does not exist",
        changed(lambda m: setattr(m.graph.initializer[0], "data_type", 99))),
    Row("long vector", CONVERT, "y_relevance", saved(model(
        [node("Mul", "x", "x", to="h"), node("Add", "h", "x")],
        [("x", FLOAT, [2**40])], [("y", FLOAT, [2**40])])), code=0),
    Row("a name that drives the terminal", CONVERT, r"reads tensor `\\x1b\[31mq`",
        changed(lambda m: m.graph.node[0].input.__setitem__(0, "\x1b[31mq"))),
)  # fmt: skip

INSIDE = "convert models/bad.onnx"
DATA = (
    Row("data missing", INSIDE, "external data `no.bin` is missing", outside("no.bin")),
    Row("data above", INSIDE, "lies outside the folder of the model", outside("../w.bin")),
    Row("data absolute", INSIDE, "lies outside the folder of the model", outside("/etc/passwd")),
    Row("data linked", INSIDE, "link that leads outside the folder", outside("l.bin", "l.bin")),
    Row("data too short", CONVERT, r"external data `w.bin` is too short \(9 bytes, 24 needed\)",
        both(saved(with_external("w.bin")), written(bytes(9), "w.bin"))),
    Row("data too long", CONVERT, "too short", both(
        saved(with_external("w.bin", 10**18)), written(bytes(24), "w.bin"))),
)  # fmt: skip

RUN = "run good.onnx --input x=bad.npy"
RUNS = (
    Row("wrong name", "run good.onnx --input y=x.npy", "no input `y`"),
    Row("wrong shape", RUN, "`x`: .*axis 1 has to be 2", array([[1, 2, 3]])),
    Row("wrong rank", RUN, "`x`: expected 2 axes", array([1, 2])),
    Row("wrong type", RUN, "`x`: expected float32, got int64", array([[1, 2]], int)),
    Row("NaN", RUN, r"`x`: holds nan at \[0, 1\]", array([[1, np.nan]])),
    Row("infinity", RUN, r"`x`: holds inf", array([[1, np.inf]])),
    Row("no samples", RUN, "`x`: .*has no entries", array(np.zeros((0, 2)))),
    Row("no array", RUN, "bad.npy", written(b"\x93NUMPY rubbish", "bad.npy")),
    Row("objects", RUN, "bad.npy", array([[None, {}]], object)),
)

OUTPUTS = (
    Row("no folder", "convert good.onnx -o no/out.onnx", "its folder does not exist"),
    Row("folder is a file", "convert good.onnx -o x.npy/out.onnx", "x.npy"),
    Row("output is a folder", "convert good.onnx -o folder", "is a directory",
        lambda f: (f / "folder").mkdir()),
    Row("output is a device", "convert good.onnx -o /dev/full --force", "/dev/full"),
    Row("output exists", "convert good.onnx -o x.npy", "x.npy: the file exists.*--force"),
    Row("output is the model", "convert good.onnx -o good.onnx --force", "is the model itself"),
    Row("name too long", f"convert good.onnx -o {'x' * 300}.onnx", "too long"),
    Row("no such byte", "convert good.onnx -o \x01\x02/out", "does not exist"),
    Row("full disk", "convert good.onnx", "good.rfp.onnx: cannot be written: ", disk=SMALL_DISK),
    Row("full disk, data", "convert models/good.onnx -o out.onnx", "cannot be written: ", both(
        lambda f: (f / "models").mkdir(), saved(with_external("w.bin"), "models/good.onnx"),
        written(bytes(1 << 16), "models/w.bin")), disk=1 << 15),
    Row("full disk, results", "run good.onnx --random 0 -o out.npz", "out.npz: cannot be written",
        disk=100),
)  # fmt: skip

ROWS = (*FILES, *GRAPHS, *DATA, *RUNS, *OUTPUTS)
FAILING = [row for row in ROWS if row.code]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a good model and data for it."""
    saved(good(), "good.onnx")(tmp_path)
    np.save(tmp_path / "x.npy", np.ones((2, 2), np.float32))
    return tmp_path


def run(row: Row, here: Path, *more: str) -> subprocess.CompletedProcess[str]:
    def on_a_small_disk() -> None:
        if row.disk is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (row.disk, row.disk))

    # a file that nobody may grow further fails as a full disk does, and for real
    return subprocess.run(
        [str(PROGRAM), *row.words.split(), *more], cwd=here, capture_output=True, text=True,
        timeout=60, check=False, preexec_fn=on_a_small_disk,
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_no_row_is_there_twice() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_one_line_says_what_is_wrong(row: Row, here: Path) -> None:
    row.prepare(here)
    before = files(here)
    done = run(row, here)
    assert done.returncode == row.code, done.stderr
    assert re.search(row.says, done.stderr if row.code else done.stdout), done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    if row.code:
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.rstrip("\n").isprintable()
        assert done.stdout == ""
        assert files(here) == before


@pytest.mark.parametrize("row", FAILING, ids=str)
def test_the_same_as_json(row: Row, here: Path) -> None:
    row.prepare(here)
    before = files(here)
    done = run(row, here, "--json")
    assert (done.returncode, done.stderr) == (row.code, "")
    error = json.loads(done.stdout)["error"]
    assert set(error) == {"what", "where", "hint"}
    assert re.search(row.says, "; ".join((error["where"] + ": " + error["what"], error["hint"])))
    assert files(here) == before


def test_debug_shows_the_traceback(here: Path) -> None:
    done = run(Row("", "convert no.onnx --debug", ""), here)
    assert "Traceback" in done.stderr
    assert done.returncode == 2


def test_no_samples_in_a_fixed_graph(here: Path) -> None:
    """A model whose batch is 0 by declaration is converted, and predicts nothing."""
    made = model([node("Relu", "x")], [("x", FLOAT, [0, 2])], [("y", FLOAT, [0, 2])])
    converted = rfponnx.convert(made)
    assert [o.name for o in converted.model.graph.output] == ["y", "y_relevance"]


def test_text_goes_through(here: Path) -> None:
    """Inputs that hold text carry nothing and stop nothing."""
    inputs = [("x", FLOAT, ["N", 2]), ("t", TensorProto.STRING, ["N"])]
    outputs = [("y", FLOAT, ["N", 2]), ("s", TensorProto.STRING, ["N"])]
    made = model([node("Relu", "x"), node("Identity", "t", to="s")], inputs, outputs)
    assert [s.name for s in rfponnx.convert(made).plan.sources] == ["x"]
