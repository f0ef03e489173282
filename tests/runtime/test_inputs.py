"""Files that become inputs: arrays, archives, pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rfponnx.errors import InputError, OptionError
from rfponnx.runtime.inputs import read_inputs
from rfponnx.runtime.ports import Port
from rfponnx.runtime.preprocess import Pixels

LEFT = Port("left", "float32", ("N", 2))
RIGHT = Port("a=b", "float32", ("N", 2))
PAIR = (LEFT, RIGHT)
NCHW = Port("image", "float32", ("N", 3, 5, 6))
NHWC = Port("image", "float32", ("N", 5, 6, 3))
GREY = Port("image", "float32", ("N", 1, 5, 6))
FREE = Port("image", "float32", ("N", 3, None, None))
BYTES = Port("image", "uint8", ("N", 3, 5, 6))
ALONE = Port("image", "float32", (3, 5, 6))

PLAIN = Pixels()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of inputs, and the place where we are."""
    monkeypatch.chdir(tmp_path)
    two = np.arange(4, dtype=np.float32).reshape(2, 2)
    np.save("two.npy", two)
    np.save("one.npy", two[:1] + 10)
    np.save("bytes.npy", two.astype(np.uint8))
    np.save("three.npy", np.zeros((2, 3), np.float32))
    np.savez("both.npz", **{"left": two, "a=b": two + 1, "label": np.arange(2)})
    np.savez("single.npz", data=two)
    pixels = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    Image.fromarray(pixels).save("rgb.png")
    Image.fromarray(pixels[..., 0]).save("grey.png")
    Image.fromarray(np.arange(30, dtype=np.uint16).reshape(5, 6)).save("deep.png")
    Image.fromarray(np.zeros((10, 12, 3), np.uint8) + 51).save("large.png")
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes((tmp_path / "rgb.png").read_bytes()[:45])
    (tmp_path / "half.npy").write_bytes((tmp_path / "two.npy").read_bytes()[:-4])
    (tmp_path / "half.npz").write_bytes((tmp_path / "both.npz").read_bytes()[:300])
    (tmp_path / "empty.npy").touch()
    np.save("objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "folder.npy").mkdir()
    return tmp_path


READ: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = (
    ("array", ("left=two.npy",), {"left": [[0, 1], [2, 3]]}),
    ("name with =", ("a=b=two.npy",), {"a=b": [[0, 1], [2, 3]]}),
    ("behind each other", ("left=two.npy", "left=one.npy"), {"left": [[0, 1], [2, 3], [10, 11]]}),
    ("archive", ("both.npz",), {"left": [[0, 1], [2, 3]], "a=b": [[1, 2], [3, 4]]}),
    ("archive, by name", ("left=both.npz",), {"left": [[0, 1], [2, 3]]}),
    ("archive, by key", ("left=both.npz:a=b",), {"left": [[1, 2], [3, 4]]}),
    ("archive, its only array", ("left=single.npz",), {"left": [[0, 1], [2, 3]]}),
)


@pytest.mark.parametrize(("specs", "expected"), [r[1:] for r in READ], ids=[r[0] for r in READ])
def test_arrays(specs: tuple[str, ...], expected: dict[str, Any], folder: Path) -> None:
    found = read_inputs(specs, PAIR, PLAIN)
    assert {name: a.tolist() for name, a in found.items()} == expected


def test_a_single_input_needs_no_name(folder: Path) -> None:
    assert read_inputs(["two.npy"], [LEFT], PLAIN)["left"].shape == (2, 2)
    with pytest.raises(InputError, match="does not say for which input; write NAME=FILE"):
        read_inputs(["two.npy"], PAIR, PLAIN)


WRONG = (
    ("lef=two.npy", "no input `lef`; did you mean `left`"),
    ("q=two.npy", "no input `q`; inputs are: left, a=b"),
    ("left=", "names no file; write NAME=FILE"),
    ("left=nothing.npy", "no such file"),
    ("left=nothing.npz", "no such file"),
    ("left=folder.npy", "is a directory"),
    ("left=text.npy", "is no NumPy file"),
    ("left=half.npy", "is no NumPy file"),
    ("left=empty.npy", "is no NumPy file"),
    ("left=objects.npy", "is no NumPy file"),
    ("left=half.npz", "is no NumPy file"),
    ("left=two.npy.npz", "no such file"),
    ("left=both.npz:lft", "holds no array `lft`; did you mean `left`"),
    ("left=both.npz:q", "holds no array `q`; it holds left, a=b, label"),
    ("single.npz", "holds no array with the name of an input; it holds data"),
    ("left=rgb.png", r"a picture has no place in float32 \[N, 2\]"),
)


@pytest.mark.parametrize(("spec", "words"), WRONG, ids=[w[0] for w in WRONG])
def test_what_cannot_be_read_is_one_line(spec: str, words: str, folder: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_inputs([spec], PAIR, PLAIN)
    assert "\n" not in str(caught.value)


def test_files_that_do_not_fit_together(folder: Path) -> None:
    with pytest.raises(InputError, match=r"do not fit together: \[2, 2\], \[2, 3\]"):
        read_inputs(["left=two.npy", "left=three.npy"], PAIR, PLAIN)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (PLAIN, None),  # left as they are, to be refused by type
        (Pixels(scale=0.5), [[0, 0.5], [1, 1.5]]),
        (Pixels(mean=(1 / 255,)), [[-1 / 255, 0], [1 / 255, 2 / 255]]),
        (Pixels(scale=1, std=(2,)), [[0, 0.5], [1, 1.5]]),
        (Pixels(scale=1, mean=(0, 1), std=(1, 2)), [[0, 0], [2, 1]]),
    ],
)
def test_numbers_are_scaled_when_that_is_asked(pixels: Pixels, expected: Any, folder: Path) -> None:
    found = read_inputs(["left=bytes.npy"], PAIR, pixels)["left"]
    if expected is None:
        assert found.dtype == np.uint8
        return
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_too_many_channels_are_said(folder: Path) -> None:
    with pytest.raises(OptionError, match=r"--mean: 3 numbers for the shape \[2, 2\] of `left`"):
        read_inputs(["left=bytes.npy"], PAIR, Pixels(mean=(1, 2, 3)))


