"""`rfponnx run`: predictions, and what each source contributed to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rfponnx_cli import backward
from rfponnx_cli.options import feeding, pixels
from rfponnx_cli.program import Mode, command, running

if TYPE_CHECKING:
    from rfponnx.runtime.preprocess import Pixels
    from rfponnx.runtime.session import Results
    from rfponnx.runtime.summary import Part
    from rfponnx_cli.render import Out

FEW = 8  # samples that are shown without -v
CLASSES = 6  # classes of one sample that are shown without -v


@click.command(short_help="Predict, and show where the relevance lies.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@feeding
@click.option("--random", type=int, metavar="SEED", help="Draw what no --input gives.")
@click.option(
    "--batch", type=int, metavar="N", help="Samples at a time; with --random alone, how many."
)
@click.option("--memory", type=float, metavar="MB", help="About how much a run may take.")
@click.option("-o", "--output", metavar="OUT.npz", help="Write all outputs by their names.")
@click.option("--plot", metavar="PNG", help="Draw the relevance; of several files, side by side.")
@click.option("--force", is_flag=True, help="Replace outputs that exist.")
@running
@command
def run(mode: Mode, models: tuple[str, ...], files: tuple[str, ...], **given: Any) -> None:
    """Run MODEL and show what each source or input contributed to the prediction.

    Several files, made of one original by several backward methods, run on the same inputs.
    """
    from rfponnx_cli.render import Out

    out = Out(mode)
    output, plot = _targets(models, given)
    how = pixels(given)
    with out.progress(f"running {', '.join(models)}"):
        feeds, runs = _results(models, files, how, given)
        written = _written(feeds, runs, how, output, plot, given["force"])
    if mode.json:
        found = [document(model, results) for model, results in zip(models, runs, strict=True)]
        one = {**found[0], "written": written}
        out.document(one if len(runs) == 1 else {"models": found, "written": written})
        return
    for place, (model, results) in enumerate(zip(models, runs, strict=True)):
        if place:
            out.line()
        if len(runs) > 1:
            out.line(model, "bold")
        show(out, results)
        for name in not_finite(results):
            out.warn(f"`{name}` holds NaN or infinity; `rfponnx verify` says whether it has to")
    for path in written:
        out.note(f"written: {path}")
    for model, results in zip(models, runs, strict=True):
        if results.description is None:
            text = f"{model} is not converted: `rfponnx convert {model}` adds what its sources do"
            out.note(text)


def _targets(models: tuple[str, ...], given: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return where the outputs and the picture go, after a look at these places."""
    from rfponnx.errors import OptionError
    from rfponnx.runtime.canvas import check_plot
    from rfponnx.runtime.write import check_target

    output, plot, force = given["output"], given["plot"], given["force"]
    if output and len(models) > 1:
        raise OptionError("holds the outputs of one file", "-o", "run the files one by one")
    if output:
        check_target(Path(output), force=force)
    if plot:
        check_plot(Path(plot), force=force)
    return output, plot


def _written(
    feeds: Mapping[str, Any],
    runs: Sequence[Results],
    how: Pixels,
    output: str | None,
    plot: str | None,
    force: bool,
) -> list[str]:
    """Write what was asked for; return where it is."""
    from rfponnx.runtime.plot import plot_results
    from rfponnx.runtime.write import write_arrays

    if output:
        write_arrays(Path(output), runs[0], force=force)
    if plot:
        plot_results(Path(plot), runs, feeds, pixels=how, force=force)
    return [path for path in (output, plot) if path]


def _results(
    models: tuple[str, ...], files: tuple[str, ...], how: Pixels, given: dict[str, Any]
) -> tuple[dict[str, Any], list[Results]]:
    """Read or draw the inputs and run the models on them."""
    from rfponnx.errors import InputError
    from rfponnx.runtime.draw import drawn
    from rfponnx.runtime.inputs import read_inputs
    from rfponnx.runtime.session import Session
    from rfponnx.runtime.together import check_alike, no_data, shared_ports

    seed, batch = given["random"], given["batch"]
    sessions = [
        Session(model, given["provider"], threads=given["threads"], memory=given["memory"])
        for model in models
    ]
    check_alike(sessions)
    ports = shared_ports(sessions)
    feeds: dict[str, Any] = read_inputs(files, ports, how, plain=no_data(sessions))
    if not feeds and seed is None and ports:
        where = sessions[0].name
        raise InputError("no data", where, "give --input NAME=FILE or --random SEED")
    runs = []
    for model, session in zip(models, sessions, strict=True):
        own = {p.name: feeds[p.name] for p in session.inputs if p.name in feeds}
        if seed is not None:
            own = drawn(session, model, own, seed=seed, batch=None if feeds else batch)
            feeds |= own
        runs.append(session.run(own, batch=batch if files else None))
    return feeds, runs


