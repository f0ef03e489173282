"""`rfponnx inspect`: what a conversion would do, and what stands in its way."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from rfponnx_cli.options import pairs, planning
from rfponnx_cli.program import Mode, command

if TYPE_CHECKING:
    from rfponnx.runtime.inspect import Inspection
    from rfponnx_cli.render import Out


@click.command(short_help="What a conversion of MODEL would do.")
@click.argument("model")
@planning
@command
def inspect(mode: Mode, model: str, sources: tuple[str, ...], **given: Any) -> None:
    """Show the inputs of MODEL, the sources it could have, and how each node would be rewritten."""
    from rfponnx.plan.options import Options
    from rfponnx.runtime.inspect import inspect as inspected
    from rfponnx_cli.render import Out

    options = Options.asked(set=pairs("--set", given.pop("numbers")), **given)
    out = Out(mode)
    with out.progress(f"reading {model}"):
        found = inspected(model, sources, options)
    if mode.json:
        out.document({"model": model, **found.to_json()})
        return
    show(out, found)
    if found.convertible:
        words = [w for s in found.sources for w in ("--source", s)] if sources else []
        words += ["--method", options.method] if options.method != "rfp" else []
        words += ["--composite", given["composite"]] if given["composite"] else []
        out.note(f"next: {shlex.join(['rfponnx', 'convert', model, *words])}")


def show(out: Out, found: Inspection) -> None:
    """Print an inspection."""
    rows = [("inputs" * (i == 0), f"{p.name}: {p.text}") for i, p in enumerate(found.inputs)]
    rows += [("outputs" * (i == 0), f"{p.name}: {p.text}") for i, p in enumerate(found.outputs)]
    rows += [("sources" * (i == 0), f"--source {s}") for i, s in enumerate(found.sources)]
    rows += [("", note) for note in found.notes]
    if not found.sources:
        rows.append(("sources", "none found: name a float tensor with --source"))
    rows += [("preparation" * (i == 0), text) for i, text in enumerate(found.changes)]
    for i, one in enumerate(found.explained):
        behind = f", behind {', '.join(reversed(one.through))}" if one.through else ""
        text = f"{one.tensor}{behind}; classes along axis {one.class_axis}"
        rows.append(("explained" * (i == 0), text))
    unreached = "no relevance", "{}: no source reaches it"
    rows += [(unreached[0], unreached[1].format(name)) for name in found.unreached]
    again = " (converted before)" if found.converted else ""
    out.line(f"{found.name}: {found.nodes} nodes, opset {found.opset}{again}", "bold")
    out.facts(rows)
    out.line()
    _nodes(out, found)
    _gaps(out, found)


def _nodes(out: Out, found: Inspection) -> None:
    from rfponnx_cli.render import Column

    names = [s.partition("=")[0] for s in found.sources]
    cells = [
        (line.node, line.op, line.group, _what(line.how, line.note), _who(line.sources, names))
        for line in found.lines
    ]
    columns = [Column("node", share=True), Column("op"), Column("group")]
    columns += [Column("as", share=True), Column("sources")]
    if cells:
        out.table(columns, cells)
        out.line()
    text = f"{len(found.lines)} node outputs carry relevance, {found.untouched} nodes do not"
    out.line(text)


def _what(how: str, note: str) -> str:
    return f"{how}; {note}" if note else how


def _who(alive: tuple[str, ...], names: list[str]) -> str:
    return "all" if len(alive) == len(names) and len(names) > 1 else ", ".join(alive)


def _gaps(out: Out, found: Inspection) -> None:
    if not found.gaps:
        return
    out.line(f"{len(found.gaps)} node outputs cannot be rewritten:", "bold red")
    for gap in found.gaps:
        out.bullet(f"{gap.node} ({gap.op}): {gap.why}" + (f"; {gap.hint}" if gap.hint else ""))
