"""Pictures of backward runs: the right numbers on one scale, whatever the inputs look like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rfponnx.errors import InputError
from rfponnx.runtime import plot
from rfponnx.runtime.canvas import DIVERGING, axis_scale, color_scale
from rfponnx.runtime.heatmaps import ACROSS, heatmaps
from rfponnx.runtime.owned import owned
from rfponnx.runtime.preprocess import Pixels
from rfponnx.runtime.session import Results, Session
from rfponnx.runtime.sketch import series
from tests.runtime import nets
from tests.runtime.backward import Linear, described, metadata

Rng = np.random.Generator
Feeds = dict[str, Any]


def ran(net: Linear, rng: Rng, samples: int = 3, **more: Any) -> tuple[Results, Feeds]:
    """A run on random inputs; `more` replaces metadata."""
    feeds = {
        n: rng.standard_normal((samples, *shape)).astype(np.float32)
        for n, shape in net.inputs.items()
    }
    model = net.model()
    return Session(described(model, **metadata(model) | more)).run(feeds), feeds


def drawn(figure: Any) -> list[Any]:
    """The maps of a figure in the order of their panels."""
    images = [i for axes in figure.axes for i in axes.get_images()]
    return [i for i in images if i.get_cmap().name == DIVERGING]


def words(figure: Any) -> str:
    titles = [axes.get_title() for axes in figure.axes]
    labels = [axes.get_ylabel() for axes in figure.axes]
    return " | ".join([figure.get_suptitle(), *titles, *labels, " ".join(caption(figure).split())])


def caption(figure: Any) -> str:
    return str(figure.get_supxlabel())


def test_maps_are_sums_over_channels_on_one_scale(rng: Rng) -> None:
    net = Linear({"image": (3, 8, 9)}, targets=("top1", "top2"))
    results, feeds = ran(net, rng)
    figure = heatmaps([results], feeds, Pixels())
    maps = drawn(figure)
    expected = net.relevance(feeds, "image").sum(axis=2)
    for n in range(3):
        for t in range(2):
            np.testing.assert_allclose(maps[2 * n + t].get_array(), expected[t, n], atol=1e-4)
    limit = np.quantile(np.abs(expected), 0.995)
    for image in maps:
        np.testing.assert_allclose(image.get_clim(), (-limit, limit), rtol=1e-4)
    chosen = net.chosen(feeds)
    text = words(figure)
    for n in range(3):
        assert f"sample {n}\nclass {chosen[0, n]}" in text
    assert f"top1: class {chosen[0, 0]} | top2: class {chosen[1, 0]}" in text
    assert "99.5th percentile of |R|" in text


@pytest.mark.parametrize("last", [False, True])
def test_the_layout_of_channels_is_seen(last: bool, rng: Rng) -> None:
    net = Linear({"image": (8, 9, 3) if last else (3, 8, 9)})
    results, feeds = ran(net, rng)
    (image, *_) = drawn(heatmaps([results], feeds, Pixels()))
    expected = net.relevance(feeds, "image")[0, 0].sum(axis=-1 if last else 0)
    np.testing.assert_allclose(image.get_array(), expected, atol=1e-4)


def test_several_files_are_divided_by_their_own_percentiles(rng: Rng) -> None:
    one = Linear({"a": (1, 8, 8), "b": (2, 8, 8)}, method="first")
    large = Linear(
        one.inputs, weights={n: 100 * w for n, w in one.weights.items()}, method="second",
        bias=100 * one.bias,
    )  # fmt: skip
    first, feeds = ran(one, rng)
    second = Session(large.model()).run(feeds)
    figure = heatmaps([first, second], feeds, Pixels())
    maps = [np.asarray(i.get_array()) for i in drawn(figure)]
    assert len(maps) == 3 * 4
    for n in range(3):
        a_first, a_second, b_first, b_second = maps[4 * n : 4 * n + 4]
        np.testing.assert_allclose(a_first, a_second, atol=1e-6)
        np.testing.assert_allclose(b_first, b_second, atol=1e-6)
        sizes = np.abs(np.concatenate([a_first, b_first])).ravel()
        assert np.quantile(sizes, 0.995) == pytest.approx(1)
    text = words(figure)
    assert "by 2 methods" in text
    assert "each is divided by its own 99.5th percentile of |R|" in text
    assert "first | second" in text
    assert {i.get_clim() for i in drawn(figure)} == {(-1, 1)}


def test_one_sample_goes_on_in_the_next_line(rng: Rng) -> None:
    net = Linear({"image": (1, 8, 8)})
    results, feeds = ran(net, rng, 1)
    count = ACROSS + 2
    figure = heatmaps([results] * count, feeds, Pixels())
    maps = drawn(figure)
    assert len(maps) == count
    places = {tuple(i.axes.get_subplotspec().rowspan) for i in maps}
    assert places == {(0,), (1,)}
    several, feeds = ran(net, rng, 2)
    lines = {i.axes.get_subplotspec().rowspan.start
             for i in drawn(heatmaps([several] * count, feeds, Pixels()))}  # fmt: skip
    assert len(lines) == 2  # one for each sample


def test_files_of_one_method_are_told_apart_by_their_names(tmp_path: Path, rng: Rng) -> None:
    net = Linear({"image": (1, 8, 8)})
    runs = []
    for name in ("eps", "gamma"):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(net.model().SerializeToString())
        feeds = {"image": rng.standard_normal((1, 1, 8, 8)).astype(np.float32)}
        runs.append(Session(path).run(feeds))
    assert "eps | gamma" in words(heatmaps(runs, feeds, Pixels()))


def test_each_source_gets_a_map_of_its_own(rng: Rng) -> None:
    net = Linear({"image": (4, 8, 8)})
    sources = {"sources": ["optical=image[:,0:3]", "sar='image'[:,3:4]"],
               "source_names": ["optical", "sar"]}  # fmt: skip
    results, feeds = ran(net, rng, **sources)
    figure = heatmaps([results], feeds, Pixels())
    maps = [np.asarray(i.get_array()) for i in drawn(figure)]
    r = net.relevance(feeds, "image")[0]
    for n in range(3):
        whole, optical, sar = maps[3 * n : 3 * n + 3]
        np.testing.assert_allclose(whole, r[n].sum(0), atol=1e-4)
        np.testing.assert_allclose(optical, r[n, :3].sum(0), atol=1e-4)
        np.testing.assert_allclose(sar, r[n, 3], atol=1e-4)
    assert "source `optical` | source `sar`" in words(figure)


@pytest.mark.parametrize(
    ("specs", "feeds", "expected"),
    [
        (["a=x"], {}, {}),
        (["a=x", "b=y"], {}, {}),
        (["a=x[:,0]+y", "b=x[:,1:]"], {}, {"a": [1, 0, 0], "b": [0, 1, 1]}),
        (["a=\"x\"[:,0:2:2]+'x'[:,2]"], {}, {"a": [1, 0, 1]}),
        (["a=x@mask", "b=x[:,2:3]"], {"a_mask": np.array([[0.5, 1, 0]])},
         {"a": [0.5, 1, 0], "b": [0, 0, 1]}),
        (["a=xx[:,0]", "b=x.x[:,1:]"], {}, {}),
    ],
)  # fmt: skip
def test_entries_of_sources(
    specs: list[str], feeds: Mapping[str, Any], expected: dict[str, Any], rng: Rng
) -> None:
    names = [s.partition("=")[0] for s in specs]
    results, _ = ran(Linear(), rng, sources=specs, source_names=names)
    found = dict(owned(results, "x", (1, 3), feeds))
    assert {n: m.ravel().tolist() for n, m in found.items()} == expected


FORMS: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "picture": ({"x": (3, 9, 9)}, {}),
    "many bands": ({"x": (12, 9, 9)}, {}),
    "two bands": ({"x": (2, 9, 9)}, {}),
    "wide": ({"x": (1, 4, 90)}, {}),
    "thin": ({"x": (1, 90, 3)}, {}),
    "volume": ({"x": (2, 5, 9, 9)}, {}),
    "series": ({"x": (1, 60)}, {}),
    "channels of a series": ({"x": (60, 4)}, {}),
    "many channels": ({"x": (20, 30)}, {}),
    "table": ({"x": (7,)}, {}),
    "wide table": ({"x": (70,)}, {}),
    "one number": ({"x": (1,)}, {}),
    "all kinds": ({"x": (3, 9, 9), "y": (40, 2), "z": (5,)}, {"targets": ("top1", "top2")}),
    "a channel read-out": ({"x": (3, 9, 9)}, {"readout": "channels"}),
    "sources": ({"x": (6,)}, {"readout": "sources", "sources": {"a": np.eye(6)[0]},
                              "specs": ("a=x[:,0]",)}),
    "sources, top": ({"x": (6,)}, {"readout": "sources", "sources": {"a": np.eye(6)[0]},
                                   "specs": ("a=x[:,0]",), "targets": ("top1", "top2")}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("samples", [1, 3])
def test_every_form_of_input_is_drawn(
    form: tuple[Any, Any], samples: int, tmp_path: Path, rng: Rng
) -> None:
    results, feeds = ran(Linear(form[0], **form[1]), rng, samples)
    path = tmp_path / "p.png"
    plot.plot_results(path, results, feeds)
    with Image.open(path) as picture:
        assert min(picture.size) > 150
        assert max(picture.size) < 4000
    plot.plot_results(path, [results, results], feeds, force=True)


def test_bars_of_a_table_are_its_relevance(rng: Rng) -> None:
    net = Linear({"x": (5,)})
    results, feeds = ran(net, rng)
    figure = heatmaps([results], feeds, Pixels())
    for n in range(3):
        axes = figure.axes[n]
        lengths = [p.get_width() for p in axes.patches]
        np.testing.assert_allclose(lengths, net.relevance(feeds, "x")[0, n], atol=1e-5)
        names = [t.get_text() for t in axes.get_yticklabels()]
        assert names[0] == f"x[0] = {feeds['x'][n, 0]:.3g}"
        assert axes.get_xlim() == figure.axes[0].get_xlim()
        assert axes.get_xlim()[1] > max(np.abs(lengths))


def test_names_of_features_stand_once_in_a_row(rng: Rng) -> None:
    results, feeds = ran(Linear({"x": (5,), "y": (2,)}, targets=("top1", "top2")), rng, 1)
    figure = heatmaps([results], feeds, Pixels())
    names = [[t.get_text() for t in axes.get_yticklabels()] for axes in figure.axes]
    assert [any(n) for n in names] == [True, False, True, False]
    assert "of `x`" in figure.axes[0].get_title()
    assert "of `y`" in figure.axes[3].get_title()


def test_a_segmenter_shows_its_prediction(rng: Rng) -> None:
    text = """
    pixels (float[N, 3, H, W] image) => (float[N, 3, H, W] scores, float[N, 3, H, W] r) {
      scores = Relu(image)
      r = Identity(scores)
    }
    """
    one = {"tensor": "image", "kind": "input", "several": False, "targets": ["argmax"],
           "readout": "all"}  # fmt: skip
    model = described(
        nets.model(text), relevances={"r": one}, inputs=["image"], outputs=["scores"],
        explained={"scores": {"tensor": "scores", "class_axis": 1, "output": "scores"}},
    )  # fmt: skip
    image = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    figure = heatmaps([Session(model).run({"image": image})], {"image": image}, Pixels())
    panels = [axes for axes in figure.axes if axes.get_images()]
    assert len(panels) >= 6
    winner = np.maximum(image, 0).argmax(1)
    np.testing.assert_array_equal(panels[1].get_images()[0].get_array(), winner[0])
    share = np.bincount(winner[0].ravel()).max() / 64
    assert f"{100 * share:.0f} % class" in words(figure)
    assert [t.get_text() for t in panels[4].get_legend().get_texts()] == [
        f"class {i}" for i in np.unique(winner)
    ]


def test_more_samples_than_fit_are_said(rng: Rng) -> None:
    results, feeds = ran(Linear({"image": (1, 8, 8)}), rng, 20)
    assert "the first 6 of 20 samples" in words(heatmaps([results], feeds, Pixels()))


def test_relevance_of_nothing_has_a_scale() -> None:
    assert color_scale([np.zeros((2, 3))]) == 1.0
    assert color_scale([np.array([0.0] * 999 + [2.0])]) == 2.0
    assert axis_scale([np.zeros((2, 3)), np.array([-3.0])]) == 3.0
    assert axis_scale([]) == 1.0
    assert color_scale([np.array([np.nan, np.inf])]) == axis_scale([np.full(2, np.nan)]) == 1.0
    assert color_scale([np.array([np.nan, -2.0])]) == axis_scale([np.array([np.inf, 2])]) == 2.0


def test_what_is_no_number_does_not_keep_the_rest_from_being_drawn(
    tmp_path: Path, rng: Rng
) -> None:
    net = Linear({"image": (1, 8, 8), "table": (3,)})
    results, feeds = ran(net, rng, 2)
    for name in net.inputs:
        results.relevance(name)[0, 0] = np.nan
    plot.plot_results(tmp_path / "p.png", results, feeds)


def test_time_is_the_longer_axis() -> None:
    assert series(np.zeros((2, 9))).shape == (2, 1, 9)
    assert series(np.zeros((2, 3, 9))).shape == series(np.zeros((2, 9, 3))).shape == (2, 3, 9)


def test_forward_files_stand_alone(tmp_path: Path, rng: Rng) -> None:
    results, feeds = ran(Linear({"x": (2,)}), rng)
    forward = Session(nets.converted(nets.DENSE)).run(feeds)
    with pytest.raises(InputError, match="only backward files are drawn side by side"):
        plot.plot_results(tmp_path / "p.png", [results, forward], feeds)
    only = Linear()
    model = only.model()
    data = metadata(model)
    data["relevances"].pop("x_relevance")
    x = {"x": rng.standard_normal((2, 4)).astype(np.float32)}
    with pytest.raises(InputError, match="holds no relevance that can be drawn"):
        plot.plot_results(tmp_path / "p.png", Session(described(model, **data)).run(x), x)
