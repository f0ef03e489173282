"""Options: refused by name, in force per node, readable from metadata."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rfponnx.errors import OptionError
from rfponnx.plan.options import Options, patterns
from tests.plan.small import plan_of

WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"bias": "explict"}, "^--bias: no value `explict`; did you mean `explicit`"),
    ({"bias": "none"}, "^--bias: no value `none`; it can be separate, explicit, split, split_s"),
    ({"layout": "stack"}, "^--layout: no value `stack`; did you mean `stacked`"),
    ({"readout": "top"}, "^--readout: no value `top`; it can be all, predicted"),
    ({"linearisation": (("*", "tailor"),)}, "^--linearisation: no value `tailor`; did you mean"),
    ({"release": (("*", "middle"),)}, "^--release: no value `middle`; it can be auto, left"),
    ({"numbers": {"gamma": 1.0}}, "^--set: no value `gamma`; it can be eps, shift"),
    ({"numbers": {"eps": 0.0}}, "^--set: eps is 0.0; give a number above 0"),
    ({"numbers": {"eps": -1e-6}}, "^--set: eps is -1e-06"),
    ({"numbers": {"eps": float("nan")}}, "^--set eps: eps is nan"),
    ({"numbers": {"eps": float("inf")}}, "^--set eps: eps is inf"),
    ({"numbers": {"shift": float("inf")}}, "^--set shift: shift is inf; give a finite number"),
    ({"numbers": {"shift": float("nan")}}, "^--set shift: shift is nan; give a finite number"),
)


@pytest.mark.parametrize(("given", "says"), WRONG, ids=str)
def test_what_is_no_option_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Options(**given)


def test_options_come_back_from_metadata() -> None:
    given = Options(
        bias="split", layout="stacked", readout="predicted",
        linearisation=(("*", "taylor"), ("head/*", "ratio")), release=(("att*", "left"),),
        explain=("h", "y"), class_axis=-1, numbers={"eps": 1e-3, "shift": 0.5},
    )  # fmt: skip
    assert Options.from_json(json.loads(json.dumps(given.as_json()))) == given
    assert Options.from_json(json.loads(json.dumps(Options().as_json()))) == Options()


def test_options_of_a_later_version_are_left_out() -> None:
    assert Options.from_json({**Options().as_json(), "account": "rest"}) == Options()


PATTERNS = (
    (("taylor",), True, (("*", "taylor"),)),
    (("head/*=taylor",), True, (("head/*", "taylor"),)),
    (("a=b=left",), False, (("a=b", "left"),)),
    (("taylor", "a=ratio"), True, (("*", "taylor"), ("a", "ratio"))),
    ((), True, ()),
)


@pytest.mark.parametrize(("texts", "plain", "found"), PATTERNS)
def test_patterns_are_read(
    texts: tuple[str, ...], plain: bool, found: tuple[tuple[str, str], ...]
) -> None:
    assert patterns("--linearisation", texts, plain) == found


def test_a_bare_value_needs_an_option_that_takes_one() -> None:
    with pytest.raises(OptionError, match=r"^--release: `left` is not PATTERN=VALUE"):
        patterns("--release", ("left",), plain=False)


def test_the_last_pattern_that_matches_wins() -> None:
    options = Options(
        linearisation=(("*", "taylor"), ("head/*", "ratio"), ("head/last", "weighted")),
        release=(("body/*", "none"), ("body/*/gate", "left")),
        numbers={"eps": 1e-3},
    )
    kinds = {n: options.of_node(n).kind for n in ("body/x", "head/x", "head/last")}
    assert kinds == {"body/x": "taylor", "head/x": "ratio", "head/last": "weighted"}
    releases = {n: options.of_node(n).release for n in ("x", "body/1/gate", "body/1/mul")}
    assert releases == {"x": "auto", "body/1/gate": "left", "body/1/mul": "none"}
    assert (options.of_node("x").eps, options.of_node("x").shift) == (1e-3, 0.0)


def test_a_name_that_looks_like_a_pattern_is_a_name() -> None:
    options = Options(release=(("body[0]/Mul", "left"),))
    assert options.of_node("body[0]/Mul").release == "left"
    assert options.of_node("body1/Mul").release == "auto"


def test_without_options_every_node_has_the_defaults() -> None:
    numbers = Options(linearisation=()).of_node("any")
    assert (numbers.kind, numbers.release, numbers.eps) == ("weighted", "auto", 1e-6)


NET = "net (float[N, 3] x) => (float[N, 3] y) { h = Sigmoid(x)\n g = Tanh(h)\n y = Mul(h, g) }"


@pytest.mark.parametrize("option", ["linearisation", "release"])
def test_a_pattern_that_no_node_has_is_refused(option: str) -> None:
    value = "taylor" if option == "linearisation" else "left"
    for pattern in ("*", "Sigmoid_0", "Sig*", "[ST]*", "Mul_?"):
        plan_of(NET, **{option: ((pattern, value),)})
    with pytest.raises(OptionError, match=f"^--{option}: no node is called `Sigmoid_1`; did you"):
        plan_of(NET, **{option: (("*", value), ("Sigmoid_1", value))})
