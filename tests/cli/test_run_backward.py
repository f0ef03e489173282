"""`rfponnx run` on backward files: accounts, preprocessing, several files side by side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.cli.conftest import Call
from tests.runtime.backward import Linear, described, metadata

NUMBER = r"[+-]?\d[\d.e+-]*"


def back(net: Linear, path: str, **more: Any) -> Linear:
    model = net.model()
    onnx.save(described(model, **metadata(model) | more), path)
    return net


def pictures(samples: int = 3) -> Any:
    """Random pictures of three channels, stored in 8 bits."""
    return np.random.default_rng(1).integers(0, 256, (samples, 3, 8, 8), dtype=np.uint8)


def test_where_the_relevance_went(here: Path, call: Call) -> None:
    net = back(Linear({"x": (2,)}, softmax=True, leak=0.25), "back.onnx")
    done = call("run", "back.onnx", "--input", "x=x.npy")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "chances (lrp, explained at logits)"
    heads = ["sample", "class", "prob.", "target", "part", "relevance", "-", "0", "+"]
    assert lines[1].split() == heads
    x = {"x": np.load("x.npy")}
    logits = net.logits(x)
    for n, k in enumerate(logits.argmax(1)):
        start = next(i for i, s in enumerate(lines) if s.split()[:1] == [str(n)])
        chance = np.exp(logits[n, k]) / np.exp(logits[n]).sum()
        words = lines[start].split()
        assert words[1] == str(k)
        assert float(words[2]) == pytest.approx(chance, abs=1e-3)
        assert words[3:5] == ["argmax:", str(k)]
        bias = float(net.bias[k])
        parts = {"x": logits[n, k] - bias, "bias": 0.75 * bias, "leak": 0.25 * bias,
                 "sum": logits[n, k]}  # fmt: skip
        for row, (name, value) in enumerate(parts.items()):
            found = re.search(rf"{name} +({NUMBER})", lines[start + row])
            assert found, lines[start + row]
            assert float(found[1]) == pytest.approx(value, rel=2e-3, abs=1e-6)
        assert "seed" in lines[start + 3]
    assert re.search(r"sum to the seed: off by \d\.?\d?e-0[789] at most$", lines[-1])


def test_the_account_as_json(here: Path, call: Call) -> None:
    net = back(Linear({"x": (2,)}, targets=("top1", "top2")), "back.onnx")
    found = call("run", "back.onnx", "--input", "x=x.npy", "--json").json
    assert (found["direction"], found["method"], found["conserves"]) == ("backward", "lrp", True)
    assert found["targets"] == ["top1", "top2"]
    assert found["adds_up_within"] < 1e-6
    logits = net.logits({"x": np.load("x.npy")})
    order = np.argsort(-logits, axis=1)
    assert [(a["sample"], a["target"]) for a in found["accounts"]] == [
        (n, t) for n in range(4) for t in ("top1", "top2")
    ]
    for a in found["accounts"]:
        k = order[a["sample"], int(a["target"][3:]) - 1]
        assert (a["class"], a["predicted"]) == (k, order[a["sample"], 0])
        assert a["inputs"]["x"] + a["bias"] == pytest.approx(logits[a["sample"], k], rel=1e-4)
        assert a["seed"] == pytest.approx(logits[a["sample"], k], rel=1e-4)


def test_sources_and_what_does_not_add_up(here: Path, call: Call) -> None:
    sources = {"a": np.array([1, 0]), "b": np.array([0, 1])}
    specs = ("a=x[:,0:1]", "b=x[:,1:2]")
    back(Linear({"x": (2,)}, sources=sources, specs=specs, readout="sources"), "source.onnx")
    done = call("run", "source.onnx", "--input", "x=x.npy")
    assert [s.split()[-3] for s in done.out.splitlines()[3:5]] == ["b", "bias"]
    back(Linear({"x": (2,)}, conserves=False, noise=4, method="smoothgrad"), "noise.onnx")
    done = call("run", "noise.onnx", "--input", "x.npy")
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("smoothgrad does not distribute the score")
    assert "sum" not in done.out.splitlines()[1:-1]


def test_the_bias_of_all_samples_is_shown_once(here: Path, call: Call) -> None:
    back(Linear({"x": (2,)}, bias_total=True), "back.onnx")
    done = call("run", "back.onnx", "--input", "x=x.npy")
    leads = [s.split()[0] for s in done.out.splitlines() if "argmax" in s]
    assert leads == ["0", "1", "2", "3", "all"]
    assert sum("bias " in s for s in done.out.splitlines()[:-1]) == 1


def test_target_seed_and_reference_are_inputs(here: Path, call: Call) -> None:
    net = back(Linear({"x": (2,)}, targets=("input",)), "target.onnx")
    done = call("run", "target.onnx", "--input", "x=x.npy")
    assert done.code == 2
    assert "the class to explain is not given" in done.err
    np.save("target.npy", np.array([0, 1, 2, 0]))
    words = ["run", "target.onnx", "--input", "x=x.npy", "--input", "target=target.npy"]
    found = call(*words, "--mean", "0.5", "-o", "out.npz", "--json").json
    assert [a["class"] for a in found["accounts"]] == [0, 1, 2, 0]
    feeds = {"x": (np.load("x.npy") - 0.5).astype(np.float32), "target": np.load("target.npy")}
    with np.load("out.npz") as out:
        assert set(out.files) == {"logits", "x_relevance", "bias_relevance"}
        np.testing.assert_allclose(out["x_relevance"], net.relevance(feeds, "x")[0], rtol=1e-5)
    back(Linear({"x": (2,)}, targets=("seed",)), "seed.onnx")
    np.save("seed.npy", np.full((4, 3), 2, np.float32))
    done = call("run", "seed.onnx", "--input", "x=x.npy", "--input", "seed=seed.npy", "--scale",
                "3", "--json")  # fmt: skip
    assert [a["seed"] for a in done.json["accounts"]] == [6.0] * 4
    for name in ("target", "seed"):
        drawn = call("run", f"{name}.onnx", "--random", "0", "--batch", "3", "--json")
        assert drawn.code == 0, drawn.err
        assert len(drawn.json["accounts"]) == 3
    back(Linear({"x": (2,)}, reference=True, conserves=False), "reference.onnx")
    assert call("run", "reference.onnx", "--random", "0").code == 0


def test_pieces_of_backward_files_change_nothing(here: Path, call: Call) -> None:
    back(Linear({"x": (2,)}, noise=4, targets=("top1", "top2"), conserves=False), "back.onnx")
    for name, more in (("whole", []), ("one", ["--batch", "1"]), ("few", ["--memory", "0.01"])):
        assert call("run", "back.onnx", "--input", "x=x.npy", "-o", f"{name}.npz", *more).code == 0
    with np.load("whole.npz") as whole:
        for name in ("one", "few"):
            with np.load(f"{name}.npz") as pieces:
                for key in whole.files:
                    np.testing.assert_allclose(pieces[key], whole[key], rtol=1e-5, atol=1e-6)


def test_preprocessing_from_a_file(here: Path, call: Call) -> None:
    net = back(Linear({"image": (3, 8, 8)}), "back.onnx")
    (here / "folder").mkdir()
    stored = pictures().transpose(0, 2, 3, 1)
    for n, one in enumerate(stored):
        Image.fromarray(one).save(f"folder/{n}.png")
    (here / "pre.toml").write_text('mean = [0.1, 0.2, 0.3]\nstd = 0.5\ncolor = "bgr"\n')
    words = ["run", "back.onnx", "--input", "image=folder", "--preprocess", "pre.toml"]
    done = call(*words, "--std", "0.25", "-o", "out.npz", "--plot", "p.png")
    assert done.code == 0, done.err
    x = (stored[..., ::-1] / 255 - [0.1, 0.2, 0.3]) / 0.25
    feeds = {"image": x.transpose(0, 3, 1, 2)}
    with np.load("out.npz") as out:
        np.testing.assert_allclose(
            out["image_relevance"], net.relevance(feeds, "image")[0], rtol=1e-4, atol=1e-5
        )
    (here / "pre.toml").write_text("men = 1")
    done = call(*words)
    assert done.code == 2
    assert "no key `men`; did you mean `mean`" in done.err
    many = [w for n in range(3) for w in ("--input", f"image=folder/{n}.png")]
    assert call("run", "back.onnx", *many, "--json").json["outputs"]["logits"]["shape"] == [3, 3]


def test_several_files_side_by_side(here: Path, call: Call) -> None:
    weights = np.random.default_rng(0).standard_normal((3, 3, 8, 8))
    for name, factor in (("one", 1), ("two", 50)):
        net = Linear({"image": (3, 8, 8)}, weights={"image": factor * weights}, method=name)
        back(net, f"{name}.onnx")
    np.save("image.npy", pictures())
    words = ["run", "one.onnx", "two.onnx", "--input", "image=image.npy", "--scale", "1/255"]
    done = call(*words, "--plot", "p.png")
    assert done.code == 0, done.err
    assert [s for s in done.out.splitlines() if s.endswith(".onnx")] == ["one.onnx", "two.onnx"]
    with Image.open("p.png") as picture:
        assert picture.width > 500
    found = call(*words, "--json").json
    assert [m["model"] for m in found["models"]] == ["one.onnx", "two.onnx"]
    alone = call("run", "two.onnx", *words[3:], "--json").json
    assert found["models"][1]["accounts"] == alone["accounts"]
    assert call("run", "one.onnx", "two.onnx", "--random", "0", "--batch", "2").code == 0
    done = call(*words, "-o", "out.npz")
    assert (done.code, "holds the outputs of one file" in done.err) == (2, True)
    back(Linear({"image": (3, 9, 9)}), "other.onnx")
    for other, reason in (("other", "has other inputs or outputs than one.onnx"),
                          ("pixels", "is not a file of the backward direction")):  # fmt: skip
        done = call("run", "one.onnx", f"{other}.onnx", "--input", "image=image.npy")
        assert done.code == 2
        assert reason in done.err


# ---- files that were converted ------------------------------------------------------------


def test_a_trained_network_adds_up(fixtures: Path, here: Path, call: Call) -> None:
    original = fixtures / "ms_basic_relu_ts.onnx"
    done = call("convert", original, "--method", "lrp", "--target", "top2", "-o", "lrp.onnx", "-q")
    assert done.code == 0, done.err
    run = ["run", "lrp.onnx", "--input", fixtures / "mnist_digits.npz", "--scale", "1/255"]
    found = call(*run, "--json").json
    assert found["adds_up_within"] < 1e-5
    with np.load(fixtures / "mnist_digits.npz") as digits:
        label = digits["label"]
    first = [a for a in found["accounts"] if a["target"] == found["targets"][0]]
    assert np.mean([a["class"] == k for a, k in zip(first, label, strict=True)]) > 0.97
    shown = call(*run)
    assert max(map(len, shown.out.splitlines())) <= 80


def test_noise_of_a_converted_file_repeats(fixtures: Path, here: Path, call: Call) -> None:
    original = fixtures / "ms_basic_relu_ts.onnx"
    done = call("convert", original, "--method", "smoothgrad", "-o", "smooth.onnx", "-q")
    assert done.code == 0, done.err
    words = ["run", "smooth.onnx", "--random", "3", "--batch", "3"]
    assert call(*words, "-o", "one.npz").code == call(*words, "-o", "two.npz").code == 0
    with np.load("one.npz") as one, np.load("two.npz") as two:
        for name in one.files:
            assert np.array_equal(one[name], two[name])


def test_methods_of_a_trained_network_side_by_side(fixtures: Path, here: Path, call: Call) -> None:
    names = ("lrp", "gradient", "gradient_x_input")
    for name in names:
        done = call("convert", fixtures / "seg_unet_ts.onnx", "--method", name, "-o",
                    f"{name}.onnx", "-q")  # fmt: skip
        assert done.code == 0, done.err
    with np.load(fixtures / "scenes_clouded.npz") as scenes:
        np.save("image.npy", scenes["image"][:2])
    done = call("run", *(f"{n}.onnx" for n in names), "--input", "image.npy", "--scale", "1/170",
                "--plot", "p.png", "--json")  # fmt: skip
    assert done.code == 0, done.err
    within = [m["adds_up_within"] for m in done.json["models"]]
    assert within[1] is None
    assert max(within[0], within[2]) < 1e-4
    with Image.open("p.png") as picture:
        assert picture.width > 900
