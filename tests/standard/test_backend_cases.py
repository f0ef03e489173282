"""Every operator of the standard that METHODS 3 has a row for, on the models of the onnx package.

By default a part of the sweep: one way of conversion for each case, few of the expansions.
``STANDARD_SWEEP=all`` converts every case in every way with every choice of sources.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

import rfponnx
from rfponnx.errors import Unsupported
from tests.standard.backend import BackendCase, cases
from tests.standard.judge import WAYS, judge

ALL = os.environ.get("STANDARD_SWEEP") == "all"

#: Why an operator is refused; all others are converted.
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "recurrent"),
    **dict.fromkeys(("If", "Loop", "Scan"), "control flow"),
    **dict.fromkeys(("OptionalGetElement", "SequenceMap"), "no tensors but containers"),
    "Attention": "attention as one node",
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), "training"),
    **dict.fromkeys(("DynamicQuantizeLinear", "TensorScatter"), "codes and caches"),
    **dict.fromkeys(("AffineGrid", "MelWeightMatrix", "STFT", "Det"), "no row"),
    "TreeEnsemble": "piecewise constant, a model of its own",
}

#: Cases whose float input is a parameter that no relevance comes from.
UNREACHED = ("test_dequantizelinear", "test_castlike")

#: Cases that are about something else than the operator's row.
OTHER: Mapping[str, str] = {
    "training": "in training mode",
    "softcap_neginf_mask": "an infinity in the data itself",
}

#: Operators with parameters that have to be known when converting.
FIXED = frozenset(
    {"CumSum", "DFT", "Dropout", "CenterCropPad", "Col2Im", "Pad"}
    | {f"Reduce{kind}" for kind in ("Max", "Mean", "Min", "Prod", "Sum", "SumSquare")}
    | {f"Reduce{kind}" for kind in ("L1", "L2", "LogSum", "LogSumExp")}
)


def refused(case: BackendCase) -> bool:
    """Tell whether one of the case's operators has no linearisation."""
    return any(n.op_type in REFUSED for n in case.model.graph.node)


def excused(case: BackendCase) -> bool:
    return any(part in case.name for part in OTHER)


def sources(case: BackendCase) -> tuple[Sequence[str] | None, ...]:
    """All float inputs, the first alone, the second alone: the others then count as bias."""
    if len(case.floats) < 2:
        return (None,)
    return None, [f"first={case.floats[0]}"], [f"second={case.floats[1]}"]


def sampled(case: BackendCase, every: int) -> bool:
    return ALL or zlib.crc32(case.name.encode()) % every == 0


def failures(
    chosen: Iterator[BackendCase],
    ways: Callable[[BackendCase], Iterator[tuple[Sequence[str] | None, Mapping[str, str]]]],
) -> dict[str, str]:
    """Return what conversions of the cases do wrong, by case, sources and way."""
    found = {}
    for case in chosen:
        for given, way in ways(case):
            problem = judge(case.model, case.feeds, case.predicted, given, way)
            unreached = "no source reaches" in problem and case.name.startswith(UNREACHED)
            if problem and not unreached:
                found[f"{case} {given} {' '.join(way.values())}"] = problem
    return found


def convertible(*, stored: bool) -> Iterator[BackendCase]:
    for case in cases(stored=stored):
        if not refused(case) and not excused(case):
            yield case


def test_there_are_cases() -> None:
    assert len(cases(stored=True)) > 1100


@pytest.mark.slow
def test_every_case_is_converted() -> None:
    chosen = (c for c in convertible(stored=True) if "expanded" not in c.name or sampled(c, 5))
    assert failures(chosen, lambda c: ((s, WAYS[0]) for s in sources(c))) == {}


@pytest.mark.slow
def test_in_the_other_layout_and_with_the_other_linearisations() -> None:
    def ways(case: BackendCase) -> Iterator[tuple[Sequence[str] | None, Mapping[str, str]]]:
        others = WAYS[1:] if ALL else (WAYS[1 + zlib.crc32(case.name.encode()) % 3],)
        yield from ((s, way) for way in others for s in (sources(case) if ALL else (None,)))

    chosen = (c for c in convertible(stored=True) if "expanded" not in c.name or ALL)
    assert failures(chosen, ways) == {}


@pytest.mark.slow
def test_with_parameters_that_are_known_at_run_time_only() -> None:
    """A few operators need to know theirs; they say so."""
    known = {c.name: len(c.feeds) for c in cases(stored=True)}
    chosen = [c for c in convertible(stored=False) if len(c.feeds) > known[c.name]]
    plain = [c for c in chosen if "expanded" not in c.name]
    free = (c for c in plain if c.op not in FIXED)
    assert failures(free, lambda _: iter([(None, WAYS[0])])) == {}
    for case in (c for c in plain if c.op in FIXED):
        problem = judge(case.model, case.feeds, case.predicted, None, WAYS[0])
        assert not problem or re.match("Unsupported: .*(at run time|not known)", problem)


@pytest.mark.slow
def test_what_is_refused_names_the_node() -> None:
    for case in cases(stored=True):
        if not refused(case) or not sampled(case, 5):
            continue
        with pytest.raises(Unsupported) as error:
            rfponnx.convert(case.model)
        message = str(error.value)
        assert "\n" not in message
        labels = [n.name or f"{n.op_type}_{i}" for i, n in enumerate(case.model.graph.node)]
        assert any(f"`{label}`" in message for label in labels)
        assert any(op in message for op in REFUSED)
