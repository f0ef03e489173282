"""The command line as a function, and models for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from rfponnx_cli.main import rfponnx
from tests.runtime import nets


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


Call = Callable[..., Ran]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command line; without a terminal, 80 columns."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*words: str | Path) -> Ran:
        found = CliRunner().invoke(rfponnx, [str(w) for w in words])
        assert found.exception is None or isinstance(found.exception, SystemExit)
        return Ran(found.exit_code, found.stdout, found.stderr)

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which we are, with small models and data in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("dense", "pixels", "fixed", "pair", "mixed"):
        nets.save(getattr(nets, name.upper()), tmp_path / f"{name}.onnx")
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    return tmp_path


@pytest.fixture
def converted(here: Path, call: Call) -> Path:
    """The pixelwise and the dense model, converted with two sources each."""
    for name, tensor in (("dense", "x"), ("pixels", "image")):
        done = call("convert", f"{name}.onnx", "--source", f"a={tensor}[:,0]", "--source",
                    f"b={tensor}[:,1:]", "-q")  # fmt: skip
        assert (done.code, done.out, done.err) == (0, "", "")
    return here
