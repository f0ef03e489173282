"""Composites and rules as text, data and files: what they say is what the plan has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rfponnx
from rfponnx.errors import OptionError, RfpError
from rfponnx.methods.metadata import read_metadata
from rfponnx.plan.options import Options
from rfponnx.rules.composite import ALIASES, COMPOSITES, Composite, composite, named
from rfponnx.rules.convention import FLAVORS, Convention, convention
from rfponnx.rules.rule import ALIASES as SAME_RULES
from rfponnx.rules.rule import RULES, rule
from rfponnx.verify.float64 import Float64
from tests.backward.nets import BLOCKS, PIXELS
from tests.emit.nets import run


def decided(**options: Any) -> Mapping[str, str]:
    """Return the rule of each layer by the name of its node."""
    plan = BLOCKS.convert(method="lrp", **options).plan
    return {s.node.label: plan.rules[s.y][0] for s in plan.steps if s.y in plan.rules}


# ---- as text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("gamma(gamma=0.1)", {"gamma": 0.1}),
        (" gamma ( gamma = 0.1 , stabiliser=0 )", {"gamma": 0.1, "stabiliser": 0.0}),
        ("alpha_beta(alpha=3,beta=2)", {"alpha": 3.0, "beta": 2.0}),
        ("z_box(low=-1,high=2.5)", {"low": -1.0, "high": 2.5}),
        ("z_plus(split=false)", {"split": False}),
        ("epsilon()", {}),
    ],
)
def test_numbers_behind_a_rule_are_its_own(text: str, changed: dict[str, Any]) -> None:
    found = rule(text, Convention(), "conv")
    name = text.partition("(")[0].strip()
    assert found == RULES[name](replace(Convention(), **changed), "conv")
    assert found.numbers == replace(Convention(), **changed)


@pytest.mark.parametrize("alias", SAME_RULES)
def test_other_names_of_a_rule(alias: str) -> None:
    assert rule(alias, Convention(), "conv") == rule(SAME_RULES[alias], Convention(), "conv")


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("conv=epsilom", "--rule: no rule `epsilom`; did you mean `epsilon`"),
        ("conv=gamma(gama=1)", "no value `gama`; did you mean `gamma`"),
        ("conv=gamma(gamma=-1)", "gamma is -1; give 0 or more"),
        ("conv=gamma(gamma=much)", "gamma is `much`; give a number"),
        ("conv=gamma(gamma)", "`gamma` is not KEY=VALUE"),
        ("conv=alpha_beta(alpha=2,beta=2)", "alpha - beta has to be 1"),
        ("Conv_99=epsilon", "--rule: no layer is called `Conv_99`; did you mean"),
        ("epsilon", "`epsilon` is not PATTERN=VALUE"),
        ("pool=gamma", "the rule gamma is for layers with weights"),
    ],
)
def test_a_rule_that_is_none_is_refused(rules: str, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        BLOCKS.convert(method="lrp", rules=[rules])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.where


# ---- which rule wins -----------------------------------------------------------------------


def test_options_beat_the_composite_and_patterns_beat_places() -> None:
    plain, last, middle = decided(composite="z_plus"), "Gemm_18", "Conv_8"
    assert set(plain.values()) == {"z_plus", "norm"}
    both = {"conv": "flat", "first": "w_square", "last": "gamma"}
    data = {"rules": {**both, middle: "z_box"}}
    found = decided(composite=data)
    weighted = {k: v for k, v in found.items() if v != "norm"}
    assert weighted[middle] == "z_box"
    assert weighted[last] == "gamma"
    assert "w_square" in weighted.values()
    own = decided(composite=data, rules=["conv=epsilon"])
    assert own[middle] == "epsilon"  # a place among options beats a pattern of the composite
    assert own[last] == "gamma"
    narrow = decided(composite=data, rules=["Conv_*=alpha2_beta1", f"{middle}=zero"])
    assert narrow[middle] == "zero"  # the later of two patterns
    assert {v for k, v in narrow.items() if k.startswith("Conv") and k != middle} == {
        "alpha2_beta1"
    }
    given = decided(rules=["first=flat", "Conv_*=z_plus"])
    assert given[middle] == "z_plus"


def test_first_is_every_layer_that_reads_an_input_first() -> None:
    plan = PIXELS.convert(method="lrp", rules=["first=flat", "last=zero"]).plan
    names = {s.node.label: plan.rules[s.y][0] for s in plan.steps if s.y in plan.rules}
    assert [n for n, r in names.items() if r == "flat"] == ["Conv_2"]
    assert [n for n, r in names.items() if r == "zero"] == ["Conv_11"]


def test_settings_beat_the_flavor_and_options_beat_settings() -> None:
    def seen(**options: Any) -> Convention:
        return BLOCKS.convert(method="lrp", **options).plan.convention

    assert seen() == Convention()
    assert seen(flavor="captum") == FLAVORS["captum"]
    assert seen(composite="lrp_resnet") == FLAVORS["lrp_resnet"]
    assert seen(composite="lrp_resnet", flavor="captum") == FLAVORS["captum"]
    data = {"flavor": "captum", "eps": 0.5, "settings": {"gamma": 2}}
    assert seen(composite=data) == replace(FLAVORS["captum"], eps=0.5, gamma=2.0)
    assert seen(composite=data, set={"eps": 0.25}).eps == 0.25
    assert seen(composite={"residual": "ratio"}, residual="symmetric").residual == "symmetric"
    assert seen(composite={"seed": "one"}, seed_value="logit").seed == "logit"


# ---- files and data ------------------------------------------------------------------------

TEXT = """
flavor = "innvestigate"
residual = "ratio"
[rules]
conv = "gamma(gamma=0.1)"
dense = { rule = "alpha_beta", alpha = 3, beta = 2 }
first = "w_square"
[set]
stabiliser = 1e-5
"""


def test_a_file_is_the_same_as_its_data(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    data = {
        "name": "mine", "flavor": "innvestigate", "residual": "ratio", "set": {"stabiliser": 1e-5},
        "rules": {
            "conv": "gamma(gamma=0.1)", "dense": "alpha_beta(alpha=3, beta=2)", "first": "w_square",
        },
    }  # fmt: skip
    assert composite(str(path)) == composite(path) == composite(data)
    one = BLOCKS.convert(method="lrp", composite=path)
    path.unlink()  # what it said is in the options now
    two = BLOCKS.convert(method="lrp", composite=data)
    assert one.model.SerializeToString() == two.model.SerializeToString()
    assert one.plan.convention == replace(
        FLAVORS["innvestigate"], residual="ratio", stabiliser=1e-5
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules = 3", "`rules` is no table"),
        ("[rules]\nconv = 3", "`3` is no rule; give a name, or a table with `rule`"),
        ("ruls = 3", "no entry `ruls`; did you mean `rules`"),
        ("rules = [", "is no TOML"),
        ('flavor = "capum"', "no flavor `capum`; did you mean `captum`"),
        ('residual = "half"', "residual is `half`"),
        ('[rules]\nconv = "epsilom"', "no rule `epsilom`"),
        ('[rules]\nConv_77 = "epsilon"', "no layer is called `Conv_77`"),
        ("settings = 3", "`settings` is no table"),
        ("set = 3", "`set` is no table"),
        ("flavor = 3", "no flavor `3`"),
        ("eps = true", "eps is `True`; give a number"),
        ('[rules]\nconv = "gamma(gamma=1"', "lacks a `)`"),
        ("[settings]\nepz = 3", "no value `epz`"),
    ],
)
def test_a_file_that_is_wrong_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(RfpError) as caught:
        BLOCKS.convert(method="lrp", composite=path)
    assert says in str(caught.value)
    assert caught.value.where
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none.toml: No such file"):
        BLOCKS.convert(method="lrp", composite=tmp_path / "none.toml")
    with pytest.raises(OptionError, match="no composite `epsilon_pluss`; did you mean"):
        BLOCKS.convert(method="lrp", composite="epsilon_pluss")


@pytest.mark.parametrize("name", [*COMPOSITES, *ALIASES])
def test_a_composite_survives_being_written(name: str) -> None:
    found = composite(name)
    assert composite(json.loads(json.dumps(found.as_json()))) == found
    assert named(found) == named(name) == found.name
    assert composite(named(replace(found, name="other"))) == replace(found, name="other")


def test_conventions_are_refused_by_name() -> None:
    with pytest.raises(OptionError, match=r"--flavor: no flavor `zenit`; did you mean `zennit`"):
        convention("zenit")
    with pytest.raises(OptionError, match=r"--set: no value `epz`; did you mean `eps`"):
        convention(None, {"epz": 1})


# ---- what is in the file -------------------------------------------------------------------

ASKED: tuple[dict[str, Any], ...] = (
    {"method": "lrp", "composite": {"rules": {"conv": "gamma(gamma=0.5)"}, "eps": 0.1}},
    {"method": "lrp", "rules": ["first=flat", "Conv_8=z_box(low=0,high=1)"], "flavor": "lxt",
     "residual": "ratio", "set": {"batchnorm": "pass", "low": "min"}, "tap": ["r3"]},
    {"method": "excitation_backprop", "set": {"contrastive": True}},
    {"method": "lrp", "target": "0-2,top2", "account": "explicit", "seed_value": "probability"},
    {"method": "deeplift", "set": {"variant": "no_crossing", "reference": "input"}},
    {"method": "lrp", "seed_at": "r3", "readout": "channels"},
    {"method": "lrp", "readout": "heat", "set": {"bins": 5, "quantize": "code"}},
)  # fmt: skip


@pytest.mark.parametrize("options", ASKED, ids=str)
def test_the_metadata_says_all_that_was_asked(options: dict[str, Any]) -> None:
    made = BLOCKS.convert(**options)
    found = Options.from_json((read_metadata(made.model) or {})["options"])
    assert found == made.plan.options
    assert Options.from_json(json.loads(json.dumps(found.as_json()))) == found
    again = BLOCKS.convert(**options)
    assert made.model.SerializeToString(deterministic=True) == again.model.SerializeToString(
        deterministic=True
    )
    assert made.model.SerializeToString() == again.model.SerializeToString()


@pytest.mark.parametrize("first", ASKED[:4], ids=lambda o: o["method"])
@pytest.mark.parametrize("second", [{"method": "gradient"}, {"method": "lrp"}, {"method": "rfp"}],
                         ids=lambda o: o["method"])  # fmt: skip
def test_a_converted_graph_is_a_model_like_any_other(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Explained again, its own outputs only; or a relevance of it, as a function of the input."""
    feeds = BLOCKS.feeds()
    once = BLOCKS.convert(**first).model
    twice = rfponnx.convert(once, **second).model
    alone, both = run(BLOCKS.convert(**second).model, feeds), run(twice, feeds)
    before = run(once, feeds)
    for name, value in before.items():
        assert value.tobytes() == both[name].tobytes(), name
    name = "x_relevance" if second["method"] != "rfp" else "y_relevance"
    if second["method"] == "rfp":
        alone = run(BLOCKS.convert(method="rfp", sources=None).model, feeds)
    fresh = name + "_2" if name in before else name
    assert np.allclose(both[fresh].reshape(alone[name].shape), alone[name], rtol=1e-5, atol=1e-7)


