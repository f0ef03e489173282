"""`rfponnx convert`: every option reaches the conversion, and the report says what was done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rfponnx
from tests.cli.conftest import Call

#: Words, and the same as keywords of `rfponnx.convert`.
OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("", {}),
    ("--method rfp", {"method": "rfp"}),
    ("--source a=x", {"sources": ["a=x"]}),
    ("--source a=x[:,0] --source b=x[:,1]", {"sources": ["a=x[:,0]", "b=x[:,1]"]}),
    ("--source a=x[:,0]+x[:,1]", {"sources": ["a=x[:,0]+x[:,1]"]}),
    ("--source a=x@mask", {"sources": ["a=x@mask"]}),
    ("--source-masks x", {"source_masks": "x"}),
    ("--linearisation taylor", {"linearisation": "taylor"}),
    ("--linearisation *=ratio --linearisation MatMul_0=taylor",
     {"linearisation": ["*=ratio", "MatMul_0=taylor"]}),
    ("--bias explicit", {"bias": "explicit"}),
    ("--bias split", {"bias": "split"}),
    ("--bias split_signed", {"bias": "split_signed"}),
    ("--release *=none", {"release": ["*=none"]}),
    ("--layout separate", {"layout": "separate"}),
    ("--layout stacked", {"layout": "stacked"}),
    ("--readout predicted", {"readout": "predicted"}),
    ("--explain scores", {"explain": ["scores"]}),
    ("--explain scores --explain z", {"explain": ["scores", "z"]}),
    ("--class-axis 0", {"class_axis": 0}),
    ("--set eps=1/1000 --set shift=0.5", {"set": {"eps": 0.001, "shift": 0.5}}),
    ("--direction auto", {}),
    ("--method gradient --target 2", {"method": "gradient", "target": 2}),
    ("--method lrp --composite epsilon_plus --account explicit",
     {"method": "lrp", "composite": "epsilon_plus", "account": "explicit"}),
    ("--method lrp --rule dense=gamma(gamma=0.5) --rule last=lrp_0 --flavor captum",
     {"method": "lrp", "rules": ["dense=gamma(gamma=0.5)", "last=lrp_0"], "flavor": "captum"}),
    ("--method lrp --residual ratio --seed-value one --tap z",
     {"method": "lrp", "residual": "ratio", "seed_value": "one", "tap": "z"}),
    ("--method lrp --seed-at z", {"method": "lrp", "seed_at": "z"}),
    ("--method lrp --target top3 --readout sources --set eps=0",
     {"method": "lrp", "target": "top3", "readout": "sources", "set": {"eps": 0}}),
)  # fmt: skip


@pytest.mark.parametrize(("words", "options"), OPTIONS, ids=[o[0] or "none" for o in OPTIONS])
def test_an_option_is_a_keyword(
    words: str, options: dict[str, Any], here: Path, call: Call
) -> None:
    done = call("convert", "dense.onnx", "-o", "out.onnx", *words.split())
    assert done.code == 0, done.err
    rfponnx.convert("dense.onnx", **options).save("expected.onnx")
    assert Path("out.onnx").read_bytes() == Path("expected.onnx").read_bytes()


def test_the_output_has_a_name_of_its_own(here: Path, call: Call) -> None:
    (here / "sub.dir").mkdir()
    (here / "dense.onnx").rename(here / "sub.dir" / "net.v2.onnx")
    done = call("convert", "sub.dir/net.v2.onnx")
    assert done.code == 0
    assert (here / "sub.dir" / "net.v2.rfp.onnx").is_file()


def test_the_report(here: Path, call: Call) -> None:
    done = call("convert", "dense.onnx", "--source", "a=x[:,0]")
    assert done.out.splitlines()[0] == "dense.rfp.onnx"
    assert "a=x[:,0:1]" in done.out
    assert "chances_relevance [2, N, 3]" in done.out
    assert "chances_explained [N, 3]" in done.out
    assert "looked through  chances" in done.out
    assert done.err.startswith("next: rfponnx run dense.rfp.onnx")
    assert max(map(len, done.out.splitlines())) <= 80


def test_nothing_is_said_when_quiet(here: Path, call: Call) -> None:
    done = call("convert", "dense.onnx", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_the_report_as_json(here: Path, call: Call) -> None:
    done = call("convert", "dense.onnx", "--json")
    assert done.err == ""
    report = done.json
    assert report["written"] == "dense.rfp.onnx"
    assert report["sources"] == ["x=x"]
    assert report["outputs"]["chances_relevance"] == ["2", "N", "3"]
    assert report["nodes"]["before"] == 3


def test_force_replaces(here: Path, call: Call) -> None:
    Path("out.onnx").write_text("before")
    assert call("convert", "dense.onnx", "-o", "out.onnx", "--force").code == 0
    onnx.checker.check_model("out.onnx", full_check=True)
    assert [p.name for p in here.iterdir() if p.name.startswith(".")] == []


def test_a_converted_model_can_be_converted_again(here: Path, call: Call) -> None:
    assert call("convert", "dense.onnx", "-q").code == 0
    assert call("convert", "dense.rfp.onnx", "-q").code == 0
    done = call("run", "dense.rfp.rfp.onnx", "--input", "x=x.npy", "-o", "out.npz", "--json")
    assert done.code == 0, done.out
    with np.load("out.npz") as found:
        assert {"chances", "chances_relevance"} <= set(found.files)
