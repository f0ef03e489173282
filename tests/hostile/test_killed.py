"""Stopped half-way, or out of space: what has the final name is whole."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import rfponnx
from rfponnx.errors import OutputError
from tests.hostile.models import WEIGHT, good, saved, with_external

#: The program, waiting for ever before it gives a file its final name.
WAITING = """
import os, signal, time, rfponnx_cli.main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
def wait(*_):
    print("writing", flush=True)
    time.sleep(60)
os.replace = wait
rfponnx_cli.main.main()
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a model, and one in a folder whose weight lies beside it."""
    saved(good(), "good.onnx")(tmp_path)
    (tmp_path / "models").mkdir()
    saved(with_external("w.bin"), "models/apart.onnx")(tmp_path)
    (tmp_path / "models" / "w.bin").write_bytes(WEIGHT.tobytes())
    return tmp_path


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("source", ["good.onnx", "models/apart.onnx"])
def test_a_killed_conversion_leaves_no_output(number: int, source: str, here: Path) -> None:
    before = names(here)
    words = ["convert", source, "-o", "out.onnx", "-q"]
    process = subprocess.Popen([sys.executable, "-c", WAITING, *words], cwd=here, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "Traceback" not in said
    left = names(here) - before
    if number == signal.SIGKILL:  # nobody can clean up after that
        assert all(name.startswith(".rfponnx-") for name in left)
    else:
        assert not left
    rfponnx.convert(here / source).save(here / "out.onnx")
    onnx.checker.check_model(here / "out.onnx", full_check=True)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("source", ["good.onnx", "models/apart.onnx"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_full_disk_leaves_nothing(
    call: str, source: str, after: int, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file that is written in turn is the one that no longer fits."""
    if after and source == "good.onnx":
        return  # it is one file
    before, real, count = names(here), getattr(os, call), [0]

    def full(*given: object) -> object:
        count[0] += 1
        if count[0] > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given)

    converted = rfponnx.convert(here / source)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(OutputError, match="No space left on device; free some space"):
            converted.save(here / "out.onnx")
    assert names(here) == before
    converted.save(here / "out.onnx")
    assert {"out.onnx"} <= names(here) - before


def test_what_was_there_stays_when_the_disk_is_full(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "out.onnx").write_bytes(b"precious")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        rfponnx.convert(here / "good.onnx").save(here / "out.onnx", force=True)
    assert (here / "out.onnx").read_bytes() == b"precious"
