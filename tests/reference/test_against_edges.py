"""Where conventions show: exact zeros, ties, hinges, eps = 0, no relevance at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.reference import lrp, nets
from tests.reference.compare import agree
from tests.reference.net import Array, Net
from tests.reference.resnet import ZENNIT, explain
from tests.reference.test_against_resnet import EPSILON, logit
from tests.reference.test_against_rules import RULES

Rng = np.random.Generator


def whole(net: Net, rng: Rng, samples: int = 3) -> Array:
    """Return inputs of small whole numbers; the last sample is 0 everywhere."""
    x = rng.integers(-2, 3, (samples, *net.shape)).astype(np.float32)
    x[-1] = 0
    return x


@pytest.mark.parametrize(("name", "numbers", "rule"), [r[:3] for r in RULES if "zennit" in r[3]])
@pytest.mark.parametrize("value", ["logit", "one"])
def test_whole_numbers(
    name: str, numbers: Mapping[str, Any], rule: Callable[[lrp.Flavor], lrp.Rule], value: str,
    rng: Rng,
) -> None:  # fmt: skip
    net = nets.integers(rng)
    rules = {**EPSILON, **dict.fromkeys(("conv", "dense"), rule(ZENNIT))}

    def seed(x: Array) -> Array:
        scores = logit(net, x, 1)
        return scores if value == "logit" else np.array([0.0, 1.0, 0.0])

    agree(
        net, {"x": whole(net, rng)}, lambda x: explain(net, x, seed(x), rules), single=None,
        method="lrp", composite=name, target=1, seed_value=value, account="explicit",
        set=dict(numbers),
    )  # fmt: skip


@pytest.mark.parametrize("policy", ["proportional", "ratio", "symmetric"])
def test_sums_of_whole_numbers(policy: str, rng: Rng) -> None:
    net = nets.integers(rng)
    agree(
        net, {"x": whole(net, rng)},
        lambda x: explain(net, x, logit(net, x, 0), EPSILON, residual=policy), single=None,
        method="lrp", composite="epsilon", target=0, residual=policy, account="explicit",
    )  # fmt: skip


@pytest.mark.parametrize("make", [nets.layers, nets.vgg, nets.integers], ids=lambda f: f.__name__)
def test_no_eps_at_all(make: Callable[[Rng], Net], rng: Rng) -> None:
    """0 / 0 is leak, everywhere."""
    net = make(rng)
    plain = lrp.Flavor(0.0, 0.0)
    rules = dict.fromkeys(("conv", "dense", "avgpool", "global"), lrp.epsilon(plain))
    agree(
        net, {"x": whole(net, rng)},
        lambda x: explain(net, x, logit(net, x, 2), rules, stabiliser=0), single=None,
        method="lrp", composite="lrp_0", target=2, account="explicit",
        set={"stabiliser": 0},
    )  # fmt: skip
