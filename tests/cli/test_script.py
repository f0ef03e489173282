"""The installed program: its start, its pipes, its signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-c", "from rfponnx_cli.main import main; main()"]


def program(*words: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    return subprocess.run(
        [*PROGRAM, *map(str, words)], capture_output=True, text=True, env=environment,
        check=False, **more,
    )  # type: ignore[call-overload,no-any-return]  # fmt: skip


def test_it_is_installed_under_its_name() -> None:
    script = Path(sys.executable).with_name("rfponnx")
    if not script.exists():
        pytest.skip("not installed beside this interpreter")
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("rfponnx, version ")


@pytest.mark.skipif(os.name != "posix", reason="no times of children")
def test_help_is_quick() -> None:
    """In processor time, which a busy machine does not change."""
    best = float("inf")
    for _ in range(3):
        before = os.times()
        assert program("--help").returncode == 0
        after = os.times()
        spent = after.children_user - before.children_user
        best = min(best, spent + after.children_system - before.children_system)
    assert best < 0.3


def test_an_error_is_one_line_on_stderr() -> None:
    done = program("inspect", "no.onnx")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no.onnx: no such file\n"


def test_warnings_of_libraries_stay_inside(here: Path) -> None:
    done = program("convert", "dense.onnx", "-q", cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "words", [["ops"], ["ops", "--json"], ["--help"], ["inspect", "no", "--json"]]
)
def test_a_full_disk_behind_stdout(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1


def test_a_reader_that_leaves_is_no_error() -> None:
    process = subprocess.Popen([*PROGRAM, "ops", "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_names_that_a_terminal_cannot_print(here: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    (here / "dense.onnx").rename(here / "größe.onnx")
    done = subprocess.run([*PROGRAM, "inspect", "größe.onnx"], cwd=here, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "gr\\xf6" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_ended_program_leaves_nothing(number: int, code: int, here: Path) -> None:
    """It is stopped while it writes its output: nothing half-written stays."""
    slow = (
        "import os, signal, time, rfponnx_cli.main as m; replace = os.replace\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
        "def wait(*a):\n    print('writing', flush=True); time.sleep(30); replace(*a)\n"
        "os.replace = wait; m.main()"
    )
    before = set(here.iterdir())
    words = ["run", "dense.onnx", "--input", "x=x.npy", "-o", "out.npz", "-q"]
    process = subprocess.Popen([sys.executable, "-c", slow, *words], cwd=here, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in said
    assert set(here.iterdir()) == before
