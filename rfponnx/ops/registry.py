"""The op table: every row of every family, looked up by domain, name and opset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rfponnx.ops import (
    activation,
    conv,
    fourier,
    indexing,
    linear,
    ml,
    normalise,
    norms,
    piecewise,
    pool,
    power,
    product,
    rearrange,
    resize,
    rotate,
    select,
    selfgate,
    softmax,
)
from rfponnx.ops.op import Op

FAMILIES = (
    *(linear, conv, pool, resize, fourier, rotate, normalise, norms, ml, rearrange, indexing),
    *(activation, selfgate, select, piecewise, power, product, softmax),
)


def table(families: Iterable[object] = FAMILIES) -> tuple[Op, ...]:
    """Return all rows, sorted by domain, name and opset; two equal rows are an error."""
    rows = [op for family in families for op in family.OPS]  # type: ignore[attr-defined]
    keys = [(op.domain, op.name, op.since) for op in rows]
    if len(set(keys)) != len(keys):
        twice = sorted({k for k in keys if keys.count(k) > 1})
        raise ValueError(f"declared twice: {twice}")
    return tuple(sorted(rows, key=lambda op: (op.domain, op.name.lower(), op.since)))


class Registry:
    """The op table as a lookup."""

    def __init__(self, rows: Iterable[Op] | None = None) -> None:
        self._rows: Mapping[tuple[str, str], list[Op]] = {}
        found: dict[tuple[str, str], list[Op]] = {}
        for op in table() if rows is None else rows:
            found.setdefault((op.domain, op.name), []).append(op)
        self._rows = found

    def find(self, domain: str, name: str, opset: int) -> Op | None:
        """Return the row in force at an opset, or ``None``."""
        plain = "" if domain == "ai.onnx" else domain
        rows = [op for op in self._rows.get((plain, name), ()) if op.since <= opset or plain]
        return rows[-1] if rows else None

    def names(self) -> tuple[str, ...]:
        """Return the names of all operators in the table."""
        return tuple(sorted({name for _, name in self._rows}))
