"""Forward relevance against plain inference: what a converted model costs.

    python -m benchmarks.rfp [--only CASE] [--rounds N] [--memory] [--json FILE]

A case compares the converted model at batch N with plain(N) + plain(S N), which is what S extra
passes beside the prediction would cost, or with plain(N) alone where each source has its own
branch.  Exit 1 if a ratio of CPU-time minima is above its bound.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from benchmarks import models
from benchmarks.measure import Candidate, Memory, Timing, interleave, memory

UNSTEADY = 0.04
"""Difference of the two CPU ratios above which neither should be quoted."""

OPTICAL_SAR = {"optical": "input[:,0:10]", "sar": "input[:,10:12]"}


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Parameters
    ----------
    name, build
        The network.
    batch, sources
        N and S.
    bound
        The largest ratio that passes.
    extra
        Whether plain(S N) belongs to the denominator.
    split
        Sources as `rfponnx.convert` takes them; None: every input is one.
    """

    name: str
    build: Callable[[], onnx.ModelProto]
    batch: int
    sources: int
    bound: float
    extra: bool
    split: Mapping[str, str] | None


CASES = (
    Case("resnet50-n1", models.resnet50, 1, 2, 1.12, True, OPTICAL_SAR),
    Case("resnet50-n8", models.resnet50, 8, 2, 1.18, True, OPTICAL_SAR),
    Case("deeplabv3-n1", models.deeplabv3_resnet50, 1, 2, 1.08, True, OPTICAL_SAR),
    Case("late-fusion-n1", models.late_fusion, 1, 4, 2.40, False, None),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What one case measured.

    Parameters
    ----------
    cpu, wall
        Ratio of the minima over all rounds.
    paired
        Median over the rounds of the ratio of CPU times within one round.
    """

    case: str
    bound: float
    cpu: float
    paired: float
    wall: float
    times: Mapping[str, Timing]
    memory: Mapping[str, Memory]

    @property
    def passed(self) -> bool:
        """Whether the ratio of CPU times keeps the bound."""
        return self.cpu <= self.bound

    @property
    def steady(self) -> bool:
        """Whether both ratios agree; if not, other work disturbed the minima: measure again."""
        return abs(self.cpu - self.paired) <= UNSTEADY


def convert(case: Case, source: Path, target: Path) -> None:
    """Write the converted model."""
    import rfponnx

    options: dict[str, Any] = {} if case.split is None else {"sources": dict(case.split)}
    rfponnx.convert(source, **options).save(target)


def measure(case: Case, folder: Path, rounds: int, *, with_memory: bool) -> Result:
    """Build, convert and time one case."""
    plain, converted = folder / f"{case.name}.onnx", folder / f"{case.name}.rfp.onnx"
    onnx.save(case.build(), plain)
    convert(case, plain, converted)
    candidates = [Candidate("plain", plain, case.batch), Candidate("rfp", converted, case.batch)]
    if case.extra:
        candidates.append(Candidate("extra", plain, case.batch * case.sources))
    times = interleave(candidates, rounds)
    held = {c.name: memory(c) for c in candidates} if with_memory else {}
    cpu, wall = (ratio(times, clock) for clock in ("cpu", "wall"))
    return Result(case.name, case.bound, cpu, paired(times), wall, times, held)


def ratio(times: Mapping[str, Timing], clock: str) -> float:
    """Return rfp / (plain + extra) of one clock's minima."""
    base = sum(getattr(t, clock) for name, t in times.items() if name != "rfp")
    return float(getattr(times["rfp"], clock) / base)


def paired(times: Mapping[str, Timing]) -> float:
    """Return the median over the rounds of rfp / (plain + extra), CPU time."""
    base = [t.rounds for name, t in times.items() if name != "rfp"]
    rounds = zip(times["rfp"].rounds, *base, strict=True)
    return float(statistics.median(rfp / sum(others) for rfp, *others in rounds))


def head() -> str:
    """Return the heading of the table (80 columns)."""
    return (
        f"{'case':<15}{'plain(N)':>9}{'plain(SN)':>10}{'rfp':>8}"
        f"{'cpu':>7}{'median':>8}{'wall':>7}{'bound':>7}\n{'':<15}{'CPU ms':>9}{'CPU ms':>10}"
        f"{'CPU ms':>8}{'ratio':>7}{'ratio':>8}{'ratio':>7}"
    )


def row(result: Result) -> str:
    """Return one line of the table."""
    plain, extra, rfp = (
        f"{1e3 * result.times[name].cpu:.1f}" if name in result.times else "-"
        for name in ("plain", "extra", "rfp")
    )
    verdict = ("ok" if result.passed else "OVER") + ("" if result.steady else " ~")
    line = (
        f"{result.case:<15}{plain:>9}{extra:>10}{rfp:>8}{result.cpu:>7.3f}"
        f"{result.paired:>8.3f}{result.wall:>7.3f}{result.bound:>7.2f}  {verdict}"
    )
    sizes = (f"{n} {m.loaded:.0f}/{m.run:.0f} MB" for n, m in result.memory.items())
    return f"{line}\n  loaded/after two runs: {', '.join(sizes)}" if result.memory else line


def as_json(result: Result) -> dict[str, Any]:
    """Return a result as plain data."""
    return asdict(result) | {"passed": result.passed, "steady": result.steady}


def main(arguments: list[str]) -> int:
    """Measure the chosen cases and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.rfp", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="CASE", help="cases whose name contains this")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--memory", action="store_true", help="measure memory as well")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    chosen = [c for c in CASES if args.only is None or args.only in c.name]
    if not chosen:
        parser.error(f"no case contains {args.only!r}; there are {[c.name for c in CASES]}")
    print(head(), flush=True)
    results, broken = [], 0
    for case in chosen:
        try:
            with tempfile.TemporaryDirectory() as folder:
                result = measure(case, Path(folder), args.rounds, with_memory=args.memory)
        except Exception as error:  # the other cases are still worth measuring
            broken += 1
            print(f"{case.name:<15} FAILED: {type(error).__name__}: {error}", flush=True)
            continue
        results.append(result)
        print(row(result), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps([as_json(r) for r in results], indent=2), encoding="utf-8")
    return 1 if broken or not all(r.passed for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
