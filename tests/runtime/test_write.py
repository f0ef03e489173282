"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
import pytest

from rfponnx.errors import OutputError
from rfponnx.runtime.write import check_output, write, write_arrays


def test_arrays_come_back_under_their_names(tmp_path: Path) -> None:
    arrays = {
        "a/b:0": np.arange(3.0), "file": np.ones((2, 2), np.float16),
        "word": np.array(["x", "yz"], object), "s": np.array(1),
    }  # fmt: skip
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    write_arrays(one, arrays)
    write_arrays(two, arrays)
    assert one.read_bytes() == two.read_bytes()
    with np.load(one) as found:
        assert set(found.files) == set(arrays)
        for name, array in arrays.items():
            assert found[name].tolist() == array.tolist()


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "out"
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        write(path, fail)
    assert list(tmp_path.iterdir()) == []
    path.write_text("before")
    with pytest.raises(OutputError):
        write(path, fail, force=True)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interruption_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def stop(file: IO[bytes]) -> None:
        raise error

    with pytest.raises(error):
        write(tmp_path / "out", stop)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("x")
    for path, words in (
        (there, "the file exists; --force replaces it"),
        (tmp_path, "is a directory"),
        (tmp_path / "no" / "out", "its folder does not exist"),
        (there / "out", "its folder does not exist"),
    ):
        with pytest.raises(OutputError, match=words):
            write_arrays(path, {})
    write_arrays(there, {"a": np.ones(1)}, force=True)


def test_a_model_is_not_replaced_by_its_own_conversion(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    check_output(tmp_path / "out.onnx", model, force=False)  # no model: not for us to say
    model.write_text("x")
    link = tmp_path / "link.onnx"
    link.symlink_to(model)
    for path in (model, link):
        with pytest.raises(OutputError, match="is the model itself"):
            check_output(path, model, force=True)
    check_output(tmp_path / "out.onnx", model, force=False)
