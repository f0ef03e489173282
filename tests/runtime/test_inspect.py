"""What a conversion would do, and everything that stands in its way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import rfponnx
from rfponnx.errors import OptionError
from rfponnx.plan.options import Options
from rfponnx.runtime.inspect import inspect
from tests.runtime import nets

GAPS = """
gaps (float[N, 4] x, float[N, 4] other, int64[N] code) => (float[N, 4] y, float[N, 4] z)
<float[N, 4] a, float[N, 4] c, float[N, 4] lost> {
  a = com.example.Odd(x)
  b = Relu(a)
  c = com.example.Odder(b)
  y = Add(c, x)
  lost = com.example.Lost(x)
  z = Relu(other)
}
"""


def test_every_gap_on_the_way_is_listed() -> None:
    model = nets.model(GAPS)
    model.opset_import.add(domain="com.example", version=1)
    found = inspect(model)
    assert [(g.op, "com.example" in g.why) for g in found.gaps] == [
        ("com.example:Odd", True),
        ("com.example:Odder", True),
    ]
    assert not found.convertible
    assert [line.op for line in found.lines] == ["Relu", "Add", "Relu"]
    assert [line.sources for line in found.lines] == [("x",), ("x",), ("other",)]
    assert found.untouched == 1
    assert found.sources == ("x=x", "other=other")


def test_lines_say_what_a_node_becomes() -> None:
    found = inspect(nets.model(nets.DENSE))
    assert [(line.op, line.how) for line in found.lines] == [
        ("MatMul", "part of `Add_1`"),
        ("Add", "y = matmul(x) + b"),
    ]
    (one,) = found.explained
    assert (one.tensor, one.output, len(one.through)) == ("scores", "chances", 1)
    assert found.convertible
    assert (found.nodes, found.untouched) == (3, 1)


def test_sources_and_options_are_those_of_a_conversion() -> None:
    model = nets.model(nets.PIXELS)
    found = inspect(model, ["a=image[:,0]"], Options(explain=("y",)))
    assert found.sources == ("a=image[:,0:1]",)
    assert [line.op for line in found.lines] == ["Relu"]
    assert [e.tensor for e in found.explained] == ["y"]
    with pytest.raises(OptionError, match="no tensor `imge`"):
        inspect(model, {"a": "imge"})


@pytest.mark.parametrize("name", ["ms_basic_relu_ts", "mini_resnet_ts"])
def test_what_is_listed_is_what_is_planned(name: str, fixtures: Path) -> None:
    path = fixtures / f"{name}.onnx"
    found, plan = inspect(path), rfponnx.convert(path).plan
    assert found.convertible
    lines = [line for line in found.lines if not line.how.startswith("part of")]
    assert [line.node for line in lines] == [s.node.label for s in plan.steps]
    for line in set(found.lines) - set(lines):
        assert line.how.removeprefix("part of ").strip("`") in {own.node for own in lines}
    for line, step in zip(lines, plan.steps, strict=True):
        members = sorted(m for g in step.groups for m in g.members)
        assert line.sources == tuple(plan.sources[m].name for m in members)


def test_a_converted_model_says_so() -> None:
    found = inspect(nets.converted(nets.DENSE))
    assert found.converted
    assert [e.tensor for e in found.explained] == ["scores"]


def test_it_is_json() -> None:
    data = json.loads(json.dumps(inspect(nets.model(nets.PIXELS)).to_json()))
    assert data["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["N", 3, "H", "W"]}]
    assert data["convertible"] is True