def document(model: str, results: Results) -> dict[str, Any]:
    """Return what there is to say of a run, as JSON data."""
    return {"model": model, "not_finite": not_finite(results), **report(results)}


def not_finite(results: Results) -> list[str]:
    """Return the outputs that hold NaN or infinity."""
    import numpy as np

    floats = ((n, a) for n, a in results.items() if a.dtype.kind == "f")
    return [n for n, a in floats if not np.isfinite(a).all()]


def report(results: Results) -> dict[str, Any]:
    """Return all numbers as JSON data."""
    outputs = {n: {"shape": list(a.shape), "dtype": str(a.dtype)} for n, a in results.items()}
    found: dict[str, Any] = {"outputs": outputs, "converted": results.description is not None}
    if results.description is None:
        return found
    if results.description.backward:
        return found | backward.report(results)
    rows = results.sources
    found["sources"] = list(rows)
    found["explained"] = [
        {
            "output": one.output,
            "tensor": one.tensor,
            "relevance": one.relevance,
            "class_axis": one.class_axis,
            "mean_shares": dict(zip(rows, results.view(one.relevance).overall, strict=True)),
            "predictions": [_record(p, rows) for p in results.parts(one.relevance)],
        }
        for one in results.description.readouts
    ]
    return found


def _record(part: Part, rows: tuple[str, ...]) -> dict[str, Any]:
    return {
        "sample": part.sample,
        "class": part.index,
        "positions": part.positions,
        "fraction": part.fraction,
        "value": part.value,
        "probability": part.probability,
        "contributions": dict(zip(rows, part.contributions, strict=True)),
        "shares": dict(zip(rows, part.shares, strict=True)),
    }


def show(out: Out, results: Results) -> None:
    """Print the numbers of the first samples and the shares over all of them."""
    if results.description is None:
        _outputs(out, results)
        return
    if results.description.backward:
        backward.show(out, results)
        return
    rows = results.sources
    for place, one in enumerate(results.description.readouts):
        if place:
            out.line()
        view, parts = results.view(one.relevance), results.parts(one.relevance)
        samples = len(view.winner)
        behind = "" if one.tensor == one.output else f" (explained at {one.tensor})"
        out.line(f"{one.output}{behind}", "bold")
        limit = samples if out.mode.verbose else FEW
        _parts(out, [p for p in parts if p.sample < limit], rows, many=view.winner.shape[1] > 1)
        if samples > limit:
            out.note(f"{samples - limit} more samples; -v shows them")
        shares = ", ".join(f"{n} {100 * s:.1f} %" for n, s in zip(rows, view.overall, strict=True))
        out.line(f"mean share over {samples} sample{'s' * (samples > 1)}: {shares}")


def _parts(out: Out, parts: list[Part], rows: tuple[str, ...], *, many: bool) -> None:
    """Print one table: a block a prediction, a row a source."""
    from rfponnx_cli.render import Column, number, percent

    if not out.mode.verbose and many:
        kept = {p.sample: [q for q in parts if q.sample == p.sample][:CLASSES] for p in parts}
        parts = [p for sample in kept.values() for p in sample]
    chance = all(p.probability is not None for p in parts)
    scale = max((abs(c) for p in parts for c in p.contributions), default=0.0)
    cells, breaks = [], []
    for p in parts:
        value = number(p.probability, 3) if p.probability is not None else number(p.value)
        lead = [str(p.sample), str(p.index), *([percent(p.fraction)] if many else []), value]
        for i, name in enumerate(rows):
            head = lead if i == 0 else [""] * len(lead)
            c = p.contributions[i]
            cells.append([*head, name, f"{c:+.4g}", percent(p.shares[i]), out.bar(c, scale)])
        breaks.append(len(cells) - 1)
    columns = [Column("sample", right=True), Column("class", right=True)]
    columns += [Column("area", right=True)] if many else []
    columns += [Column("prob." if chance else "value", right=True), Column("source", share=True)]
    columns += [Column("gives", right=True), Column("share", right=True), Column("- 0 +")]
    out.table(columns, cells, breaks=breaks[:-1])


def _outputs(out: Out, results: Results) -> None:
    from rfponnx_cli.render import Column, number

    cells = []
    for name, a in results.items():
        numeric = a.dtype.kind in "iufb"
        ends = [number(float(a.min())), number(float(a.max()))] if numeric and a.size else ["", ""]
        cells.append([name, str(a.dtype), str(list(a.shape)), *ends])
    heads = [Column("output", share=True), Column("type"), Column("shape")]
    out.table([*heads, Column("min", right=True), Column("max", right=True)], cells)
