"""Conventions of layer-wise relevance propagation on which its implementations differ.

Every difference is one field of a `Convention`; a named *flavor* fills all fields as one tool
does.  Options of a conversion replace single fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf, isfinite
from types import MappingProxyType
from typing import Any

from rfponnx.errors import OptionError, nearest


@dataclass(frozen=True, slots=True)
class Convention:
    """How the rules are meant.

    Attributes
    ----------
    eps
        Of the epsilon rule; 0 makes its gain a mask.
    stabiliser
        Of all other denominators.
    sign
        ``signed``: ``d + eps sign(d)`` with sign(0) = 1; ``unsigned``: ``d + eps``.
    epsilon_bias
        ``keep``: biases take their share; ``absorb``: layers are normalised without them.
    z_plus_bias, z_plus_dense_bias
        In the denominator of the z+ rule (of dense layers): ``positive``, ``all``, ``none``.
    split
        Whether the z+ rule pairs positive x with positive w and negative x with negative w; else
        x keeps its sign and only w is cut.
    alpha_beta_bias
        In both denominators: ``split`` by sign, ``all`` in both, ``none``.
    gamma_form
        ``generalised``: for x and z of either sign; ``plain``: ``w + gamma w+`` always;
        ``printed``: ``w (1 + gamma w+)``, as the supplement of [RFP] has it.
    gamma_bias
        ``gamma``: b like w; ``plain``: b itself; ``none``.
    w_square_bias
        Whether b^2 stands in the denominator.
    gamma, alpha, beta, low, high
        Of the rules; the ends of z_box are numbers, or ``min`` and ``max`` of the sample.
    batchnorm
        ``merge`` into the neighbouring layer, ``linear``: a layer of its own, ``pass``.
    residual
        How a sum of branches is divided: ``proportional``, ``ratio``, ``symmetric``.
    identity_skips
        Whether a branch that does nothing gets a share: ``include``, ``exclude``.
    maxpool
        ``winner``; ``stabilised``: the winner gets ``y / (y + stabiliser)``; ``average``: of the
        same windows; ``average2``: of windows of 2 x 2.
    seed
        ``logit``, ``one``, ``probability``, ``contrastive``.
    """

    eps: float = 1e-6
    stabiliser: float = 1e-6
    sign: str = "signed"
    epsilon_bias: str = "keep"
    z_plus_bias: str = "positive"
    z_plus_dense_bias: str = "positive"
    split: bool = True
    alpha_beta_bias: str = "split"
    gamma_form: str = "generalised"
    gamma_bias: str = "gamma"
    w_square_bias: bool = True
    gamma: float = 0.25
    alpha: float = 2.0
    beta: float = 1.0
    low: float | str = "min"
    high: float | str = "max"
    batchnorm: str = "merge"
    residual: str = "proportional"
    identity_skips: str = "include"
    maxpool: str = "winner"
    seed: str = "logit"


#: What a field can be, where it is a word.
WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sign": ("signed", "unsigned"),
        "epsilon_bias": ("keep", "absorb"),
        "z_plus_bias": ("positive", "all", "none"),
        "z_plus_dense_bias": ("positive", "all", "none"),
        "alpha_beta_bias": ("split", "all", "none"),
        "gamma_form": ("generalised", "plain", "printed"),
        "gamma_bias": ("gamma", "plain", "none"),
        "batchnorm": ("merge", "linear", "pass"),
        "residual": ("proportional", "ratio", "symmetric"),
        "identity_skips": ("include", "exclude"),
        "maxpool": ("winner", "stabilised", "average", "average2"),
        "seed": ("logit", "one", "probability", "contrastive"),
    }
)

#: The conventions of other tools (the differences are listed in docs/methods.md).
FLAVORS: Mapping[str, Convention] = MappingProxyType(
    {
        "zennit": Convention(),
        "captum": Convention(
            eps=1e-9,
            stabiliser=1e-9,
            z_plus_bias="all",
            z_plus_dense_bias="all",
            split=False,
            alpha_beta_bias="all",
            gamma_form="plain",
            gamma_bias="plain",
            w_square_bias=False,
            batchnorm="linear",
            maxpool="stabilised",
        ),
        "innvestigate": Convention(
            eps=1e-7,
            stabiliser=0.0,
            z_plus_bias="none",
            z_plus_dense_bias="none",
            alpha_beta_bias="all",
            w_square_bias=False,
        ),
        "lxt": Convention(sign="unsigned", w_square_bias=False),
        "lrp_resnet": Convention(
            stabiliser=1e-9,
            z_plus_bias="none",
            z_plus_dense_bias="none",
            alpha_beta_bias="none",
            batchnorm="pass",
            residual="ratio",
            seed="probability",
            w_square_bias=False,
        ),
        "lrp_resnet_code": Convention(
            eps=1e-5,
            stabiliser=1e-5,
            sign="unsigned",
            z_plus_bias="all",
            z_plus_dense_bias="none",
            split=False,
            batchnorm="pass",
            residual="ratio",
            maxpool="average2",
            seed="probability",
        ),
        "printed": Convention(
            sign="unsigned",
            epsilon_bias="absorb",
            z_plus_bias="none",
            z_plus_dense_bias="none",
            alpha_beta_bias="none",
            gamma_form="printed",
            gamma_bias="none",
            w_square_bias=False,
        ),
        "absorb": Convention(
            epsilon_bias="absorb",
            z_plus_bias="none",
            z_plus_dense_bias="none",
            alpha_beta_bias="none",
            gamma_bias="none",
            w_square_bias=False,
        ),
    }
)


def convention(flavor: str | None, *changes: Mapping[str, Any]) -> Convention:
    """Return a flavor with some fields replaced, later changes beating earlier ones.

    Raises
    ------
    OptionError
        No such flavor or field, or a value that a field cannot have.
    """
    name = flavor or "zennit"
    if name not in FLAVORS:
        hint = nearest(name, FLAVORS) or f"it can be {', '.join(FLAVORS)}"
        raise OptionError(f"no flavor `{name}`", "--flavor", hint)
    found = FLAVORS[name]
    for change in changes:
        found = replace(found, **{key: checked(key, value) for key, value in change.items()})
    if (
        not isinstance(found.low, str)
        and not isinstance(found.high, str)
        and found.low > found.high
    ):
        raise OptionError(f"low {found.low:g} is above high {found.high:g}", "--set low")
    return found


def checked(key: str, value: Any) -> Any:
    """Return the value of a field, read from a word or a number.

    Raises
    ------
    OptionError
        It is none that the field can have.
    """
    known = {f.name: f for f in fields(Convention)}
    if key not in known:
        raise OptionError(f"no value `{key}`", "--set", nearest(key, known))
    if key in WORDS:
        if value not in WORDS[key]:
            what = f"{key} is `{value}`"
            hint = nearest(str(value), WORDS[key]) or f"it can be {', '.join(WORDS[key])}"
            raise OptionError(what, f"--set {key}", hint)
        return value
    if key in ("split", "w_square_bias"):
        return truth(key, value)
    if (key, value) in (("low", "min"), ("high", "max")):
        return value
    real = number(key, value)
    if key in ("eps", "stabiliser", "gamma") and real < 0:
        raise OptionError(f"{key} is {value}", f"--set {key}", "give 0 or more")
    return real


def number(key: str, value: Any) -> float:
    """Read a finite number."""
    try:
        real = float("" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        raise OptionError(f"{key} is `{value}`", f"--set {key}", "give a number") from None
    if not isfinite(real) or abs(real) == inf:
        raise OptionError(f"{key} is {value}", f"--set {key}", "give a finite number")
    return real


def truth(key: str, value: Any) -> bool:
    """Read ``true`` or ``false``."""
    words = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
    word = str(value).lower()
    if word not in words:
        raise OptionError(f"{key} is `{value}`", f"--set {key}", "it can be true or false")
    return words[word]
