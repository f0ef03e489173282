"""The references of LRP themselves: nothing is lost, and rules that have to agree do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.reference import lrp, nets, resnet
from tests.reference.net import Linear, Net
from tests.reference.patterns import linear_pattern, positive_pattern

ZENNIT = lrp.FLAVORS["zennit"]
Rng = np.random.Generator
RULES: dict[str, Callable[[lrp.Flavor], lrp.Rule]] = {
    "epsilon": lrp.epsilon,
    "z_plus": lrp.z_plus,
    "alpha_beta": lambda f: lrp.alpha_beta(f, 2, 1),
    "gamma": lambda f: lrp.gamma(f, 0.25),
    "w_square": lrp.w_square,
    "flat": lrp.flat,
    "z_box": lambda f: lrp.z_box(f, -3, 3),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_gives_everything_away(rule: str, rng: Rng) -> None:
    w = rng.normal(size=(5, 8))
    layer = Linear(w, rng.normal(size=5), np.ones_like(w, bool))
    x, r = rng.normal(size=8), rng.normal(size=5)
    tiny = lrp.Flavor(1e-12, 1e-12, square_bias=True)
    split = RULES[rule](tiny)(layer, x, r)
    assert split.parts[0].sum() + split.bias == pytest.approx(r.sum(), rel=1e-8)


def test_z_plus_is_alpha_beta_without_beta(rng: Rng) -> None:
    w = rng.normal(size=(5, 8))
    layer = Linear(w, rng.normal(size=5), np.ones_like(w, bool))
    x, r = rng.normal(size=8), rng.normal(size=5)
    one, two = (f(layer, x, r) for f in (lrp.z_plus(ZENNIT), lrp.alpha_beta(ZENNIT, 1, 0)))
    np.testing.assert_allclose(one.parts[0], two.parts[0], rtol=1e-12)


def test_both_gammas_agree_on_what_is_not_negative(rng: Rng) -> None:
    w = rng.normal(size=(5, 8)) + 1.5
    layer = Linear(w, np.zeros(5), np.ones_like(w, bool))
    x, r = rng.uniform(size=8), rng.normal(size=5)
    assert (w @ x > 0).all()
    plain = lrp.Flavor(1e-6, 1e-6, gamma="plain")
    one, two = (lrp.gamma(f, 0.25)(layer, x, r) for f in (ZENNIT, plain))
    np.testing.assert_allclose(one.parts[0], two.parts[0], rtol=1e-12)


@pytest.mark.parametrize("make", nets.NETS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("policy", ["proportional", "ratio", "symmetric"])
@pytest.mark.parametrize("skips", ["include", "exclude"])
def test_nothing_is_lost(make: Callable[[Rng], Net], policy: str, skips: str, rng: Rng) -> None:
    net = make(rng)
    x = rng.normal(size=net.shape)
    seed = rng.normal(size=net.forward(x)[net.out].shape)
    kinds = ("conv", "dense", "avgpool", "global", "batchnorm")
    found = resnet.explain(net, x, seed, dict.fromkeys(kinds, lrp.epsilon(ZENNIT)),
                           residual=policy, identity_skips=skips)  # fmt: skip
    assert found.x.sum() + found.bias + found.leak == pytest.approx(seed.sum())
    size = np.abs(found.x).sum() + abs(found.bias) + np.abs(seed).sum()
    assert abs(found.leak) < 1e-3 * size


def test_epsilon_with_proportional_sums_is_gradient_times_input(rng: Rng) -> None:
    net = nets.plain_residual(rng)
    x = rng.normal(size=net.shape)
    seed = np.where(np.arange(3) == 1, net.forward(x)[net.out], 0)
    tiny = lrp.Flavor(1e-13, 1e-13)
    kinds = ("conv", "dense", "avgpool", "global", "batchnorm")
    found = resnet.explain(net, x, seed, dict.fromkeys(kinds, lrp.epsilon(tiny)))
    slopes = []
    for h in 1e-5 * np.eye(x.size):
        step = h.reshape(x.shape)
        slopes.append(
            (net.forward(x + step)[net.out][1] - net.forward(x - step)[net.out][1]) / 2e-5
        )
    np.testing.assert_allclose(found.x, np.array(slopes) * x.ravel(), rtol=1e-3, atol=1e-4)


def test_merged_batchnorms_leave_the_output_as_it_is(rng: Rng) -> None:
    net = nets.residual(rng)
    x = rng.normal(size=net.shape)
    one, two = (n.forward(x)[net.out] for n in (net, resnet.merged(net)))
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_batchnorms_merged_ahead_leave_the_output_as_it_is(rng: Rng) -> None:
    net = nets.normalised(rng)
    x = rng.normal(size=net.shape)
    one, two = (n.forward(x)[net.out] for n in (net, resnet.merged_ahead(net)))
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_quantization(rng: Rng) -> None:
    a = rng.normal(size=(6, 5))
    maps = {k: resnet.quantized(a, 8, k) for k in ("printed", "scaled", "code")}
    for found in maps.values():
        assert ((found[:, :, None, None] - found) * (a[:, :, None, None] - a) >= 0).all()
    assert len(np.unique(maps["code"])) <= 8
    assert maps["scaled"].min() == a.min()
    assert maps["scaled"].max() == pytest.approx(a.max())
    assert maps["code"].max() == a.max()
    assert (np.abs(maps["scaled"] - a) <= (a.max() - a.min()) / 8 + 1e-12).all()
    np.testing.assert_array_equal(resnet.quantized(np.ones((2, 2)), 8, "scaled"), np.ones((2, 2)))


def test_patterns_read_their_weight_as_one(rng: Rng) -> None:
    h, w = rng.normal(size=(50, 6)), rng.normal(size=6)
    assert w @ linear_pattern(h, w) == pytest.approx(1)
    assert w @ positive_pattern(h, w, 0.3) == pytest.approx(1)
