"""`rfponnx run`: what goes in, what is shown, what is written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rfponnx.runtime.session import Session
from tests.cli.conftest import Call
from tests.runtime import nets

NUMBER = r"[+-]?\d[\d.e+-]*"


def test_a_classifier(converted: Path, call: Call) -> None:
    done = call("run", "dense.rfp.onnx", "--input", "x=x.npy")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "chances (explained at scores)"
    assert lines[1].split() == [
        "sample",
        "class",
        "prob.",
        "source",
        "gives",
        "share",
        "-",
        "0",
        "+",
    ]
    results = Session("dense.rfp.onnx").run({"x": np.load("x.npy")})
    for part in results.parts():
        start = next(i for i, s in enumerate(lines) if s.split()[:1] == [str(part.sample)])
        for row, line in enumerate(lines[start : start + 3]):
            name = results.sources[row]
            found = re.search(rf"{name} +({NUMBER}) +({NUMBER}) %", line)
            assert found, line
            assert float(found[1]) == pytest.approx(part.contributions[row], abs=5e-4, rel=1e-3)
            assert float(found[2]) == pytest.approx(100 * part.shares[row], abs=0.051)
    assert lines[-1].startswith("mean share over 4 samples: a ")
    assert max(map(len, lines)) <= 80


def test_the_same_as_json(converted: Path, call: Call) -> None:
    done = call("run", "dense.rfp.onnx", "--input", "x=x.npy", "--json")
    assert done.err == ""
    found = done.json
    assert found["sources"] == ["a", "b", "bias"]
    (one,) = found["explained"]
    assert (one["output"], one["tensor"], one["class_axis"]) == ("chances", "scores", 1)
    assert [p["sample"] for p in one["predictions"]] == [0, 1, 2, 3]
    for p in one["predictions"]:
        assert sum(p["contributions"].values()) == pytest.approx(p["value"], rel=1e-5)
        assert 0 < p["probability"] <= 1
    assert sum(one["mean_shares"].values()) == pytest.approx(1)
    assert found["outputs"]["chances"] == {"shape": [4, 3], "dtype": "float32"}


def test_a_segmenter(converted: Path, call: Call, rng: np.random.Generator) -> None:
    np.save("image.npy", rng.standard_normal((2, 3, 6, 7)).astype(np.float32))
    done = call("run", "pixels.rfp.onnx", "--input", "image=image.npy", "--json")
    (one,) = done.json["explained"]
    for sample in (0, 1):
        areas = [p["fraction"] for p in one["predictions"] if p["sample"] == sample]
        assert sum(areas) == pytest.approx(1)
    shown = call("run", "pixels.rfp.onnx", "--input", "image=image.npy")
    assert "area" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80


def test_all_outputs_are_written(converted: Path, call: Call) -> None:
    done = call("run", "dense.rfp.onnx", "--input", "x.npz", "-o", "out.npz")
    assert done.code == 0
    assert done.err == "written: out.npz\n"
    expected = Session("dense.rfp.onnx").run({"x": np.load("x.npy")})
    with np.load("out.npz") as found:
        assert set(found.files) == {"chances", "chances_explained", "chances_relevance"}
        for name in found.files:
            assert np.array_equal(found[name], expected[name])
    again = call("run", "dense.rfp.onnx", "--input", "x.npz", "-o", "out.npz", "--force", "--json")
    assert again.json["written"] == ["out.npz"]


def test_random_inputs_repeat(converted: Path, call: Call) -> None:
    words = ["run", "pixels.rfp.onnx", "--random", "3", "--batch", "2", "--json"]
    one, two = call(*words), call(*words)
    assert one.out == two.out
    assert one.json["outputs"]["scores"]["shape"][:2] == [2, 3]
    other = call("run", "pixels.rfp.onnx", "--random", "4", "--batch", "2", "--json")
    assert other.json["explained"] != one.json["explained"]


@pytest.mark.parametrize(
    "more", [["--batch", "1"], ["--batch", "3"], ["--memory", "0.01"]], ids=str
)
def test_pieces_change_nothing(more: list[str], converted: Path, call: Call) -> None:
    call("run", "dense.rfp.onnx", "--input", "x=x.npy", "-o", "whole.npz")
    done = call("run", "dense.rfp.onnx", "--input", "x=x.npy", "-o", "pieces.npz", *more)
    assert done.code == 0
    with np.load("whole.npz") as whole, np.load("pieces.npz") as pieces:
        for name in whole.files:
            np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-6)


def test_what_is_not_given_is_drawn(here: Path, call: Call) -> None:
    done = call("run", "pair.onnx", "--input", "a=x.npy", "--random", "0", "--json")
    assert done.json["outputs"]["y"]["shape"] == [4, 2]


def test_an_original_says_so(here: Path, call: Call) -> None:
    done = call("run", "dense.onnx", "--input", "x=x.npy", "-o", "out.npz")
    assert done.code == 0
    assert "chances  float32  [4, 3]" in re.sub(" {2,}", "  ", done.out)
    assert "is not converted: `rfponnx convert dense.onnx`" in done.err
    report = call("run", "dense.onnx", "--input", "x=x.npy", "--json").json
    assert report["converted"] is False


def test_many_samples_are_cut_unless_asked(converted: Path, call: Call) -> None:
    few = call("run", "dense.rfp.onnx", "--random", "0", "--batch", "20")
    assert "12 more samples; -v shows them" in few.err
    assert "over 20 samples" in few.out
    every = call("run", "dense.rfp.onnx", "--random", "0", "--batch", "20", "-v")
    assert every.err == ""
    assert len(every.out.splitlines()) > len(few.out.splitlines()) + 12 * 3
    quiet = call("run", "dense.rfp.onnx", "--random", "0", "--batch", "20", "-q")
    assert (quiet.out, quiet.err) == (few.out, "")


def test_pictures_and_numbers_are_prepared(converted: Path, call: Call) -> None:
    pixels = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
    Image.fromarray(pixels).save("photo.png")
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([2, 3, 4])
    done = call("run", "pixels.rfp.onnx", "--input", "image=photo.png", "--mean", "0.1,0.2,0.3",
                "--std", "2,3,4", "--color", "bgr", "-o", "out.npz")  # fmt: skip
    assert done.code == 0, done.err
    x = (pixels[..., ::-1] / 255 - mean) / std
    expected = np.maximum(x.transpose(2, 0, 1), 0) + 0.5
    with np.load("out.npz") as found:
        np.testing.assert_allclose(found["scores"][0], expected, rtol=1e-5)
    wrong = call("run", "pixels.rfp.onnx", "--input", "image=photo.png", "--image-layout", "nhwc")
    assert wrong.code == 2
    np.save("bytes.npy", np.array([[0, 255]], np.uint8))
    done = call("run", "dense.rfp.onnx", "--input", "x=bytes.npy", "--scale", "1/255", "--json")
    assert done.code == 0
    assert call("run", "dense.rfp.onnx", "--input", "x=bytes.npy").code == 2


def test_resize(converted: Path, call: Call) -> None:
    nets.save(nets.LAST, converted / "last.onnx")
    Image.new("RGB", (20, 10), (10, 20, 30)).save("photo.png")
    assert call("run", "last.onnx", "--input", "image=photo.png").code == 2
    done = call("run", "last.onnx", "--input", "image=photo.png", "--resize", "--json")
    assert done.json["outputs"]["y"]["shape"] == [1, 4, 6, 3]


@pytest.mark.parametrize("model", ["dense", "pixels"])
def test_a_plot_is_drawn(model: str, converted: Path, call: Call) -> None:
    words = ["run", f"{model}.rfp.onnx", "--random", "0", "--batch", "2", "--plot", "p.png"]
    done = call(*words)
    assert done.code == 0, done.err
    assert done.err == "written: p.png\n"
    with Image.open("p.png") as picture:
        assert min(picture.size) > 100
    assert call(*words).code == 2
    assert call(*words, "--force", "--threads", "1", "--provider", "cpu").code == 0


def test_masks_given_at_run_time(here: Path, call: Call) -> None:
    assert call("convert", "dense.onnx", "--source-masks", "x", "-q").code == 0
    np.save("masks.npy", np.array([[[1, 0]], [[0, 0.5]], [[0, 0.25]]], np.float32))
    done = call("run", "dense.rfp.onnx", "--input", "x=x.npy", "--input", "x_masks=masks.npy",
                "--json")  # fmt: skip
    assert done.json["sources"] == ["mask 0", "mask 1", "mask 2", "bias"]
    drawn = call("run", "dense.rfp.onnx", "--random", "0")
    assert drawn.code == 0
    assert "mask 1" in drawn.out


def test_what_is_not_finite_is_said(converted: Path, call: Call) -> None:
    np.save("large.npy", np.full((1, 3, 2, 2), 3e38, np.float32))
    nets.save(nets.DOUBLED, converted / "doubled.onnx")
    done = call("run", "doubled.onnx", "--input", "image=large.npy")
    assert done.code == 0
    assert "warning: `y` holds NaN or infinity" in done.err
    report = call("run", "doubled.onnx", "--input", "image=large.npy", "--json")
    assert report.json["not_finite"] == ["y"]


def test_real_digits(fixtures: Path, tmp_path: Path, call: Call) -> None:
    """The trained network is right about real digits, and each half does its part."""
    model = tmp_path / "ms.onnx"
    assert call("convert", fixtures / "ms_basic_relu_ts.onnx", "-o", model, "-q").code == 0
    done = call(
        "run", model, "--input", fixtures / "mnist_digits.npz", "--scale", "1/255", "--json"
    )
    (one,) = done.json["explained"]
    with np.load(fixtures / "mnist_digits.npz") as digits:
        label = digits["label"]
    predicted = np.array([p["class"] for p in one["predictions"]])
    assert (predicted == label).mean() > 0.97
    assert min(one["mean_shares"]["left"], one["mean_shares"]["right"]) > 0.3


@pytest.mark.slow
def test_the_net_with_label_noise_leans_less_on_the_left(
    fixtures: Path, tmp_path: Path, call: Call
) -> None:
    share = {}
    for name in ("basic", "labelnoise"):
        model = tmp_path / f"{name}.onnx"
        original = fixtures / f"ms_{name}_relu_ts.onnx"
        assert call("convert", original, "-o", model, "-q").code == 0
        done = call("run", model, "--input", fixtures / "mnist_digits.npz", "--scale", "1/255",
                    "--json")  # fmt: skip
        share[name] = done.json["explained"][0]["mean_shares"]["left"]
    assert share["labelnoise"] < share["basic"] - 0.05


def test_real_scenes(fixtures: Path, tmp_path: Path, call: Call) -> None:
    model = tmp_path / "seg.onnx"
    done = call("convert", fixtures / "seg_unet_ts.onnx", "-o", model, "-q", "--source",
                "optical=image[:,0:3]", "--source", "sar=image[:,3:4]")  # fmt: skip
    assert done.code == 0, done.err
    done = call("run", model, "--input", fixtures / "scenes_clouded.npz", "--scale", "1/170",
                "-o", tmp_path / "seg.npz", "--plot", tmp_path / "seg.png")  # fmt: skip
    assert done.code == 0, done.err
    with np.load(tmp_path / "seg.npz") as found, np.load(fixtures / "scenes_clouded.npz") as data:
        right = (found["logits"].argmax(1) == data["label"]).mean()
        rows = found["logits_relevance"]
    assert right > 0.95
    assert rows.shape == (3, 12, 4, 64, 64)
