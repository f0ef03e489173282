"""`rfponnx fit-patterns`: what goes in, what is shown, what is written, what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from PIL import Image

import rfponnx
from tests.cli.conftest import Call
from tests.runtime import nets

Rng = np.random.Generator

EYE = """
eye (float[N, 3, 4, 4] image) => (float[N, 2] y)
<float[2, 3, 1, 1] k = {1, -1, 1, 1, 1, -1}, float[2] b = {0.1, 0.2}> {
  z = Conv(image, k, b)
  r = Relu(z)
  m = GlobalAveragePool(r)
  y = Flatten(m)
}
"""
TWO = """
two (float[N, 2] a, float[N, 3] b) => (float[N, 1] y)
<float[2, 1] v = {1, -1}, float[3, 1] w = {1, 1, 1}> {
  p = MatMul(a, v)
  q = MatMul(b, w)
  y = Add(p, q)
}
"""


@pytest.fixture
def pictures(here: Path, rng: Rng) -> Path:
    """A model of pictures and a folder with eleven of them, one in a folder of its own."""
    nets.save(EYE, here / "eye.onnx")
    folder = here / "photos"
    (folder / "more").mkdir(parents=True)
    for i in range(11):
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("more" if i == 10 else ".") / f"{i:02}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def load(path: str | Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def stacked(folder: Path) -> np.ndarray:
    """Return the pictures as the network wants them."""
    every = [np.asarray(Image.open(p)) for p in sorted(folder.rglob("*.png"))]
    return (np.stack(every).transpose(0, 3, 1, 2) / 255).astype(np.float32)


def test_an_array(here: Path, call: Call, rng: Rng) -> None:
    np.save("x.npy", rng.normal(size=(4, 2)).astype(np.float32))
    done = call("fit-patterns", "dense.onnx", "x.npy", "--estimator", "linear")
    assert (done.code, done.err) == (0, "written: dense.patterns.npz\n")
    assert re.search(r"MatMul_0 +MatMul +w +\[2, 3\] +4$", done.out, re.MULTILINE)
    assert "1 layer, 3 units, 4 samples, linear estimator" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    found = load("dense.patterns.npz")
    assert list(found) == ["w"]
    w = onnx.numpy_helper.to_array(onnx.load("dense.onnx").graph.initializer[0])
    assert found["w"].shape == w.shape
    assert found["w"].dtype == np.float32
    np.testing.assert_allclose((w * found["w"]).sum(axis=0), 1, rtol=1e-5)


def test_what_was_fitted_is_what_is_used(here: Path, call: Call, rng: Rng) -> None:
    x = rng.normal(size=(4, 2)).astype(np.float32)
    np.save("x.npy", x)
    assert call("fit-patterns", "dense.onnx", "x.npy", "-o", "a.npz", "-q").code == 0
    words = ["--method", "pattern_net", "--target", "2", "--set", "patterns=a.npz", "-q"]
    assert call("convert", "dense.onnx", "-o", "b.onnx", *words).code == 0
    found = rfponnx.Session("b.onnx").run({"x": x})["x_relevance"]
    np.testing.assert_allclose(found, np.tile(load("a.npz")["w"][:, 2], (4, 1)), rtol=1e-6)


def test_a_folder_of_pictures(pictures: Path, call: Call) -> None:
    done = call("fit-patterns", "eye.onnx", "photos", "--batch", "4", "-o", "a.npz", "-q")
    assert (done.code, done.err) == (0, "")
    wanted = rfponnx.fit_patterns("eye.onnx", {"image": stacked(pictures)})
    assert wanted.samples == 11
    np.testing.assert_allclose(load("a.npz")["k"], wanted.arrays["k"], rtol=1e-4)
    named = call("fit-patterns", "eye.onnx", "image=photos", "-o", "b.npz", "--json").json
    assert named["samples"] == 11
    assert named["layers"][0] == {
        "node": "Conv_0", "op": "Conv", "weight": "k", "shape": [2, 3, 1, 1], "units": 2,
        "undetermined": 0, "seen": 11 * 16,
    }  # fmt: skip
    assert (named["output"], named["estimator"]) == ("b.npz", "positive")


def test_the_numbers_of_pictures(pictures: Path, call: Call) -> None:
    words = ["--mean", "0.5,0.4,0.3", "--std", "0.25", "--color", "bgr", "--estimator", "linear"]
    assert call("fit-patterns", "eye.onnx", "photos", "-q", *words).code == 0
    mean = np.array([0.5, 0.4, 0.3]).reshape(3, 1, 1)
    x = ((stacked(pictures)[:, ::-1] - mean) / 0.25).astype(np.float32)
    wanted = rfponnx.fit_patterns("eye.onnx", {"image": x}, estimator="linear")
    np.testing.assert_allclose(load("eye.patterns.npz")["k"], wanted.arrays["k"], rtol=1e-4)


@pytest.mark.parametrize(
    "words", ["ab.npz", "a=a.npy b=b.npy", "a=a.npy --input b=ab.npz:b", "--input ab.npz"]
)
def test_two_inputs(words: str, here: Path, call: Call, rng: Rng) -> None:
    nets.save(TWO, here / "two.onnx")
    a, b = (rng.normal(size=(50, n)).astype(np.float32) for n in (2, 3))
    np.save("a.npy", a)
    np.save("b.npy", b)
    np.savez("ab.npz", a=a, b=b)
    assert call("fit-patterns", "two.onnx", *words.split(), "-q").code == 0
    found = load("two.patterns.npz")
    wanted = rfponnx.fit_patterns("two.onnx", {"a": a, "b": b}).arrays
    assert list(found) == list(wanted) == ["v", "w"]
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def test_pictures_beside_an_array(pictures: Path, call: Call, rng: Rng) -> None:
    model = nets.model(EYE.replace("image) =>", "image, float[N, 2] s) =>"))
    model.graph.output[0].name = "t"
    model.graph.node.add(op_type="Add", input=["y", "s"], output=["t"])
    onnx.save(model, "both.onnx")
    np.save("s.npy", rng.normal(size=(11, 2)).astype(np.float32))
    words = ["fit-patterns", "both.onnx", "image=photos"]
    assert call(*words, "s=s.npy", "--batch", "4", "-q").code == 0
    wanted = rfponnx.fit_patterns("eye.onnx", {"image": stacked(pictures)}).arrays["k"]
    np.testing.assert_allclose(load("both.patterns.npz")["k"], wanted, rtol=1e-4)
    np.save("s.npy", np.zeros((10, 2), np.float32))
    done = call(*words, "s=s.npy", "--force")
    assert (done.code, done.out) == (2, "")
    assert "the inputs differ in their samples: `s` 10, `image` 11" in done.err


def test_a_model_of_a_fixed_batch(here: Path, call: Call, rng: Rng) -> None:
    nets.save(
        EYE.replace("[N, 3, 4, 4]", "[1, 3, 4, 4]").replace("[N, 2]", "[1, 2]"), here / "e.onnx"
    )
    nets.save(EYE, here / "eye.onnx")
    np.save("x.npy", rng.normal(size=(5, 3, 4, 4)).astype(np.float32))
    for name in ("e", "eye"):
        assert call("fit-patterns", f"{name}.onnx", "x.npy", "-q").code == 0
    one, other = (load(f"{n}.patterns.npz")["k"] for n in ("e", "eye"))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_units_without_a_pattern_are_said(here: Path, call: Call) -> None:
    nets.save(EYE.replace("{0.1, 0.2}", "{0.1, -99}"), here / "eye.onnx")
    np.save("x.npy", np.random.default_rng(1).normal(size=(5, 3, 4, 4)).astype(np.float32))
    done = call("fit-patterns", "eye.onnx", "x.npy")
    assert done.code == 0
    assert "warning: 1 of 2 units have the pattern 0" in done.err
    assert (load("eye.patterns.npz")["k"][1] == 0).all()


def test_an_existing_file_is_kept(here: Path, call: Call) -> None:
    (here / "dense.patterns.npz").write_bytes(b"mine")
    done = call("fit-patterns", "dense.onnx", "x.npy")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: dense.patterns.npz: the file exists; --force replaces it\n"
    assert (here / "dense.patterns.npz").read_bytes() == b"mine"
    assert call("fit-patterns", "dense.onnx", "x.npy", "--force").code == 0
    first = (here / "dense.patterns.npz").read_bytes()
    assert call("fit-patterns", "dense.onnx", "x.npy", "--force").code == 0
    assert (here / "dense.patterns.npz").read_bytes() == first


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("dense.onnx", "error: dense.onnx: no data; name a folder of pictures, .npy or .npz files"),
        ("missing.onnx x.npy", "missing.onnx: no such file"),
        ("dense.onnx missing.npy", "missing.npy: no such file"),
        ("dense.onnx .", "no pictures in this folder"),
        ("dense.onnx y=x.npy", "no input `y`"),
        ("dense.onnx x.npy --estimator median", "no estimator `median`; it can be positive or"),
        ("dense.onnx x.npy --batch 0", "--batch: 0 at a time; give 1 or more"),
        ("dense.onnx x.npy --provider tpu", "no provider `tpu`"),
        ("dense.onnx wide.npy", "expected the shape [N, 2], got"),
        ("dense.onnx x.npy -o nowhere/a.npz", "its folder does not exist"),
        ("dense.onnx x.npy -o dense.onnx", "is the model itself"),
        ("pixels.onnx x.npy", "no linear layer with a constant weight"),
        ("two.onnx x.npy", "does not say for which input"),
    ],
)
def test_one_line_says_what_is_wrong(words: str, says: str, here: Path, call: Call) -> None:
    np.save("wide.npy", np.zeros((4, 3), np.float32))
    nets.save(TWO, here / "two.onnx")
    before = sorted(p.name for p in here.iterdir())
    done = call("fit-patterns", *words.split())
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert done.err.count("\n") == 1
    assert sorted(p.name for p in here.iterdir()) == before
    with_json = call("fit-patterns", *words.split(), "--json")
    assert with_json.code == 2
    assert set(with_json.json["error"]) == {"what", "where", "hint"}
