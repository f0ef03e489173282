"""What a user can ask of a conversion, checked once, and readable from metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from math import inf, isfinite
from typing import Any, get_args

from rfponnx.errors import OptionError, nearest
from rfponnx.ops.op import Kind, Numbers, Release

BIAS_MODES = ("separate", "explicit", "split", "split_signed")
LAYOUTS = ("auto", "separate", "stacked")
READOUTS = ("all", "predicted")
NUMBERS = ("eps", "shift")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `convert --method rfp` (DESIGN 3).

    Attributes
    ----------
    linearisation
        Patterns of node names and how they are linearised; the last that matches wins.
    release
        Patterns of node names and which factor of a product is a constant.
    explain
        Tensors to explain instead of the outputs; nothing is looked through.
    """

    bias: str = "separate"
    layout: str = "auto"
    readout: str = "all"
    linearisation: tuple[tuple[str, str], ...] = (("*", "weighted"),)
    release: tuple[tuple[str, str], ...] = ()
    explain: tuple[str, ...] = ()
    class_axis: int | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("--bias", self.bias, BIAS_MODES)
        _one_of("--layout", self.layout, LAYOUTS)
        _one_of("--readout", self.readout, READOUTS)
        for _, kind in self.linearisation:
            _one_of("--linearisation", kind, get_args(Kind))
        for _, release in self.release:
            _one_of("--release", release, get_args(Release))
        for key, value in self.numbers.items():
            _one_of("--set", key, NUMBERS)
            if key == "eps" and not 0 < value < inf:
                raise OptionError(f"eps is {value}", "--set", "give a number above 0")
            if not isfinite(value):
                raise OptionError(f"{key} is {value}", "--set", "give a finite number")

    def of_node(self, label: str) -> Numbers:
        """Return the settings in force for one node."""
        kind = _last(self.linearisation, label, "weighted")
        release = _last(self.release, label, "auto")
        return Numbers(kind, release, **self.numbers)  # type: ignore[arg-type]

    def check_patterns(self, labels: Sequence[str]) -> None:
        """Refuse a pattern that fits none of the nodes: a slip would change nothing, silently."""
        for option in ("linearisation", "release"):
            for pattern, _ in getattr(self, option):
                if pattern != "*" and not any(_fits(label, pattern) for label in labels):
                    what = f"no node is called `{pattern}`"
                    raise OptionError(what, f"--{option}", nearest(pattern, labels))

    def as_json(self) -> dict[str, Any]:
        """Return the options as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Options:
        """Read what `as_json` wrote."""
        known = {f.name for f in fields(cls)}
        given = {k: v for k, v in data.items() if k in known}
        for key in ("linearisation", "release"):
            given[key] = tuple((str(p), str(v)) for p, v in given.get(key, ()))
        given["explain"] = tuple(given.get("explain", ()))
        return cls(**given)


def patterns(option: str, given: tuple[str, ...], plain: bool) -> tuple[tuple[str, str], ...]:
    """Read ``PATTERN=VALUE``; a bare ``VALUE`` is for every node where `plain` allows it.

    Raises
    ------
    OptionError
        No ``=`` where there has to be one.
    """
    found = []
    for text in given:
        pattern, equals, value = text.rpartition("=")
        if not equals and not plain:
            raise OptionError(f"`{text}` is not PATTERN=VALUE", option)
        found.append((pattern if equals else "*", value))
    return tuple(found)


def _last(rules: tuple[tuple[str, str], ...], label: str, default: str) -> str:
    hits = [value for pattern, value in rules if _fits(label, pattern)]
    return hits[-1] if hits else default


def _fits(label: str, pattern: str) -> bool:
    return label == pattern or fnmatchcase(label, pattern)  # a name may hold brackets


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        hint = nearest(value, allowed) or f"it can be {', '.join(allowed)}"
        raise OptionError(f"no value `{value}`", option, hint)
