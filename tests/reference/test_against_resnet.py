"""LRP on whole networks: recipes, sums, batchnorms, pools, composites, contrasts, read-outs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.reference import lrp, nets
from tests.reference.compare import SINGLE, agree, drawn
from tests.reference.net import Array, Net
from tests.reference.resnet import (
    RECIPES,
    ZENNIT,
    contrastive_excitation,
    contrastive_lrp,
    excitation,
    explain,
    merged,
    merged_ahead,
    quantized,
)
from tests.reference.walk import Relevance, one_hot

Rng = np.random.Generator
every_net = pytest.mark.parametrize("make", nets.NETS, ids=lambda f: f.__name__)
EPSILON = dict.fromkeys(("conv", "dense", "avgpool", "global", "batchnorm"), lrp.epsilon(ZENNIT))


COMPOSITES: dict[str, tuple[dict[str, lrp.Rule], str]] = {
    "epsilon": ({}, ""),
    "z_plus": ({"conv": lrp.z_plus(ZENNIT), "dense": lrp.z_plus(ZENNIT)}, ""),
    "alpha5_beta4": (dict.fromkeys(("conv", "dense"), lrp.alpha_beta(ZENNIT, 5, 4)), ""),
    "gamma": (dict.fromkeys(("conv", "dense"), lrp.gamma(ZENNIT, 0.25)), ""),
    "w_square": (dict.fromkeys(("conv", "dense"), lrp.w_square(ZENNIT)), ""),
    "flat": (dict.fromkeys(("conv", "dense"), lrp.flat(ZENNIT)), ""),
    "lrp_cmp": ({"conv": lrp.alpha_beta(ZENNIT, 2, 1), "dense": lrp.epsilon(ZENNIT, 0.0)}, ""),
    "epsilon_plus": ({"conv": lrp.z_plus(ZENNIT)}, ""),
    "epsilon_plus_flat": ({"conv": lrp.z_plus(ZENNIT)}, "flat"),
    "epsilon_alpha2_beta1": ({"conv": lrp.alpha_beta(ZENNIT, 2, 1)}, ""),
    "epsilon_alpha2_beta1_flat": ({"conv": lrp.alpha_beta(ZENNIT, 2, 1)}, "flat"),
    "epsilon_gamma_box": ({"conv": lrp.gamma(ZENNIT, 0.25)}, "box"),
}


#: Rules that hand relevance, or much more than all of it, to sums of branches that cancel: what
#: float32 keeps of such a sum has too few digits to compare.
CANCELLING = ("w_square", "flat", "alpha5_beta4")


def logit(net: Net, x: Array, target: int) -> Array:
    """Return the score of a class, at its place."""
    scores = net.forward(x)[net.out]
    return np.where(np.arange(len(scores)) == target, scores, 0)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("make", [nets.residual, nets.plain_residual], ids=lambda f: f.__name__)
def test_a_recipe(recipe: str, make: Callable[[Rng], Net], rng: Rng) -> None:
    net = make(rng)
    agree(
        net, {"x": drawn(net, rng)}, lambda one: RECIPES[recipe](net, one, 1),
        method="lrp", composite=recipe, target=1, account="explicit",
    )  # fmt: skip


@pytest.mark.parametrize("policy", ["proportional", "ratio", "symmetric"])
@pytest.mark.parametrize("skips", ["include", "exclude"])
@pytest.mark.parametrize("rule", ["epsilon", "z_plus"])
@pytest.mark.parametrize("make", [nets.residual, nets.plain_residual], ids=lambda f: f.__name__)
def test_a_residual_policy(
    policy: str, skips: str, rule: str, make: Callable[[Rng], Net], rng: Rng
) -> None:
    net = make(rng)
    one_layer, rules = merged(net), {**EPSILON, **COMPOSITES[rule][0]}

    def wanted(x: Array) -> Relevance:
        return explain(one_layer, x, logit(net, x, 2), rules, residual=policy,
                       identity_skips=skips)  # fmt: skip

    # under epsilon a branch is divided by itself, and next to 0 float32 has no digits of it
    whole = policy == "proportional" and skips == "include"
    single = SINGLE if rule == "z_plus" or whole else None
    agree(
        net, {"x": drawn(net, rng)}, wanted, single=single, method="lrp", composite=rule, target=2,
        residual=policy, account="explicit", set={"identity_skips": skips},
    )  # fmt: skip


@pytest.mark.parametrize("how", ["merge", "linear", "pass"])
def test_batchnorms(how: str, rng: Rng) -> None:
    net = nets.residual(rng)
    rules = {**EPSILON} if how != "pass" else {k: r for k, r in EPSILON.items() if k != "batchnorm"}
    seen = merged(net) if how == "merge" else net
    agree(
        net, {"x": drawn(net, rng)}, lambda x: explain(seen, x, logit(net, x, 0), rules),
        single=SINGLE if how != "pass" else None,  # z of a sum that cancels divides R itself
        method="lrp", composite="epsilon", target=0, account="explicit", set={"batchnorm": how},
    )  # fmt: skip


@every_net
@pytest.mark.parametrize("name", COMPOSITES)
def test_a_composite(name: str, make: Callable[[Rng], Net], rng: Rng) -> None:
    net = make(rng)
    rules, first = COMPOSITES[name]
    seen, rules = merged(net), {**EPSILON, **rules}
    if first == "flat":
        rules[seen.steps[0].name] = lrp.flat(ZENNIT)
    if first == "box" and seen.steps[0].kind == "conv":
        rules[seen.steps[0].name] = lrp.z_box(ZENNIT, -4, 4)
    numbers: dict[str, Any] = {"low": -4, "high": 4} if first == "box" else {}
    cancels = name in CANCELLING and any(s.kind == "add" for s in net.steps)
    agree(
        net, {"x": drawn(net, rng)}, lambda x: explain(seen, x, logit(net, x, 1), rules),
        single=None if cancels else SINGLE,
        method="lrp", composite=name, target=1, account="explicit", set=numbers,
    )  # fmt: skip


def test_excitation_backprop(rng: Rng) -> None:
    """As Zennit has it: with the positive part of biases."""
    net = nets.vgg(rng)
    rules = dict.fromkeys(("conv", "dense"), lrp.z_plus(ZENNIT))
    agree(
        net, {"x": drawn(net, rng)}, lambda x: explain(net, x, one_hot(net, 1), rules),
        method="excitation_backprop", target=1, account="explicit",
    )  # fmt: skip


def test_contrastive_excitation_backprop(rng: Rng) -> None:
    net = nets.vgg(rng)
    rules = dict.fromkeys(("conv", "dense"), excitation(ZENNIT))
    rules["scores"] = contrastive_excitation(ZENNIT)
    agree(
        net, {"x": drawn(net, rng)}, lambda x: explain(net, x, one_hot(net, 1), rules).x,
        method="excitation_backprop", target=1,
        set={"contrastive": True, "z_plus_bias": "none", "z_plus_dense_bias": "none"},
    )  # fmt: skip


@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "alpha5_beta4", "gamma", "w_square", "flat"])
def test_batchnorms_in_front(rule: str, rng: Rng) -> None:
    net = nets.normalised(rng)
    seen, rules = merged_ahead(net), {**EPSILON, **COMPOSITES[rule][0]}
    agree(
        net, {"x": drawn(net, rng)}, lambda x: explain(seen, x, logit(net, x, 0), rules),
        method="lrp", composite=rule, target=0, account="explicit",
    )  # fmt: skip


@pytest.mark.parametrize("positive", [False, True])
def test_contrastive_lrp(positive: bool, rng: Rng) -> None:
    net = nets.vgg(rng)
    agree(
        net, {"x": drawn(net, rng)}, lambda x: contrastive_lrp(net, x, 1, positive=positive),
        method="lrp", composite="z_plus", target=1, seed_value="contrastive",
        set={"positive": positive},
    )  # fmt: skip


@pytest.mark.parametrize("flavor", ["zennit", "captum", "innvestigate"])
@pytest.mark.parametrize("make", [nets.vgg, nets.pools, nets.layers], ids=lambda f: f.__name__)
def test_a_flavor_on_a_network(flavor: str, make: Callable[[Rng], Net], rng: Rng) -> None:
    net, f = make(rng), lrp.FLAVORS[flavor]
    rules = {"conv": lrp.z_plus(f), "dense": lrp.epsilon(f)}
    average = lrp.epsilon(replace(f, eps=f.stabiliser, epsilon_away=f.away))
    rules |= dict.fromkeys(("avgpool", "global"), average)
    agree(
        net, {"x": drawn(net, rng)}, lambda x: explain(net, x, logit(net, x, 1), rules),
        method="lrp", composite="epsilon_plus", flavor=flavor, target=1, account="explicit",
    )  # fmt: skip


def test_a_batchnorm_of_its_own_in_captum(rng: Rng) -> None:
    net, f = nets.residual(rng), lrp.FLAVORS["captum"]
    kinds = ("conv", "dense", "avgpool", "global", "batchnorm")
    rules = dict.fromkeys(kinds, lrp.epsilon(f))

    def wanted(x: Array) -> Relevance:
        return explain(net, x, logit(net, x, 1), rules, stabiliser=f.stabiliser)

    agree(
        net, {"x": drawn(net, rng)}, wanted, method="lrp", composite="epsilon", flavor="captum",
        target=1, account="explicit",
    )  # fmt: skip


def test_a_box_around_the_sample(rng: Rng) -> None:
    net = nets.vgg(rng)

    def wanted(x: Array) -> Relevance:
        box = lrp.z_box(ZENNIT, x.min(), x.max())
        rules = {**EPSILON, "conv": lrp.gamma(ZENNIT, 0.25), "c1": box}
        return explain(net, x, logit(net, x, 1), rules)

    agree(
        net, {"x": drawn(net, rng)}, wanted, method="lrp", composite="epsilon_gamma_box", target=1,
        account="explicit",
    )  # fmt: skip


def test_rules_by_place_and_name(rng: Rng) -> None:
    net = nets.vgg(rng)
    rules = {
        **EPSILON, "c1": lrp.flat(ZENNIT), "c2": lrp.alpha_beta(ZENNIT, 3, 2),
        "c3": lrp.gamma(ZENNIT, 0.5), "d1": lrp.z_plus(ZENNIT), "scores": lrp.epsilon(ZENNIT, 0.1),
    }  # fmt: skip
    agree(
        net, {"x": drawn(net, rng)}, lambda x: explain(net, x, logit(net, x, 1), rules),
        method="lrp", composite="w_square", target=1, account="explicit",
        rules=("first=flat", "conv=gamma(gamma=0.5)", "dense=z_plus", "last=epsilon(eps=0.1)",
               "c2_node=alpha_beta(alpha=3,beta=2)"),
    )  # fmt: skip


def test_the_sum_over_channels(rng: Rng) -> None:
    net = nets.vgg(rng)
    rules = dict.fromkeys(("conv", "dense"), lrp.z_plus(ZENNIT))

    def wanted(x: Array) -> Array:
        found = explain(net, x, logit(net, x, 1), rules).x
        return found.reshape(net.shape).sum(axis=0).ravel()

    agree(
        net, {"x": drawn(net, rng)}, wanted, method="lrp", composite="z_plus", target=1,
        readout="channels",
    )  # fmt: skip


@pytest.mark.parametrize("reading", ["scaled", "printed", "code"])
def test_heat(reading: str, rng: Rng) -> None:
    net = nets.residual(rng)
    shape = net.shape

    def wanted(x: Array) -> Array:
        channels = RECIPES["lrp_resnet"](net, x, 1).x.reshape(shape).sum(axis=0)
        return quantized(channels, 8, reading)

    # a float32 next to an edge may fall to the other side of it: one step of the seven or eight,
    # relative to the largest entry, which is half of the range at least
    agree(
        net, {"x": drawn(net, rng)}, wanted, single=2 / 7 + SINGLE, method="lrp",
        composite="lrp_resnet", target=1, readout="heat", set={"quantize": reading},
    )  # fmt: skip


@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "gamma", "alpha5_beta4", "w_square", "flat"])
def test_relevance_passes_any_activation(rule: str, rng: Rng) -> None:
    net, rules = nets.smooth(rng), {**EPSILON, **COMPOSITES[rule][0]}
    agree(
        net, {"x": drawn(net, rng)}, lambda x: explain(net, x, logit(net, x, 1), rules),
        method="lrp", composite=rule, target=1, account="explicit",
    )  # fmt: skip


@pytest.mark.parametrize("reading", ["scaled", "printed", "code"])
@pytest.mark.parametrize("bins", [8, 5])
def test_the_edges_of_heat(reading: str, bins: int, rng: Rng) -> None:
    """The largest entry of every sample is on the last edge, however its quotients round."""
    net = nets.vgg(rng)
    rules = dict.fromkeys(("conv", "dense"), lrp.z_plus(ZENNIT))

    def wanted(x: Array) -> Array:
        found = explain(net, x, logit(net, x, 1), rules).x
        return quantized(found.reshape(net.shape).sum(axis=0), bins, reading)

    agree(
        net, {"x": drawn(net, rng, 24)}, wanted, single=None, method="lrp", composite="z_plus",
        target=1, readout="heat", set={"quantize": reading, "bins": bins},
    )  # fmt: skip
