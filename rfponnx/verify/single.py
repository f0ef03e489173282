"""The checks in the model's own precision, on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from onnx import ModelProto

from rfponnx.verify import completeness, prediction
from rfponnx.verify.case import Case
from rfponnx.verify.engine import Array, Runner, Values
from rfponnx.verify.primal import first_difference
from rfponnx.verify.report import Check
from rfponnx.version import VERSION

Run = Mapping[str, Array]


class Single:
    """Runs of the file, plain and optimised, and of fresh conversions; sessions are not kept."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.feeds: list[Values] = []
        self.runs: list[Run] = []
        self._fast: list[Run] = []
        self._explicit: list[Run] = []

    def prediction(self) -> Iterator[Check]:
        """Run the file as it is written."""
        self.feeds = [self.case.feeds(s) for s in self.case.samples]
        self.runs = self._run(self.case.engine.open(self.case.converted))
        yield prediction.unchanged(self.case.samples, self.runs)

    def optimised(self) -> Iterator[Check]:
        """Run the file as it is used."""
        self._fast = self._run(self.case.engine.open(self.case.converted, optimise=True))
        yield prediction.optimised(self.case.samples, self._fast)
        names = [row.relevance for row in self.case.rows]
        yield prediction.optimised_relevances(names, self.runs, self._fast)

    def completeness(self) -> Iterator[Check]:
        """Run the explicit overlay: every stream, bias included, was carried to the end."""
        case, runs = self.case, self._fresh()
        bound = completeness.single_bound(case.explicit.plan)
        check = completeness.completeness("completeness, float32", case.rows, runs, bound)
        if not check.passed:
            worst = [completeness.completeness("", case.rows, [r], bound).value for r in runs]
            feeds = self.feeds[worst.index(check.value)]

            def evaluate(model: ModelProto, names: Sequence[str]) -> Run:
                return self._session(model).run(feeds, names)

            note = completeness.first_break(case.explicit, evaluate, bound)
            check = replace(check, note=f"{note}; {check.note}")
        yield check
        yield completeness.l1_distance("L1 distance, float32", case.rows, runs)

    def relevances(self) -> Iterator[Check]:
        """Compare what the file computes with what a fresh conversion computes."""
        case, plan, runs = self.case, self.case.own.plan, self._fresh()
        bound = completeness.single_bound(plan)
        own = self._rounding() if plan.options.bias == "split" else 0.0
        check = completeness.file_sums(case.rows, self.runs, runs, plan, max(bound, own))
        yield replace(check, note="the model's own rounding") if own > bound else check
        where = first_difference(case.own.model, case.converted.proto, case.prepared.proto)
        if not where:
            note = "every overlay node is the same"
        elif case.described["version"] != VERSION:
            note = f"written by version {case.described['version']}, this is {VERSION}"
        else:
            note = f"overlay differs first at `{where}`"
        same_form = plan.options.bias in ("separate", "explicit") and plan.options.readout == "all"
        if not same_form:
            runs = self._run(self._session(case.own.model)) if where else self.runs
        yield completeness.file_rows(case.rows, self.runs, runs, plan, bound, note)

    def numbers(self) -> Iterator[Check]:
        """Look for NaN and infinity in everything that the file gives."""
        known = [
            {**sample.outputs, **{r.value: run[r.value] for r in self.case.rows}}
            for sample, run in zip(self.case.samples, self._fresh(), strict=True)
        ]
        excused = {r.relevance: r.value for r in self.case.rows}
        twice = [*known, *known] if self._fast else known
        yield prediction.numbers([*self.runs, *self._fast], twice, excused)

    def _rounding(self) -> float:
        """Return what the order of roundings does to the explained tensors themselves.

        The streams of `split` add up to y and no more, through as many roundings as y itself:
        in a net that amplifies rounding they cannot come closer to y than y comes to itself.
        """
        pairs = zip(self.runs, self._fast, strict=False)
        names = [row.value for row in self.case.rows]
        return max(
            (prediction.relative_gap(a[n], b[n]) for a, b in pairs for n in names), default=0
        )

    def _run(self, session: Runner) -> list[Run]:
        return [session.run(f) for f in self.feeds]

    def _session(self, model: ModelProto) -> Runner:
        return self.case.engine.of_proto(model, self.case.original.folder, "a fresh conversion")

    def _fresh(self) -> list[Run]:
        """Return the runs of the explicit overlay."""
        if not self._explicit:
            names = [n for r in self.case.rows for n in (r.value, r.relevance)]
            session = self._session(self.case.explicit.model)
            self._explicit = [session.run(f, names) for f in self.feeds]
        return self._explicit
