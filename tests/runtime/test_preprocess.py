"""Preprocessing from a file, resizing and cutting, and its undoing in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rfponnx.errors import InputError, OptionError
from rfponnx.runtime import canvas
from rfponnx.runtime.inputs import read_inputs
from rfponnx.runtime.ports import Port
from rfponnx.runtime.preprocess import Pixels, read_preprocess

FREE = Port("image", "float32", ("N", 3, None, None))
FIXED = Port("image", "float32", ("N", 3, 8, 8))


def read(text: str, folder: Path) -> Pixels:
    path = folder / "pre.toml"
    path.write_text(text)
    return read_preprocess(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Pixels()),
        ("mean = [0.1, 0.2, 3]\nstd = 2", Pixels(mean=(0.1, 0.2, 3.0), std=(2.0,))),
        ('scale = "1/255"', Pixels(scale=1 / 255)),
        ('scale = "1/127.5"', Pixels(scale=1 / 127.5)),
        ('layout = "nhwc"\ncolor = "bgr"', Pixels(layout="nhwc", color="bgr")),
        ("resize = true\nsize = 256\ncrop = 224", Pixels(resize=True, size=(256,), crop=(224,))),
        ("size = [4, 6]\ncrop = [2, 3]", Pixels(size=(4, 6), crop=(2, 3))),
    ],
)
def test_a_file_holds_the_options(text: str, expected: Pixels, tmp_path: Path) -> None:
    assert read(text, tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("maen = 1", "no key `maen`; did you mean `mean`"),
        ("quality = 1", "no key `quality`; keys are: mean, std, scale, layout, color, resize, si"),
        ("[pixels]\nmean = 1", "no key `pixels`"),
        ("mean = [1, 'a']", "`mean` is .*; give a number, or a list with one for each channel"),
        ("mean = []", "`mean` is"),
        ("scale = true", "`scale` is True; give a number"),
        ("scale = '1/0'", "`scale` is '1/0'"),
        ("color = 'grb'", "`color` is 'grb'; give one of rgb, bgr"),
        ("layout = 3", "`layout` is 3; give one of auto, nchw, nhwc"),
        ("resize = 224", "`resize` is 224; give true or false"),
        ("crop = [1, 2, 3]", "`crop` is"),
        ("size = 0", "`size` is 0; give the shorter side"),
        ("size = true", "`size` is True"),
        ("mean = 1 = 2", "is no TOML"),
    ],
)
def test_what_a_file_cannot_hold(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        read(text, tmp_path)
    assert str(caught.value).startswith("--preprocess")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="No such file"):
        read_preprocess(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="is no TOML"):
        read_preprocess(tmp_path / "bytes.toml")


def test_options_beat_the_file() -> None:
    file = Pixels(mean=(1.0,), std=(2.0,), color="bgr")
    assert file.changed({"mean": (3.0,), "resize": True}) == Pixels(
        mean=(3.0,), std=(2.0,), color="bgr", resize=True
    )


@pytest.mark.parametrize(
    ("have", "pixels", "expected"),
    [
        ((40, 20), Pixels(), (20, 40)),
        ((40, 20), Pixels(size=(8, 6)), (8, 6)),
        ((40, 20), Pixels(size=(8,)), (8, 8)),
        ((40, 20), Pixels(crop=(10,)), (10, 10)),
        ((40, 20), Pixels(size=(10,), crop=(10, 12)), (10, 12)),
        ((41, 23), Pixels(resize=True, crop=(16,)), (16, 16)),
        ((10, 11), Pixels(resize=True, crop=(16, 30)), (16, 30)),
        ((300, 200), Pixels(size=(256,), crop=(256, 384)), (256, 384)),
    ],
)
def test_sizes(have: tuple[int, int], pixels: Pixels, expected: Any, tmp_path: Path) -> None:
    Image.new("RGB", have, (51, 102, 0)).save(tmp_path / "p.png")
    found = read_inputs([f"image={tmp_path / 'p.png'}"], [FREE], pixels)["image"]
    assert found.shape == (1, 3, *expected)
    np.testing.assert_allclose(found[0, :, 0, 0], [0.2, 0.4, 0.0], atol=1e-6)


def test_the_middle_is_cut_out(tmp_path: Path) -> None:
    pixels = np.arange(6 * 10 * 3, dtype=np.uint8).reshape(6, 10, 3)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    found = read_inputs([f"{tmp_path / 'p.png'}"], [FREE], Pixels(scale=1, crop=(2, 4)))["image"]
    np.testing.assert_array_equal(found[0], pixels[2:4, 3:7].transpose(2, 0, 1))


def test_resizing_in_proportion_keeps_the_proportion(tmp_path: Path) -> None:
    """A wide picture, white on its left half: after the cut the edge is still in the middle."""
    wide = np.zeros((20, 80, 3), np.uint8)
    wide[:, :40] = 255
    Image.fromarray(wide).save(tmp_path / "p.png")
    spec = [f"{tmp_path / 'p.png'}"]
    found = read_inputs(spec, [FIXED], Pixels(size=(10,), crop=(8,)))["image"][0, 0]
    np.testing.assert_allclose(found[:, [0, 2, 5, 7]], [[1, 1, 0, 0]] * 8, atol=1e-6)
    squeezed = read_inputs(spec, [FIXED], Pixels(resize=True))["image"][0, 0]
    np.testing.assert_allclose(squeezed[:, [0, 7]], [[1, 0]] * 8, atol=1e-6)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (Pixels(crop=(30,)), r"40 x 20 pixels, 30 x 30 .* cannot be cut out of it; --resize fits"),
        (Pixels(crop=(9,)), r"is 9 x 9 pixels, the input takes 8 x 8 .*; change size or crop"),
        (Pixels(size=(8, 9)), r"is 9 x 8 pixels, the input takes 8 x 8"),
    ],
)
def test_sizes_that_do_not_fit(pixels: Pixels, words: str, tmp_path: Path) -> None:
    Image.new("RGB", (40, 20)).save(tmp_path / "p.png")
    with pytest.raises(InputError, match=words):
        read_inputs([f"image={tmp_path / 'p.png'}"], [FIXED], pixels)


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name, level in (("b.png", 102), ("a.JPG", 51), ("c.png", 153)):
        Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / name, quality=100)
    (tmp_path / "notes.txt").write_text("no picture")
    found = read_inputs([f"image={tmp_path}"], [FIXED], Pixels())["image"]
    np.testing.assert_allclose(found[:, 0, 0, 0], [0.2, 0.4, 0.6], atol=0.01)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="is a directory without pictures"):
        read_inputs([f"image={empty}"], [FIXED], Pixels())


def test_what_is_no_data_is_left_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3, 4, 4), np.float32))
    ports = [FREE, Port("seed", "float32", ("N", 3, None, None))]
    specs = [f"{name}={tmp_path / 'x.npy'}" for name in ("image", "seed")]
    found = read_inputs(specs, ports, Pixels(mean=(3,)), plain={"seed"})
    assert found["image"].max() == -2
    assert found["seed"].max() == 1
    assert list(read_inputs([f"{tmp_path / 'x.npy'}"], ports, Pixels(), plain={"seed"})) == [
        "image"
    ]


# ---- undone again -----------------------------------------------------------------------

SHOWN = (
    ("as it is", Pixels(scale=1 / 255), 3),
    ("mean and std", Pixels(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1)), 3),
    ("bgr, 0..255", Pixels(scale=1, mean=(104, 117, 123), color="bgr"), 3),
    ("one number", Pixels(scale=1 / 127.5, mean=(1,)), 3),
    ("grey", Pixels(mean=(0.1307,), std=(0.3081,)), 1),
)


@pytest.mark.parametrize(("pixels", "channels"), [s[1:] for s in SHOWN], ids=[s[0] for s in SHOWN])
@pytest.mark.parametrize("last", [False, True])
def test_a_picture_is_shown_as_it_was(
    pixels: Pixels, channels: int, last: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    """What is read from a file and shown again is the file."""
    stored = rng.integers(0, 256, (7, 9, channels), dtype=np.uint8)
    Image.fromarray(stored if channels == 3 else stored[..., 0]).save(tmp_path / "p.png")
    shape = ("N", 7, 9, channels) if last else ("N", channels, 7, 9)
    found = read_inputs([f"{tmp_path / 'p.png'}"], [Port("x", "float32", shape)], pixels)["x"]
    shown = canvas.picture(found[0], pixels, 2 if last else 0)
    expected = stored / 255 if channels == 3 else stored[..., 0] / 255
    np.testing.assert_allclose(shown, expected, atol=1e-5)
    assert canvas.channel_axis(found.shape) == (3 if last else 1)


@pytest.mark.parametrize(("channels", "shape"), [(1, (5, 6)), (2, (5, 6)), (3, (5, 6, 3)),
                                                 (12, (5, 6, 3))])  # fmt: skip
def test_any_number_of_channels_is_shown(
    channels: int, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    one = canvas.picture(rng.standard_normal((channels, 5, 6)) * 1e4, Pixels(), 0)
    assert one.shape == shape
    assert (one.min(), one.max()) == (0, 1)
    assert np.isfinite(canvas.picture(np.ones((channels, 5, 6)), Pixels(), 0)).all()
