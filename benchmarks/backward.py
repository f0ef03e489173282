"""Gradient and layer-wise relevance against plain inference: what a backward file costs.

    python -m benchmarks.backward [--only CASE] [--rounds N] [--memory] [--json FILE]

A case compares a converted network, which predicts and pulls relevance back to its input, with
plain inference of the same batch.  Exit 1 if a ratio of CPU-time minima is above its bound, or if
the file grew by more than its bound.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from benchmarks import models
from benchmarks.measure import Candidate, Memory, Timing, interleave, memory
from benchmarks.rfp import UNSTEADY

GROWTH, FIXED, PER_NODE = 0.10, 64 * 1024, 200
"""A backward file may grow by this share of the plain one, bytes, and bytes a node."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Parameters
    ----------
    network
        A key of `NETWORKS`.
    floor
        Passes through the convolutions that the rules cannot do without: forward, denominators,
        pulls.
    bound
        The largest ratio that passes.
    options
        What `rfponnx.convert` is given besides.
    """

    network: str
    method: str
    floor: float
    bound: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The network and the method."""
        return f"{self.network}-{self.method}"


#: With the input and the classes of ImageNet.
NETWORKS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "vgg16": models.vgg16,
    "resnet50": partial(models.resnet50, channels=3, classes=1000),
}
#: Method or composite: floor, bounds in the order of `NETWORKS`.
BOUNDS: Mapping[str, tuple[float, float, float]] = {
    "gradient": (2.0, 2.4, 2.7),
    "epsilon": (2.0, 2.4, 3.0),
    "epsilon_plus": (3.0, 3.3, 4.0),
    "epsilon_gamma_box": (3.0, 3.5, 4.5),
    "epsilon_alpha2_beta1": (5.0, 5.3, 6.6),
}


def _options(method: str) -> dict[str, Any]:
    if method == "gradient":
        return {"method": "gradient"}
    return {"method": "lrp", "composite": method, "account": "rest"}


CASES = tuple(
    Case(network, method, floor, bounds[i], _options(method))
    for i, network in enumerate(NETWORKS)
    for method, (floor, *bounds) in BOUNDS.items()
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
    size, plain_size, nodes
        Bytes of both files, and how many nodes were added.
    """

    case: str
    floor: float
    bound: float
    cpu: float
    paired: float
    wall: float
    size: int
    plain_size: int
    nodes: int
    times: Mapping[str, Timing]
    memory: Mapping[str, Memory]

    @property
    def growth(self) -> int:
        """Bytes by which the file grew."""
        return self.size - self.plain_size

    @property
    def allowed(self) -> float:
        """Bytes by which it may grow."""
        return GROWTH * self.plain_size + FIXED + PER_NODE * self.nodes

    @property
    def passed(self) -> bool:
        """Whether time and growth keep their bounds."""
        return self.cpu <= self.bound and self.growth <= self.allowed

    @property
    def steady(self) -> bool:
        """Whether both ratios agree; if not, other work disturbed the minima: measure again."""
        return abs(self.cpu - self.paired) <= UNSTEADY * self.bound


def convert(case: Case, source: Path, target: Path) -> int:
    """Write the converted model; return how many nodes were added."""
    import rfponnx

    converted = rfponnx.convert(source, **case.options)
    converted.save(target)
    nodes = converted.report["nodes"]
    return int(nodes["after"] - nodes["before"])


def measure(case: Case, plain: Path, rounds: int, *, with_memory: bool) -> Result:
    """Convert and time one case; the converted file is removed again."""
    converted = plain.with_name(f"{case.name}.onnx")
    nodes = convert(case, plain, converted)
    size, plain_size = converted.stat().st_size, plain.stat().st_size
    try:
        candidates = [Candidate("plain", plain, 1), Candidate("ours", converted, 1)]
        times = interleave(candidates, rounds)
        held = {c.name: memory(c) for c in candidates} if with_memory else {}
    finally:
        converted.unlink()
    return Result(
        case.name, case.floor, case.bound, ratio(times, "cpu"), paired(times), ratio(times, "wall"),
        size, plain_size, nodes, times, held,
    )  # fmt: skip


def ratio(times: Mapping[str, Timing], clock: str) -> float:
    """Return ours / plain of one clock's minima."""
    return float(getattr(times["ours"], clock) / getattr(times["plain"], clock))


def paired(times: Mapping[str, Timing]) -> float:
    """Return the median over the rounds of ours / plain, CPU time."""
    rounds = zip(times["ours"].rounds, times["plain"].rounds, strict=True)
    return float(statistics.median(ours / plain for ours, plain in rounds))


def head() -> str:
    """Return the heading of the table (80 columns)."""
    return (
        f"{'case':<29}{'plain':>7}{'ours':>8}{'cpu':>7}{'median':>8}{'wall':>7}{'bound':>6}\n"
        f"{'':<29}{'CPU ms':>7}{'CPU ms':>8}{'ratio':>7}{'ratio':>8}{'ratio':>7}"
    )


def row(result: Result) -> str:
    """Return the lines of the table for one case."""
    plain, ours = (1e3 * result.times[name].cpu for name in ("plain", "ours"))
    verdict = ("ok" if result.passed else "OVER") + ("" if result.steady else " ~")
    line = (
        f"{result.case:<29}{plain:>7.1f}{ours:>8.1f}{result.cpu:>7.3f}"
        f"{result.paired:>8.3f}{result.wall:>7.3f}{result.bound:>6.1f}  {verdict}"
    )
    if result.growth > result.allowed:
        line += f"\n  grew by {result.growth} bytes, bound {result.allowed:.0f}"
    sizes = (f"{n} {m.loaded:.0f}/{m.run:.0f} MB" for n, m in result.memory.items())
    return f"{line}\n  loaded/after two runs: {', '.join(sizes)}" if result.memory else line


def as_json(result: Result) -> dict[str, Any]:
    """Return a result as plain data."""
    more = {"growth": result.growth, "allowed": result.allowed}
    return asdict(result) | more | {"passed": result.passed, "steady": result.steady}


def measured(
    chosen: Sequence[Case], rounds: int, *, with_memory: bool
) -> Iterator[Result | tuple[Case, Exception]]:
    """Yield the result of every case, or what broke it; each network is written once."""
    for network, build in NETWORKS.items():
        cases = [c for c in chosen if c.network == network]
        if not cases:
            continue
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / f"{network}.onnx"
            onnx.save(build(), plain)
            for case in cases:
                try:
                    yield measure(case, plain, rounds, with_memory=with_memory)
                except Exception as error:  # the other cases are still worth measuring
                    yield case, error


def main(arguments: list[str]) -> int:
    """Measure the chosen cases and print the table."""
    described = str(__doc__).splitlines()[0]
    parser = argparse.ArgumentParser(prog="benchmarks.backward", description=described)
    parser.add_argument("--only", metavar="CASE", help="cases whose name contains this")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--memory", action="store_true", help="measure memory as well")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    chosen = [c for c in CASES if args.only is None or args.only in c.name]
    if not chosen:
        parser.error(f"no case contains {args.only!r}; there are {[c.name for c in CASES]}")
    print(head(), flush=True)
    results, broken = [], 0
    for found in measured(chosen, args.rounds, with_memory=args.memory):
        if isinstance(found, tuple):
            case, error = found
            broken += 1
            print(f"{case.name:<29} FAILED: {type(error).__name__}: {error}", flush=True)
            continue
        results.append(found)
        print(row(found), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps([as_json(r) for r in results], indent=2), encoding="utf-8")
    return 1 if broken or not all(r.passed for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
