"""`rfponnx fit-patterns`: what the weights of a model read as signal, from data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rfponnx_cli.options import feeding, pixels
from rfponnx_cli.program import Mode, command, running

if TYPE_CHECKING:
    from rfponnx.runtime.fit import Patterns
    from rfponnx_cli.render import Out


@click.command("fit-patterns", short_help="Estimate patterns, for pattern_net, from data.")
@click.argument("model")
@click.argument("data", nargs=-1)
@click.option(
    "-o", "--output", metavar="OUT.npz", help="By default MODEL.patterns.npz beside the model."
)
@click.option(
    "--estimator",
    default="positive",
    show_default=True,
    metavar="positive|linear",
    help="Of the samples that the following ReLU lets through, or of all.",
)
@click.option("--batch", type=int, metavar="N", help="Samples at a time, by default up to 32.")
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@feeding
@running
@command
def fit_patterns(
    mode: Mode,
    model: str,
    data: tuple[str, ...],
    output: str | None,
    estimator: str,
    batch: int | None,
    force: bool,
    files: tuple[str, ...],
    **given: Any,
) -> None:
    """Estimate a pattern for every unit of the linear layers of MODEL.

    DATA is a folder of pictures, a picture, .npy or .npz, any number of them, NAME=DATA where
    the model has several inputs.  The archive goes into `convert --set patterns=FILE`.
    """
    from rfponnx.errors import InputError
    from rfponnx.runtime.fit import fit_patterns as fitted
    from rfponnx.runtime.write import check_output
    from rfponnx_cli.render import Out

    out, how = Out(mode), pixels(given)
    where = Path(output) if output else Path(model).with_suffix(".patterns.npz")
    check_output(where, Path(model), force=force)
    if not data and not files:
        raise InputError("no data", model, "name a folder of pictures, .npy or .npz files")
    with out.progress(f"fitting {model}") as say:
        found = fitted(
            model, [*data, *files], estimator=estimator, batch=batch, pixels=how,
            provider=given["provider"], threads=given["threads"], progress=say,
        )  # fmt: skip
        found.save(where, force=force)
    if mode.json:
        out.document({"model": model, "output": str(where), **found.to_json()})
    else:
        show(out, found)
        out.note(f"written: {where}")


def show(out: Out, found: Patterns) -> None:
    """Print what has patterns and what has none."""
    from rfponnx_cli.render import Column

    if not out.mode.quiet:
        rows = [
            (one.node, one.op, one.weight, str(list(one.shape)), str(one.seen),
             str(one.undetermined) if one.undetermined else "")
            for one in found.layers
        ]  # fmt: skip
        heads = [Column("layer", share=True), Column("op"), Column("weight", share=True)]
        ends = [Column("seen", right=True), Column("unknown", right=True)]
        out.table([*heads, Column("shape"), *ends], rows)
    unknown = sum(one.undetermined for one in found.layers)
    units = sum(one.units for one in found.layers)
    counts = ((len(found.layers), "layer"), (units, "unit"), (found.samples, "sample"))
    words = ", ".join(f"{count} {noun}{'s' * (count != 1)}" for count, noun in counts)
    out.line(f"{words}, {found.estimator} estimator")
    if unknown:
        out.warn(f"{unknown} of {units} units have the pattern 0: never on, never different")
    for why in found.left_out:
        out.note(f"left out: {why}")
