"""The checks in double precision: completeness to rounding, and streams as derivatives."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto

from rfponnx.errors import Unsupported
from rfponnx.verify import jacobian
from rfponnx.verify.case import Case
from rfponnx.verify.completeness import DOUBLE, completeness, file_sums, first_break
from rfponnx.verify.engine import Array, Values
from rfponnx.verify.float64 import Float64
from rfponnx.verify.report import Check, judged, reported

COMPLETENESS, JACOBIAN = "completeness, float64", "streams are derivatives"
FILE_SUMS = "relevances in the file sum up, float64"
SLOW = 20.0  # seconds worth a remark
CROWDED = 0.9  # share of entries at kinks above which no derivative can be compared
EVALUATED = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training")


def double_checks(case: Case) -> Iterator[Check]:
    """Evaluate the explicit overlay and both moved models on the smallest sample."""
    began = time.perf_counter()
    try:
        yield from _Double(case).checks(began)
    except Unsupported as error:
        yield reported(COMPLETENESS, "not evaluated", str(error))


def foreign_values(case: Case) -> Values:
    """Return what nodes of other domains give, as ONNX Runtime computes it.

    No stream passes them, so their outputs are constants of the overlay like any weight.
    """
    sample, plan = case.smallest, case.own.plan
    assert sample is not None
    carrying = {step.node.index for step in plan.steps}
    names = [
        name
        for node in plan.graph.nodes
        if node.domain not in EVALUATED and node.index not in carrying
        for name in filter(None, node.outputs)
    ]
    if not names:
        return {}
    model = ModelProto()
    model.CopyFrom(case.prepared.proto)
    known = {o.name for o in model.graph.output}
    model.graph.output.extend(ValueInfoProto(name=n) for n in names if n not in known)
    session = case.engine.of_proto(model, case.original.folder, case.original.name)
    return session.run(sample.feeds, names)


class _Double:
    def __init__(self, case: Case) -> None:
        assert case.smallest is not None
        self.case, self.explicit, self.file = case, case.explicit, case.converted.proto
        if case.widened is not None:
            self.explicit = case.emitted(case.widened, bias="explicit", readout="all")
            self.file = case.emitted(case.widened).model
        self.plan = self.explicit.plan
        self.feeds = {**case.feeds(case.smallest), **foreign_values(case)}
        self.twice = jacobian.doubled(self.explicit)
        self.model = Float64(self.twice.model, case.original.folder)
        self.rows = case.rows

    def checks(self, began: float) -> Iterator[Check]:
        coefficients, moving = self._direction(0)
        names = [n for r in self.rows for n in (r.value, r.relevance)]
        moved = [name for r in self.rows for name in self.twice.moved(r.of.tensor)]
        outputs = [o for o in self.plan.graph.outputs if self.plan.graph.is_float(o)]
        values = self.model.run(self._fed(moving, jacobian.STEPS[0]), [*names, *moved, *outputs])
        self._compare(values, outputs)
        yield self._completeness(values)
        if self.case.options.bias == "split":
            yield self._file_sums()
        found = [self._slope(values, coefficients, jacobian.STEPS[0])]
        for h in jacobian.STEPS[1:]:
            if self._done(found):
                break
            near = self.model.run(self._fed(moving, h), moved)
            found.append(self._slope({**values, **near}, coefficients, h))
        if not self._done(found):  # other pieces change, and roundings are others, elsewhere
            coefficients, moving = self._direction(1)
            near = self.model.run(self._fed(moving, jacobian.STEPS[0]), moved)
            found.append(self._slope({**values, **near}, coefficients, jacobian.STEPS[0]))
        seconds = time.perf_counter() - began
        yield self._judged(found, f"{seconds:.1f} s" + (", a large model" * (seconds > SLOW)))

    def _done(self, found: Sequence[jacobian.Slope]) -> bool:
        so_far = jacobian.best(found)
        return so_far.error <= jacobian.BOUND and not so_far.kinks

    def _direction(self, attempt: int) -> tuple[Array, dict[str, Array]]:
        inner = jacobian.start_values(self.plan)
        values = {**self.feeds, **(self.model.run(self.feeds, inner) if inner else {})}
        shapes = {t: values[t].shape for t in jacobian.source_tensors(self.plan)}
        rng = np.random.default_rng((len(shapes), attempt))
        return jacobian.direction(self.plan, self.twice.names, shapes, self.feeds, rng)

    def _fed(self, moving: Values, h: float) -> dict[str, Array]:
        return {**self.feeds, **moving, self.twice.names.step: np.asarray(h)}

    def _slope(self, values: Values, coefficients: Array, h: float) -> jacobian.Slope:
        return jacobian.slope(self.rows, self.twice, values, coefficients, h)

    def _compare(self, values: Values, outputs: Sequence[str]) -> None:
        """Refuse a float64 prediction without numbers where ONNX Runtime has them."""
        assert self.case.smallest is not None
        for name in outputs:
            single = self.case.smallest.outputs[name]
            lost = int((np.isfinite(single) & ~np.isfinite(values[name])).sum())
            if lost:
                raise Unsupported(f"{lost} entries of `{name}` are no numbers in float64")

    def _file_sums(self) -> Check:
        """Judge the sum of the streams among which the file divides its offsets."""
        model = Float64(self.file, self.case.converted.folder)
        names = [n for r in self.rows for n in (r.value, r.relevance)]
        values, plan = model.run(self.feeds, names), self.case.own.plan
        return file_sums(self.rows, [values], [values], plan, DOUBLE, FILE_SUMS)

    def _completeness(self, values: Values) -> Check:
        check = completeness(COMPLETENESS, self.rows, [values], DOUBLE)
        if check.passed:
            return check

        def evaluate(model: ModelProto, names: Sequence[str]) -> Any:
            return Float64(model, self.case.original.folder).run(self.feeds, names)

        return judged(
            check.name,
            float(check.value),
            DOUBLE,
            first_break(self.explicit, evaluate, DOUBLE),
        )

    def _judged(self, found: Sequence[jacobian.Slope], cost: str) -> Check:
        """Return the check, every entry at the step and direction that suit it."""
        best = jacobian.best(found)
        notes = [cost]
        if self.twice.affine:
            total = len(self.plan.steps)
            notes.append(f"{self.twice.affine} of {total} nodes as the affine maps they are")
        if best.kinks and found[1].bend > max(3 * found[2].bend, 0.1):
            return judged(JACOBIAN, np.inf, jacobian.BOUND, "; ".join(["it jumps", *notes]))
        if best.kinks > CROWDED * best.entries:  # what is left looks smooth by chance
            return reported(JACOBIAN, "not judged", "; ".join(["kinks nearly everywhere", *notes]))
        if best.kinks:
            notes.append(f"{best.kinks} of {best.entries} entries lie at a kink")
        return judged(JACOBIAN, best.error, jacobian.BOUND, "; ".join(notes))