def test_the_gradient_of_a_relevance() -> None:
    """What Deep Taylor with roots needs: the derivative of a map by the input."""
    given = {"method": "lrp", "composite": "z_plus", "target": 1, "readout": "sources"}
    once = BLOCKS.convert(**given, sources=["x=x"]).model
    twice = rfponnx.convert(
        once, method="gradient", explain="source_relevance", target=0, class_axis=0
    )
    feeds = {"x": BLOCKS.feeds()["x"][:1]}
    out = Float64(twice.model).run(feeds)
    slope = next(v for n, v in out.items() if n.startswith("x_relevance"))
    model, x = Float64(once), feeds["x"].astype(np.float64)
    rng = np.random.default_rng(0)
    for _ in range(3):
        step = rng.normal(size=x.shape) * 1e-6
        up, down = (model.run({"x": x + s})["source_relevance"] for s in (step, -step))
        change = np.take((up - down) / 2, 0, axis=0).sum()
        assert abs((slope * step).sum() - change) <= 1e-4 * np.abs(slope * step).sum()


def test_a_composite_in_python_is_one() -> None:
    mine = Composite("mine", {"conv": "z_plus", "dense": "epsilon"})
    one = BLOCKS.convert(method="lrp", composite=mine)
    two = BLOCKS.convert(method="lrp", composite="epsilon_plus")
    assert one.plan.rules.keys() == two.plan.rules.keys()
    feeds = BLOCKS.feeds()
    values = [run(c.model, feeds)["x_relevance"] for c in (one, two)]
    assert np.array_equal(*values)
