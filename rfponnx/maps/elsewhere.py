"""The same maps and expressions at other values: of tensors that have another name there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar, cast

from rfponnx.maps.base import Map
from rfponnx.maps.expr import Expr, tensor

T = TypeVar("T")


def elsewhere(value: T, names: Mapping[str, str]) -> T:
    """Return an expression or a map that reads the tensors which `names` gives.

    What a map takes only the shape of stays: shapes are the same there.
    """
    return cast("T", _moved(value, names))


def _moved(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Expr):
        if value.kind == "tensor":
            name = str(value.attrs[0][1])
            return tensor(names.get(name, name))
        args = tuple(_moved(a, names) for a in value.args)
        attrs = tuple((k, _moved(v, names) if isinstance(v, Map) else v) for k, v in value.attrs)
        return Expr(value.kind, args, attrs)
    if isinstance(value, tuple):
        return tuple(_moved(v, names) for v in value)
    if isinstance(value, Map):
        held = {f.name: getattr(value, f.name) for f in fields(value)}  # type: ignore[arg-type]
        moved = {k: _moved(v, names) for k, v in held.items() if isinstance(v, Expr | Map | tuple)}
        return replace(value, **moved)  # type: ignore[type-var]
    return value
