"""Composites: which rule for which layer, as data, in Python or in a TOML file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rfponnx.errors import OptionError, nearest
from rfponnx.rules.convention import Convention
from rfponnx.rules.rule import ALIASES as RULE_ALIASES
from rfponnx.rules.rule import RULES

#: What rules can be given for, besides patterns of node names; the most specific one first.
PLACES = ("first_conv", "first", "last", "conv", "dense", "batchnorm", "add", "pool")


@dataclass(frozen=True, slots=True)
class Composite:
    """Rules by place, and the conventions that go with them.

    Attributes
    ----------
    rules
        From a place (`PLACES`) or a pattern of node names to ``NAME`` or ``NAME(key=value)``.
    settings
        Fields of a `Convention` (``residual``, ``eps``, ...).
    flavor
        The tool whose conventions are meant, unless another one is asked for.
    """

    name: str = "custom"
    rules: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    flavor: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the composite as JSON data."""
        return {**asdict(self), "rules": dict(self.rules), "settings": dict(self.settings)}


def _everywhere(rule: str) -> Composite:
    return Composite(rule, {"conv": rule, "dense": rule})


def _named(name: str, conv: str, **more: str) -> Composite:
    return Composite(name, {"conv": conv, "dense": "epsilon", **more})


#: Rules that are made for some layers, not for all.
PARTIAL = ("norm", "ones_plus", "contrastive")

#: The composites by name.
COMPOSITES: Mapping[str, Composite] = MappingProxyType(
    {
        **{
            name: _everywhere(name)
            for name in RULES
            if name not in ("norm", "ones_plus", "contrastive")
        },
        "epsilon_plus": _named("epsilon_plus", "z_plus"),
        "epsilon_plus_flat": _named("epsilon_plus_flat", "z_plus", first="flat"),
        "epsilon_alpha2_beta1": _named("epsilon_alpha2_beta1", "alpha2_beta1"),
        "epsilon_alpha2_beta1_flat": _named(
            "epsilon_alpha2_beta1_flat", "alpha2_beta1", first="flat"
        ),
        "epsilon_gamma_box": _named("epsilon_gamma_box", "gamma", first_conv="z_box"),
        "excitation_backprop": Composite(
            "excitation_backprop", {"conv": "z_plus", "dense": "z_plus"}, {"seed": "one"}
        ),
        "lrp_resnet": Composite(
            "lrp_resnet",
            {"conv": "z_plus", "dense": "z_plus", "pool": "z_plus"},
            flavor="lrp_resnet",
        ),
        "lrp_resnet_code": Composite(
            "lrp_resnet_code",
            {"conv": "z_plus", "dense": "z_plus", "pool": "z_plus", "first": "ones_plus"},
            flavor="lrp_resnet_code",
        ),
        "lrp_cmp": Composite("lrp_cmp", {"conv": "alpha_beta", "dense": "lrp_0"}),
    }
)
#: Other names, as other tools have them.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        **{alias: name for alias, name in RULE_ALIASES.items() if name in COMPOSITES},
        "EpsilonPlus": "epsilon_plus",
        "EpsilonPlusFlat": "epsilon_plus_flat",
        "EpsilonAlpha2Beta1": "epsilon_alpha2_beta1",
        "EpsilonAlpha2Beta1Flat": "epsilon_alpha2_beta1_flat",
        "EpsilonGammaBox": "epsilon_gamma_box",
        "ExcitationBackprop": "excitation_backprop",
        "lrp.z": "lrp_0",
        "lrp.epsilon": "epsilon",
        "lrp.flat": "flat",
        "lrp.w_square": "w_square",
        "lrp.z_plus": "z_plus",
        "lrp.alpha_1_beta_0": "alpha1_beta0",
        "lrp.alpha_2_beta_1": "alpha2_beta1",
        "lrp.sequential_preset_a": "epsilon_plus",
        "lrp.sequential_preset_b": "epsilon_alpha2_beta1",
        "lrp.sequential_preset_a_flat": "epsilon_plus_flat",
        "lrp.sequential_preset_b_flat": "epsilon_alpha2_beta1_flat",
    }
)


def composite(given: str | Path | Mapping[str, Any] | Composite) -> Composite:
    """Return a composite by its name, from a TOML file, or from data.

    Raises
    ------
    OptionError
        No such name; the file cannot be read or holds something else.
    """
    if isinstance(given, Composite):
        return given
    if isinstance(given, Mapping):
        return _from_data(given, "--composite")
    text = str(given)
    if text.endswith(".toml"):
        return _from_file(Path(text))
    name = ALIASES.get(text, text)
    if name not in COMPOSITES:
        hint = nearest(name, {*COMPOSITES, *ALIASES}) or f"it can be {', '.join(COMPOSITES)}"
        raise OptionError(f"no composite `{text}`", "--composite", hint)
    return COMPOSITES[name]


def named(given: str | os.PathLike[str] | Mapping[str, Any] | Composite) -> str | dict[str, Any]:
    """Return a composite as options keep it: the name of a known one, else its data."""
    found = composite(given if isinstance(given, Mapping | Composite) else str(given))
    return found.name if COMPOSITES.get(found.name) == found else found.as_json()


def _from_file(path: Path) -> Composite:
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise OptionError(error.strerror or "cannot be read", f"--composite {path}") from None
    except ValueError as error:
        raise OptionError(f"is no TOML: {error}", f"--composite {path}") from None
    return _from_data({"name": path.stem, **data}, f"--composite {path}")


def _from_data(data: Mapping[str, Any], where: str) -> Composite:
    conventions = {f.name for f in fields(Convention)}
    known = {"name", "rules", "settings", "set", "flavor", *conventions}
    for key in data:
        if key not in known:
            raise OptionError(f"no entry `{key}`", where, nearest(key, known))
    rules, tables = data.get("rules", {}), (data.get("settings", {}), data.get("set", {}))
    settings = {key: value for key, value in data.items() if key in conventions}
    for name, table in (("rules", rules), ("settings", tables[0]), ("set", tables[1])):
        if not isinstance(table, Mapping):
            raise OptionError(f"`{name}` is no table", where)
    for table in tables:
        settings |= table
    texts = {str(place): _rule_text(rule, where) for place, rule in rules.items()}
    flavor = data.get("flavor")
    if flavor is not None:
        flavor = str(flavor)
    return Composite(str(data.get("name", "custom")), texts, settings, flavor)


def _rule_text(rule: Any, where: str) -> str:
    """Return ``NAME(key=value)`` of a rule given so, or as a table with an entry `rule`."""
    if isinstance(rule, str):
        return rule
    if not isinstance(rule, Mapping) or "rule" not in rule:
        raise OptionError(f"`{rule}` is no rule", where, "give a name, or a table with `rule`")
    numbers = ", ".join(f"{key}={value}" for key, value in rule.items() if key != "rule")
    return f"{rule['rule']}({numbers})" if numbers else str(rule["rule"])
