"""`rfponnx convert`: write the relevance graph of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rfponnx_cli.options import pairs, planning
from rfponnx_cli.program import Mode, command

if TYPE_CHECKING:
    from rfponnx.methods.convert import Converted
    from rfponnx_cli.render import Out


@click.command(short_help="Write the relevance graph of MODEL.")
@click.argument("model")
@click.option("-o", "--output", metavar="OUT", help="By default MODEL.<method>.onnx beside it.")
@planning
@click.option(
    "--source-masks",
    metavar="TENSOR",
    help="Any number of sources, given at run time as masks TENSOR_masks [S, ...].",
)
@click.option(
    "--bias",
    default="separate",
    show_default=True,
    metavar="separate|explicit|split|split_signed",
    help="What becomes of biases: the rest at the end, a stream of its own, or divided.",
)
@click.option(
    "--layout",
    default="auto",
    show_default=True,
    metavar="auto|separate|stacked",
    help="One tensor per source, or one for all; the results are the same.",
)
@click.option(
    "--readout",
    default="all",
    show_default=True,
    metavar="all|predicted|channels|sources|heat",
    help="Forward all classes or the predicted one; backward sums over channels (heat: in a "
    "few levels) or over the entries of each source.",
)
@click.option(
    "--direction",
    default="auto",
    show_default=True,
    metavar="auto|forward|backward",
    help="Where sums per source are wanted: push sources, or pull the target back.",
)
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@command
def convert(
    mode: Mode, model: str, output: str | None, method: str, force: bool, **given: Any
) -> None:
    """Write a second model: the prediction of MODEL, and the relevance of its sources."""
    from rfponnx.api import convert as converted_from
    from rfponnx.runtime.write import check_output
    from rfponnx_cli.render import Out

    out = Out(mode)
    path = Path(model)
    target = Path(output) if output else path.with_name(f"{path.stem}.{method}.onnx")
    check_output(target, path, force=force)
    given["set"] = pairs("--set", given.pop("numbers"))
    with out.progress(f"converting {path.name}"):
        converted = converted_from(model, method, given.pop("sources"), **given)
        converted.save(target, force=force)
    if mode.json:
        out.document({"model": model, "written": str(target), **report(converted)})
    elif not mode.quiet:
        show(out, converted, target)
        out.note(
            f"next: rfponnx run {target} --input NAME=FILE, or rfponnx verify {model} {target}"
        )


def report(converted: Converted) -> dict[str, Any]:
    """Return what was done, as JSON data."""
    plan = converted.plan
    return {
        "sources": [str(s) for s in plan.sources],
        "source_masks": plan.masks.tensor if plan.masks else None,
        **converted.report,
    }


def show(out: Out, converted: Converted, target: Path) -> None:
    """Print what was done."""
    from rfponnx_cli.render import size

    done, plan = converted.report, converted.plan
    arrow = f" {out.arrow} "
    rows: list[tuple[str, str]] = []
    sources = [str(s) for s in plan.sources]
    if plan.masks is not None:
        sources = [f"given at run time as {plan.masks.tensor}_masks"]
    _add(rows, "sources", sources)
    _add(rows, "", done["notes"])
    outputs = done["outputs"].items()
    _add(rows, "outputs", [f"{name} [{', '.join(shape)}]" for name, shape in outputs])
    _add(rows, "preparation", done["changes"] or ["none: the original is inside as it was"])
    through = [f"{name}: {', '.join(n)}" for name, n in done["looked_through"].items()]
    _add(rows, "looked through", through)
    decided = [f"{node}: {note}" for node, note in done["decided"].items()]
    few = decided if out.mode.verbose else decided[:8]
    more = [f"and {len(decided) - 8} more; -v shows them"] if len(few) < len(decided) else []
    _add(rows, "decided", [*few, *more])
    _add(rows, "no relevance", [f"{name}: no source reaches it" for name in done["unreached"]])
    nodes, sizes = done["nodes"], done["bytes"]
    _add(rows, "nodes", [f"{nodes['before']}{arrow}{nodes['after']}"])
    _add(rows, "size", [f"{size(sizes['before'])}{arrow}{size(sizes['after'])}"])
    out.line(str(target), "bold")
    out.facts(rows)


def _add(rows: list[tuple[str, str]], name: str, texts: list[str]) -> None:
    rows.extend((name if i == 0 else "", text) for i, text in enumerate(texts))
