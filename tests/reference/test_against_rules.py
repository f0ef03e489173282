"""Every rule of LRP on one layer, as each of the other tools spells it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.reference import lrp, nets
from tests.reference.compare import SINGLE, agree, drawn
from tests.reference.net import Array, Net, Step
from tests.reference.resnet import explain
from tests.reference.walk import Relevance

Rng = np.random.Generator

#: Rule, its numbers, and the flavors whose tool has it.
RULES: tuple[tuple[str, Mapping[str, Any], Callable[[lrp.Flavor], lrp.Rule], str], ...] = (
    ("epsilon", {}, lrp.epsilon, "zennit captum innvestigate lxt"),
    ("epsilon", {"eps": 0.25}, lambda f: lrp.epsilon(f, 0.25), "zennit captum innvestigate lxt"),
    ("z_plus", {}, lrp.z_plus, "zennit captum innvestigate"),
    ("alpha_beta", {"alpha": 2, "beta": 1}, lambda f: lrp.alpha_beta(f, 2, 1),
     "zennit innvestigate"),
    ("alpha_beta", {"alpha": 5, "beta": 4}, lambda f: lrp.alpha_beta(f, 5, 4),
     "zennit innvestigate"),
    ("alpha1_beta0", {}, lambda f: lrp.alpha_beta(f, 1, 0), "zennit captum innvestigate"),
    ("gamma", {}, lambda f: lrp.gamma(f, 0.25), "zennit captum"),
    ("gamma", {"gamma": 2}, lambda f: lrp.gamma(f, 2), "zennit captum"),
    ("w_square", {}, lrp.w_square, "zennit innvestigate"),
    ("flat", {}, lrp.flat, "zennit innvestigate"),
    ("z_box", {"low": -3, "high": 3}, lambda f: lrp.z_box(f, -3, 3), "zennit innvestigate"),
)  # fmt: skip
CASES = [
    pytest.param(name, numbers, rule, flavor, id=f"{name}{i}-{flavor}")
    for i, (name, numbers, rule, flavors) in enumerate(RULES)
    for flavor in flavors.split()
]


def dense(rng: Rng) -> Net:
    """Rows without anything, without a positive and without a negative part."""
    w, b = nets.single(rng.normal(size=(6, 5))), nets.single(rng.normal(size=6))
    w[0], b[0] = 0, 0
    w[1], b[1] = -np.abs(w[1]), 0
    w[2], b[2] = np.abs(w[2]), 0
    w[3, 2] = 0
    return Net((5,), [Step("scores", "dense", ("x",), {"w": w, "b": b})])


def conv(rng: Rng) -> Net:
    """Padding and groups; a stride that leaves the last row out."""
    step = nets.conv(rng, "scores", "x", 4, 4, pad=1, stride=2, group=2)
    step.p["w"][3] = 0
    step.p["b"][3] = 0
    return Net((4, 6, 6), [step])


@pytest.mark.parametrize(("name", "numbers", "rule", "flavor"), CASES)
@pytest.mark.parametrize("make", [dense, conv], ids=lambda f: f.__name__)
@pytest.mark.parametrize("value", ["logit", "one"])
def test_a_rule(
    name: str, numbers: Mapping[str, Any], rule: Callable[[lrp.Flavor], lrp.Rule], flavor: str,
    make: Callable[[Rng], Net], value: str, rng: Rng,
) -> None:  # fmt: skip
    net = make(rng)
    made = {net.steps[0].kind: rule(lrp.FLAVORS[flavor])}
    x = drawn(net, rng)
    # 1 / d of a sum that cancels has no seven digits.  z / d has where d holds all of z (epsilon),
    # and where it has one sign: Zennit's rules, and those without x or b
    one_sign = flavor == "zennit" or name in ("epsilon", "w_square", "flat", "z_box")
    single = SINGLE if value == "logit" and one_sign else None
    for target in range(net.shapes[net.out][0]):

        def wanted(one: Array, target: int = target) -> Relevance:
            return explain(net, one, seed(net, one, target, value), made)

        agree(
            net, {"x": x}, wanted, single=single, method="lrp", composite=name, flavor=flavor,
            target=target, seed_value=value, account="explicit", set=dict(numbers),
            zero=not (net.steps[0].p["w"][target] > 0).any(),
        )  # fmt: skip


def seed(net: Net, x: Array, target: int, value: str) -> Array:
    """Return the logit or 1 of one class at every position."""
    y = net.forward(x)[net.out].reshape(net.shapes[net.out])
    found = np.zeros_like(y)
    found[target] = y[target] if value == "logit" else 1
    return found.ravel()
