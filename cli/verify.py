"""`rfponnx verify`: check a relevance graph against its original."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rfponnx_cli.options import feeding, pixels
from rfponnx_cli.program import DONE, FAILED, Mode, command, running

if TYPE_CHECKING:
    from rfponnx.verify.report import Check, Report
    from rfponnx_cli.render import Out


@click.command(short_help="Check a relevance graph against its original.")
@click.argument("original")
@click.argument("converted")
@click.option("--samples", default=2, show_default=True, metavar="N", help="Random inputs.")
@click.option("--float64/--no-float64", default=True, help="Also evaluate both in float64.")
@feeding
@running
@command
def verify(
    mode: Mode,
    original: str,
    converted: str,
    samples: int,
    float64: bool,
    files: tuple[str, ...],
    provider: str,
    threads: int | None,
    **given: Any,
) -> int:
    """Check that CONVERTED predicts as ORIGINAL does and that its relevances add up.

    The exit code is 1 if a check fails.
    """  # fmt: skip
    from rfponnx.errors import OptionError
    from rfponnx.runtime.inputs import read_inputs
    from rfponnx.runtime.session import Session
    from rfponnx.verify.verify import verify as verified
    from rfponnx_cli.render import Out

    if samples < 1:
        raise OptionError(f"{samples} samples", "--samples", "give 1 or more")
    out, how = Out(mode), pixels(given)
    with out.progress("verifying") as say:
        inputs = None
        if files:
            session = Session(converted, provider, threads=threads)
            inputs = session.checked(read_inputs(files, session.inputs, how))
        report = verified(
            original, converted, samples=samples, inputs=inputs, provider=provider,
            threads=threads, float64=float64, progress=say,
        )  # fmt: skip
    if mode.json:
        out.document({"original": original, "converted": converted, **report.to_json()})
    else:
        show(out, report)
    return DONE if report.passed else FAILED


def show(out: Out, report: Report) -> None:
    """Print the checks, worst first, and the verdict."""
    from rfponnx_cli.render import Column

    checks = report.worst_first()
    if not out.mode.quiet:
        columns = [Column("check", share=True), Column("value"), Column("bound"), Column("result")]
        cells = [(c.name, _cell(c.value), _cell(c.bound), _result(c), c.note) for c in checks]
        styles = ["" if c.passed else "red" for c in checks]
        out.table([*columns, Column("", share=True)], cells, styles=styles)
    failed = [c for c in checks if not c.passed]
    judged = sum(c.bound != "reported" for c in checks)
    if not failed:
        out.line(f"all {judged} checks passed", "green")
        return
    first = failed[0]
    why = f": {first.name}" + (f", {first.note}" if first.note else "")
    out.line(f"{len(failed)} of {judged} checks failed{why}", "bold red")


def _result(check: Check) -> str:
    if check.bound == "reported":
        return "-"
    return "pass" if check.passed else "FAIL"


def _cell(value: float | int | str) -> str:
    return f"{value:.1e}" if isinstance(value, float) else str(value)
