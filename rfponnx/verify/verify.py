"""Check a converted file against its original: is it the same model, and is the relevance true?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from rfponnx.errors import RfpError, guarded
from rfponnx.methods.convert import Converted
from rfponnx.verify.backward import BackwardChecks, Stages
from rfponnx.verify.case import Case, Model
from rfponnx.verify.double import COMPLETENESS, double_checks
from rfponnx.verify.engine import Array, Engine
from rfponnx.verify.primal import primal_checks
from rfponnx.verify.report import Check, Report
from rfponnx.verify.single import Single


@guarded()
def verify(
    original: Model,
    converted: Model | Converted,
    *,
    samples: int = 2,
    inputs: Mapping[str, Array] | None = None,
    provider: str = "cpu",
    threads: int | None = None,
    float64: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Judge a converted model (DESIGN 4).

    Parameters
    ----------
    original, converted
        Paths or models; the second may be what `convert` returned.
    samples
        How many random inputs to run; sizes and values are chosen from the model.
    inputs
        Explicit inputs by name, in place of random ones.
    provider, threads
        Where ONNX Runtime runs: ``cpu`` or ``cuda``; threads of one operator.
    float64
        Whether to evaluate in double precision too (completeness to 1e-12, derivatives), which
        takes longest.
    progress
        Is told what is being done.

    Raises
    ------
    RfpError
        A file cannot be read or is no conversion; the model runs on no input.
    """
    tell = progress or (lambda _: None)
    case = Case(original, converted, Engine(provider, threads))
    tell("comparing the files")
    checks = list(primal_checks(case.prepared, case.converted, case.described))
    tell("choosing inputs")
    case.choose(samples, inputs)
    backward = case.options.backward
    stages = BackwardChecks(case).stages(float64=float64) if backward else _stages(case, float64)
    for name, stage in stages.items():
        tell(name)
        found = list(_guarded(name, stage))
        checks += found
        if found[0].value == IMPOSSIBLE and name == next(iter(stages)):
            break  # the file does not run on the original's inputs: it is of another model
    return Report(tuple(checks))


IMPOSSIBLE = "not possible"


def _stages(case: Case, float64: bool) -> Stages:
    single = Single(case)
    stages: dict[str, Callable[[], Iterable[Check]]] = {
        "prediction, not optimised": single.prediction,
        "prediction, optimised": single.optimised,
        "completeness, float32": single.completeness,
        "relevances as converted afresh": single.relevances,
        "NaN or infinity": single.numbers,
    }
    return {**stages, COMPLETENESS: lambda: double_checks(case)} if float64 else stages


def _guarded(name: str, stage: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Make an error of a stage a check that fails: another model, a broken overlay."""
    try:
        with guarded(name):
            yield from stage()
    except RfpError as error:
        yield Check(name, IMPOSSIBLE, "possible", False, str(error))
