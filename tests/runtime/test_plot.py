"""Pictures of a run: made of what was run, and only where they can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rfponnx.errors import InputError, OptionError, OutputError
from rfponnx.runtime import plot
from rfponnx.runtime.session import Session
from tests.runtime import nets

Rng = np.random.Generator

#: Shape of the input, sources: with pictures, without, one sample, many sources, one position.
PIXELWISE = ((2, 3, 8, 8), (9, 3, 5, 30), (1, 3, 40, 4))


@pytest.mark.parametrize("shape", PIXELWISE, ids=str)
def test_a_segmenter_is_drawn_as_maps(shape: tuple[int, ...], tmp_path: Path, rng: Rng) -> None:
    session = Session(nets.converted(nets.PIXELS, sources={"a": "image[:,0]", "b": "image[:,1]"}))
    feeds = {"image": rng.standard_normal(shape).astype(np.float32)}
    path = tmp_path / "maps.png"
    plot.plot_results(path, session.run(feeds), feeds)
    with Image.open(path) as picture:
        assert picture.width > 500
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 20


@pytest.mark.parametrize("samples", [1, 3, 20])
def test_a_classifier_is_drawn_as_bars(samples: int, tmp_path: Path, rng: Rng) -> None:
    session = Session(nets.converted(nets.DENSE, sources={"a": "x[:,0]", "b": "x[:,1]"}))
    feeds = {"x": rng.standard_normal((samples, 2)).astype(np.float32)}
    results = session.run(feeds)
    figure = plot.bars(results.view(), results.parts(), results.sources, feeds)
    assert len(figure.axes) == min(samples, 8)
    lengths = [p.get_width() for p in figure.axes[0].patches]
    np.testing.assert_allclose(lengths, results.parts()[0].contributions)
    for kind in ("png", "pdf", "svg"):
        plot.plot_results(tmp_path / f"bars.{kind}", results, feeds)
        assert (tmp_path / f"bars.{kind}").stat().st_size > 1000


def test_maps_have_one_scale_centred_at_zero(rng: Rng) -> None:
    session = Session(nets.converted(nets.PIXELS, sources={"a": "image[:,0]", "b": "image[:,1:3]"}))
    feeds = {"image": rng.standard_normal((2, 3, 8, 8)).astype(np.float32)}
    results = session.run(feeds)
    figure = plot.maps(results.view(), results.sources, feeds)
    images = [i for axes in figure.axes for i in axes.get_images()]
    shown = [i for i in images if i.get_cmap().name == plot.DIVERGING]
    assert len(shown) == 2 * 3
    limits = {i.get_clim() for i in shown}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high
    np.testing.assert_array_equal(shown[0].get_array(), results.view().maps[0, 0])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((2, 3, 5), (2, 3, 1, 5)), ((2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3, 9, 4, 5), (2, 3, 4, 5))],
)
def test_positions_become_a_plane(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert plot.flat(np.zeros(shape), 2).shape == expected


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((2, 3, 8, 9), np.float32), (8, 9, 3)),
        (np.zeros((2, 12, 8, 9), np.float32), (8, 9, 3)),
        (np.zeros((2, 8, 9, 3), np.float32), (8, 9, 3)),
        (np.zeros((2, 1, 8, 9), np.uint8), (8, 9)),
        (np.zeros((2, 8, 9), np.float32), (8, 9)),
        (np.zeros((2, 5), np.float32), None),
        (np.zeros((1, 3, 8, 9), np.float32), None),
        (np.zeros((2, 3, 8, 9), np.int64), None),
        (np.zeros((2, 3, 2, 9), np.float32), None),
    ],
)
def test_what_looks_like_a_picture_is_shown(array: Any, expected: Any) -> None:
    found = plot.shown({"x": array}, 1, 2)
    assert [picture.shape for _, picture in found] == ([expected] if expected else [])


def test_what_cannot_be_drawn(tmp_path: Path, rng: Rng) -> None:
    feeds = {"x": rng.standard_normal((1, 2)).astype(np.float32)}
    plain = Session(nets.model(nets.DENSE)).run(feeds)
    with pytest.raises(InputError, match="is not converted"):
        plot.plot_results(tmp_path / "a.png", plain, feeds)
    with pytest.raises(OptionError, match=r"`a.txt` is no picture; use \.png, \.pdf, \.svg"):
        plot.check_plot(tmp_path / "a.txt", force=False)
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(OutputError, match="the file exists"):
        plot.check_plot(tmp_path / "a.png", force=False)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
