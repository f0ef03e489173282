"""What `rfponnx run` shows of a backward file: where the relevance of each sample went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rfponnx.runtime.account import Account
    from rfponnx.runtime.description import Description
    from rfponnx.runtime.session import Results
    from rfponnx_cli.render import Out

FEW = 8  # samples that are shown without -v


def report(results: Results) -> dict[str, Any]:
    """Return all numbers as JSON data."""
    from rfponnx.runtime.account import accounts

    d = results.description
    assert d is not None
    found = accounts(results)
    offs = [a.off for a in found if a.off is not None]
    return {
        "direction": "backward",
        "method": d.method,
        "conserves": d.conserves,
        "adds_up_within": max(offs, default=None),
        "targets": list(d.targets),
        "explained": [
            {"output": one.output, "tensor": one.tensor, "class_axis": one.class_axis}
            for one in d.readouts
        ],
        "relevances": [
            {
                "output": one.output,
                "tensor": one.tensor,
                "kind": one.kind,
                "readout": one.readout,
                "shape": list(results[one.output].shape),
            }
            for one in d.relevances
        ],
        "accounts": [_record(a) for a in found],
    }


def _record(a: Account) -> dict[str, Any]:
    return {
        "sample": a.sample,
        "target": a.target,
        "class": a.index,
        "predicted": a.predicted,
        "fraction": a.fraction,
        "probability": a.probability,
        "value": a.value,
        "inputs": dict(a.inputs),
        "sources": dict(a.sources),
        "bias": a.bias,
        "leak": a.leak,
        "total": a.total,
        "seed": a.seed,
        "off": a.off,
    }


def show(out: Out, results: Results) -> None:
    """Print the accounts of the first samples, and how well all of them add up."""
    from rfponnx.runtime.account import accounts

    d = results.description
    assert d is not None
    one = d.readouts[0]
    behind = "" if one.tensor == one.output else f", explained at {one.tensor}"
    out.line(f"{one.output} ({d.method}{behind})", "bold")
    found = accounts(results)
    samples = 1 + max((a.sample for a in found if a.sample is not None), default=0)
    limit = samples if out.mode.verbose else FEW
    _table(out, [a for a in found if a.sample is None or a.sample < limit])
    if samples > limit:
        out.note(f"{samples - limit} more samples; -v shows them")
    out.line(_verdict(found, d))


def _table(out: Out, found: list[Account]) -> None:
    """Print one table: a block for each sample and target, a row for each part."""
    from rfponnx_cli.render import Column, number, percent

    many = any(a.fraction is not None and a.fraction < 1 for a in found)
    chance = any(a.probability is not None for a in found)
    known = any(a.predicted is not None for a in found)
    scale = max((abs(v) for a in found for _, v in _parts(a)), default=0.0)
    cells, breaks = [], []
    for a in found:
        lead = ["all" if a.sample is None else str(a.sample)]
        lead += [str(a.predicted) if a.predicted is not None else ""] if known else []
        lead += ["" if a.fraction is None else percent(a.fraction)] if many else []
        lead += ["" if a.probability is None else number(a.probability, 3)] if chance else []
        lead.append(target(a))
        rows = [(name, f"{v:+.4g}", out.bar(v, scale)) for name, v in _parts(a)]
        if a.total is not None and len(rows) > 1:
            rows.append(("sum", f"{a.total:+.4g}", _beside(a)))
        for i, row in enumerate(rows):
            cells.append([*(lead if i == 0 else [""] * len(lead)), *row])
        breaks.append(len(cells) - 1)
    columns = [Column("sample", right=True)]
    columns += [Column("class", right=True)] if known else []
    columns += [Column("area", right=True)] if many else []
    columns += [Column("prob.", right=True)] if chance else []
    columns += [Column("target"), Column("part", share=True), Column("relevance", right=True)]
    out.table([*columns, Column("- 0 +")], cells, breaks=breaks[:-1])


def target(a: Account) -> str:
    """Return a target in words: its label, and the class that it came to."""
    if a.index is None or a.target in (str(a.index), f"{a.index}@predicted"):
        return a.target
    return f"{a.target}: {a.index}"


def _parts(a: Account) -> list[tuple[str, float]]:
    """Return the names and the relevance of all parts."""
    parts = list(a.inputs.items())
    prefix = "source " if parts else ""
    ends = [(name, v) for name, v in (("bias", a.bias), ("leak", a.leak)) if v is not None]
    sources = [(f"{prefix}{name}", v) for name, v in a.sources.items()]
    return parts + ends + sources if parts or not sources else sources


def _beside(a: Account) -> str:
    from rfponnx_cli.render import number

    return "" if a.seed is None else f"seed {number(a.seed)}"


def _verdict(found: tuple[Account, ...], d: Description) -> str:
    """Say in a sentence whether all of it adds up."""
    from rfponnx.runtime.account import FROM_REFERENCE
    from rfponnx_cli.render import number

    offs = [a.off for a in found if a.off is not None]
    if not d.conserves:
        return f"{d.method} does not distribute the score: its sums are no parts of it"
    if any(r.readout == "heat" for r in d.relevances):
        return "the maps are quantised, so their sums are no parts of the score"
    if all(a.total is None for a in found):
        return "bias and leak are not in the file, so there is nothing that has to add up"
    if not offs and d.method in FROM_REFERENCE:
        return "all of it sums to the difference from a reference, which the file does not hold"
    if not offs:
        return "what was seeded is not in the file, so the sums have nothing to be compared with"
    return f"relevance, bias and leak sum to the seed: off by {number(max(offs), 2)} at most"
