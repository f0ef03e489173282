"""What a verification found: one line per check, a bound beside every value."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

REPORTED = "reported"  # the bound of a check that is not judged


@dataclass(frozen=True, slots=True)
class Check:
    """One law, judged.

    Attributes
    ----------
    name
        What was checked.
    value, bound
        What was found and what may be found; the bound of what is only shown is "reported".
    note
        Where it first breaks, or what the value stands on.
    """

    name: str
    value: float | int | str
    bound: float | str
    passed: bool
    note: str = ""

    @property
    def severity(self) -> float:
        """How far the value lies above its bound; the larger the worse."""
        if isinstance(self.value, str) or isinstance(self.bound, str):
            return 0.0 if self.passed else math.inf
        if self.value <= self.bound:
            return self.value / self.bound if self.bound else 0.0
        ratio = self.value / self.bound if self.bound else math.inf
        return ratio if math.isfinite(ratio) else math.inf


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)

    def worst_first(self) -> tuple[Check, ...]:
        """Return the checks for people: what failed first, then by how close it came."""
        return tuple(sorted(self.checks, key=lambda c: (c.passed, -c.severity)))

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON data; a value that JSON cannot hold becomes text."""
        return {
            "passed": self.passed,
            "checks": [{k: _plain(v) for k, v in asdict(c).items()} for c in self.checks],
        }


def judged(name: str, value: float | int, bound: float, note: str = "") -> Check:
    """Return a check that passes if the value is at most the bound; NaN never is."""
    return Check(name, value, bound, bool(value <= bound), note)


def reported(name: str, value: float | int | str, note: str = "") -> Check:
    """Return a check that is shown and not judged."""
    return Check(name, value, REPORTED, True, note)


def _plain(value: Any) -> Any:
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if finite else str(value)
