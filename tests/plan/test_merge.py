"""A gain per channel becomes part of the weights before it, where nobody can tell."""

from __future__ import annotations

from typing import Any

import pytest

from rfponnx.api import convert
from rfponnx.methods.convert import Converted
from tests.ops.harness import Case, Float64, W, X, nodes_of, relevances, worst

NET = Case(
    "BatchNormalization",
    "between a Conv and a Relu",
    [X((2, 4, 5, 5)), W((3, 4, 3, 3)), *(W((3,)) for _ in range(4)), W((3,), low=0.5, high=2)],
    nodes=nodes_of(
        ("Conv", "x0 w1 w2", "c"), ("BatchNormalization", "c w3 w4 w5 w6", "n"), ("Relu", "n", "y0")
    ),
)
TWICE = Case(
    "BatchNormalization",
    "beside another reader",
    NET.inputs,
    nodes=nodes_of(
        ("Conv", "x0 w1 w2", "c"),
        ("BatchNormalization", "c w3 w4 w5 w6", "n"),
        ("Add", "n c", "y0"),
    ),
)
SOURCES = {"a": "x0[:,0:1]", "b": "x0[:,1:]"}


def steps(case: Case, **options: Any) -> list[str]:
    given = {"sources": SOURCES, **options}
    return [s.y for s in convert(case.model(), **given).plan.steps]


def rows(case: Case, made: Converted) -> Any:
    return relevances(Float64(made.model).run(case.feeds()))


def test_the_layer_before_gives_its_step_up() -> None:
    assert steps(NET) == ["n", "y0"]


@pytest.mark.parametrize(
    "options",
    [
        {"bias": "split"},
        {"bias": "split_signed"},
        {"explain": ["c", "y0"]},
        {"sources": {"c": "c"}},
    ],
    ids=str,
)
def test_what_somebody_asks_for_stays(options: dict[str, Any]) -> None:
    assert ("c" in steps(NET, **options)) != ("sources" in options)
    assert "n" in steps(NET, **options)


def test_another_reader_keeps_the_layer() -> None:
    assert steps(TWICE) == ["c", "n", "y0"]


@pytest.mark.parametrize("bias", ["separate", "explicit"])
@pytest.mark.parametrize("layout", ["separate", "stacked"])
def test_the_streams_are_the_same(bias: str, layout: str) -> None:
    given = {"sources": SOURCES, "bias": bias, "layout": layout}
    short, long = convert(NET.model(), **given), convert(NET.model(), explain=["c", "y0"], **given)
    assert len(short.plan.steps) < len(long.plan.steps)
    assert worst(rows(NET, short)["y0"], rows(NET, long)["y0"]) <= 1e-12
