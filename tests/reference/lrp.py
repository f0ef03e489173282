"""LRP as it is printed, for one linear layer: sums over inputs i for every output j.

A rule takes the matrix w [j, i], the bias b [j], where the matrix may hold something
(`window`), the input x and the relevance of the outputs, and returns the relevance of the
inputs and what its biases take.  A flavor is the spelling of one other tool.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.reference.net import Array, Linear
from tests.reference.walk import Split

Rule = Callable[[Linear, Array, Array], Split]


def pos(a: Array) -> Array:
    """Return the positive part."""
    return np.maximum(a, 0)


def neg(a: Array) -> Array:
    """Return the negative part, which is negative."""
    return np.minimum(a, 0)


def signed(d: Array, eps: float) -> Array:
    """Return d away from 0, on its own side; 0 counts as positive."""
    return d + eps * np.where(d >= 0, 1, -1)


def unsigned(d: Array, eps: float) -> Array:
    """Return d + eps."""
    return d + eps


def only_zero(d: Array, eps: float) -> Array:
    """Return d, but eps for exactly 0."""
    return d + eps * (d == 0)


@dataclass(frozen=True)
class Flavor:
    """How a tool spells its rules.

    Attributes
    ----------
    away
        How a denominator is kept from 0, by `eps` in the epsilon rule and `stabiliser` elsewhere.
    plus_bias
        What of b is in the denominator of z_plus: its positive part, all or nothing.
    alpha_beta_bias
        The same for both halves of alpha_beta: each its own part, all or nothing.
    split
        Whether negative inputs are paired with negative weights, or only weights are cut.
    gamma
        ``generalised`` or ``plain``; ``None`` where the tool has no such rule.
    square_bias
        Whether b^2 stands in the denominator of w_square.
    """

    eps: float
    stabiliser: float
    away: Callable[[Array, float], Array] = signed
    epsilon_away: Callable[[Array, float], Array] = signed
    plus_bias: str = "part"
    alpha_beta_bias: str = "part"
    split: bool = True
    gamma: str | None = "generalised"
    square_bias: bool = False


FLAVORS = {
    "zennit": Flavor(1e-6, 1e-6, square_bias=True),
    "captum": Flavor(
        1e-9, 1e-9, plus_bias="all", alpha_beta_bias="all", split=False, gamma="plain"
    ),
    "innvestigate": Flavor(
        1e-7, 1e-7, away=only_zero, plus_bias="none", alpha_beta_bias="all", gamma=None
    ),
    "lxt": Flavor(1e-6, 1e-6, away=unsigned, epsilon_away=unsigned, gamma=None),
}


def shares(c: Array, b: Array, r: Array, d: Array) -> Split:
    """Return ``R_i = sum_j c_ij / d_j R_j`` and ``sum_j b_j / d_j R_j``."""
    q = np.divide(r, d, out=np.zeros_like(r), where=d != 0)
    return Split([(c * q[:, None]).sum(axis=0)], float(b @ q))


def both(one: Split, other: Split, scale: float = 1.0) -> Split:
    """Return the sum of two."""
    return Split([one.parts[0] + scale * other.parts[0]], one.bias + scale * other.bias)


def epsilon(f: Flavor, eps: float | None = None) -> Rule:
    """``w x / (z + eps sign z)``."""

    def rule(layer: Linear, x: Array, r: Array) -> Split:
        c = layer.matrix * x
        d = c.sum(axis=1) + layer.bias
        return shares(c, layer.bias, r, f.epsilon_away(d, f.eps if eps is None else eps))

    return rule


def _kept(b: Array, how: str, part: Callable[[Array], Array]) -> Array:
    return {"part": part(b), "all": b, "none": np.zeros_like(b)}[how]


def z_plus(f: Flavor) -> Rule:
    """``(w x)^+`` over its sum; without the split of x, ``w^+ x``."""

    def rule(layer: Linear, x: Array, r: Array) -> Split:
        c = pos(layer.matrix * x) if f.split else pos(layer.matrix) * x
        b = _kept(layer.bias, f.plus_bias, pos)
        return shares(c, b, r, f.away(c.sum(axis=1) + b, f.stabiliser))

    return rule


def alpha_beta(f: Flavor, alpha: float, beta: float) -> Rule:
    """Alpha times the positive shares less beta times the negative ones."""

    def rule(layer: Linear, x: Array, r: Array) -> Split:
        halves = []
        for part in (pos, neg):
            c = part(layer.matrix * x) if f.split else part(layer.matrix) * x
            b = _kept(layer.bias, f.alpha_beta_bias, part)
            halves.append(shares(c, b, r, f.away(c.sum(axis=1) + b, f.stabiliser)))
        scaled = Split([alpha * halves[0].parts[0]], alpha * halves[0].bias)
        return both(scaled, halves[1], -beta)

    return rule


def gamma(f: Flavor, g: float) -> Rule:
    """``w + g w^+`` in place of w; generalised, the half that agrees with the sign of z."""

    def plain(layer: Linear, x: Array, r: Array) -> Split:
        c = (layer.matrix + g * pos(layer.matrix)) * x
        return shares(c, layer.bias, r, f.away(c.sum(axis=1) + layer.bias, f.stabiliser))

    def generalised(layer: Linear, x: Array, r: Array) -> Split:
        wx, b = layer.matrix * x, layer.bias
        z = wx.sum(axis=1) + b
        found = Split([np.zeros(len(x))])
        for part, rows in ((pos, z > 0), (neg, z < 0)):
            # w^+ x^+ and w^- x^- are the positive products, w^+ x^- and w^- x^+ the negative ones
            c, share = wx + g * part(wx), b + g * part(b)
            d = f.away(c.sum(axis=1) + share, f.stabiliser)
            found = both(found, shares(c, share, np.where(rows, r, 0), d))
        return found

    return plain if f.gamma == "plain" else generalised


def w_square(f: Flavor) -> Rule:
    """``w^2`` over its sum."""

    def rule(layer: Linear, x: Array, r: Array) -> Split:
        c, b = layer.matrix**2, layer.bias**2 * f.square_bias
        return shares(c, b, r, f.away(c.sum(axis=1) + b, f.stabiliser))

    return rule


def flat(f: Flavor) -> Rule:
    """The same to every entry of the receptive field, padding left out."""

    def rule(layer: Linear, x: Array, r: Array) -> Split:
        c = layer.window.astype(np.float64)
        return shares(c, np.zeros_like(layer.bias), r, f.away(c.sum(axis=1), f.stabiliser))

    return rule


def z_box(f: Flavor, low: float, high: float) -> Rule:
    """``w x - w^+ low - w^- high`` over its sum."""

    def rule(layer: Linear, x: Array, r: Array) -> Split:
        c = layer.matrix * x - pos(layer.matrix) * low - neg(layer.matrix) * high
        return shares(c, np.zeros_like(layer.bias), r, f.away(c.sum(axis=1), f.stabiliser))

    return rule