Look = Callable[[Any], Any]
PICTURES: tuple[tuple[str, str, Port, Pixels, Look], ...] = (
    ("nchw", "rgb.png", NCHW, PLAIN, lambda p: p.transpose(2, 0, 1)[None] / 255),
    ("nhwc", "rgb.png", NHWC, PLAIN, lambda p: p[None] / 255),
    ("layout given", "rgb.png", FREE, Pixels(layout="nchw"),
     lambda p: p.transpose(2, 0, 1)[None] / 255),
    ("bgr", "rgb.png", NHWC, Pixels(color="bgr"), lambda p: p[None, ..., ::-1] / 255),
    ("no sample axis", "rgb.png", ALONE, PLAIN, lambda p: p.transpose(2, 0, 1) / 255),
    ("8 bits stay", "rgb.png", BYTES, PLAIN, lambda p: p.transpose(2, 0, 1)[None]),
    ("grey to rgb", "grey.png", NHWC, PLAIN, lambda p: p[None, ..., :1].repeat(3, -1) / 255),
    ("mean of the network's channels", "rgb.png", NHWC,
     Pixels(scale=1, mean=(1, 2, 3), std=(2, 2, 4), color="bgr"),
     lambda p: (p[None, ..., ::-1] - np.array([1, 2, 3])) / np.array([2, 2, 4])),
    ("mean, nchw", "rgb.png", NCHW, Pixels(mean=(0.1, 0.2, 0.3)),
     lambda p: ((p / 255) - np.array([0.1, 0.2, 0.3])).transpose(2, 0, 1)[None]),
    ("resized", "large.png", NCHW, Pixels(resize=True), lambda p: np.full((1, 3, 5, 6), 0.2)),
)  # fmt: skip


@pytest.mark.parametrize(("file", "p", "pixels", "look"), [c[1:] for c in PICTURES],
                         ids=[c[0] for c in PICTURES])  # fmt: skip
def test_pictures(file: str, p: Port, pixels: Pixels, look: Look, folder: Path) -> None:
    stored = np.arange(5 * 6 * 3).reshape(5, 6, 3)
    found = read_inputs([f"image={file}"], [p], pixels)["image"]
    assert found.dtype == p.numpy
    np.testing.assert_allclose(found, look(stored), rtol=1e-6, atol=1e-6)


def test_rgb_to_grey(folder: Path) -> None:
    assert read_inputs(["rgb.png"], [GREY], PLAIN)["image"].shape == (1, 1, 5, 6)


def test_pictures_are_put_behind_each_other(folder: Path) -> None:
    found = read_inputs(["image=rgb.png", "image=grey.png"], [NCHW], PLAIN)
    assert found["image"].shape == (2, 3, 5, 6)


@pytest.mark.parametrize(
    ("file", "p", "words"),
    [
        ("large.png", NCHW, r"is 12 x 10 pixels, the input takes 6 x 5 \(width x height\); --res"),
        ("deep.png", NCHW, "has more than 8 bits a pixel"),
        ("text.png", NCHW, "cannot be read as a picture"),
        ("half.png", NCHW, "cannot be read as a picture"),
        ("none.png", NCHW, "no such file"),
        ("rgb.png", Port("image", "float32", ("N", 12, 5, 6)), "1, 3 or 4 channels"),
    ],
)  # fmt: skip
def test_pictures_that_do_not_fit(file: str, p: Port, words: str, folder: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_inputs([f"image={file}"], [p], PLAIN)
    assert "\n" not in str(caught.value)
