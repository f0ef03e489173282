"""`rfponnx bench`: what a relevance graph costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rfponnx_cli.options import feeding, pixels
from rfponnx_cli.program import Mode, command, running

if TYPE_CHECKING:
    from rfponnx.runtime.bench import Bench
    from rfponnx_cli.render import Out


@click.command(short_help="Measure what a relevance graph costs.")
@click.argument("original")
@click.argument("converted")
@click.option("--batch", type=int, metavar="N", help="Samples at a time, by default 1.")
@click.option("--rounds", default=10, show_default=True, metavar="N", help="Runs of each model.")
@feeding
@running
@command
def bench(
    mode: Mode,
    original: str,
    converted: str,
    batch: int | None,
    rounds: int,
    files: tuple[str, ...],
    provider: str,
    threads: int | None,
    **given: Any,
) -> None:
    """Time ORIGINAL and CONVERTED in turns, in one process, on the same inputs."""  # fmt: skip
    from rfponnx.runtime.bench import bench as measured
    from rfponnx.runtime.inputs import read_inputs
    from rfponnx.runtime.session import Session
    from rfponnx_cli.render import Out

    out, how = Out(mode), pixels(given)
    with out.progress("measuring") as say:
        inputs = None
        if files:
            ports = Session(converted, provider, optimisation="none").inputs
            inputs = read_inputs(files, ports, how)
        found = measured(
            original, converted, batch=batch, rounds=rounds, inputs=inputs, provider=provider,
            threads=threads, progress=say,
        )  # fmt: skip
    if mode.json:
        out.document({"files": [original, converted], **found.to_json()})
    else:
        show(out, found)


def show(out: Out, found: Bench) -> None:
    """Print the times of both models."""
    from rfponnx_cli.render import Column

    def ms(seconds: float) -> str:
        return f"{1000 * seconds:.2f}"

    def mb(name: str) -> str:
        return f"{found.memory[name]:.0f}"

    heads = ("", "wall min", "median", "CPU min", "median", "loaded", "run")
    rows = [
        (name, ms(t.wall_min), ms(t.wall_median), ms(t.cpu_min), ms(t.cpu_median),
         mb(f"{name}_loaded"), mb(f"{name}_run"))
        for name, t in (("original", found.original), ("converted", found.converted))
    ]  # fmt: skip
    rows.append(("ratio", f"{found.ratio_wall:.2f}", "", f"{found.ratio_cpu:.2f}", "", "", ""))
    out.table([Column(h, right=bool(h)) for h in heads], rows)
    sources = "" if found.sources is None else f", {found.sources} sources"
    out.note(
        f"ms on {found.provider} and MB added; batch {found.batch}, {found.rounds} rounds{sources}"
    )
