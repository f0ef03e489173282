"""The models with which the onnx package tests runtimes: one operator each, or its expansion."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from rfponnx.graph.graph import FLOATS
from tests.standard.judge import Array, run

#: What the installed ONNX Runtime runs; a newer file of the same operators is taken for one.
NEWEST_IR, NEWEST_OPSET = 10, 24


@dataclass(frozen=True, eq=False)
class BackendCase:
    """A model that ONNX Runtime runs, its inputs and what it makes of them.

    Attributes
    ----------
    floats
        Its float inputs: what can be sources.
    """

    name: str
    model: ModelProto
    feeds: Mapping[str, Array]
    predicted: Mapping[str, Any]
    floats: tuple[str, ...]

    def __str__(self) -> str:
        return self.name.removeprefix("test_")

    @property
    def op(self) -> str:
        """The operator it is about; that of its first node where it is an expansion."""
        return self.model.graph.node[0].op_type


@cache
def cases(*, stored: bool) -> tuple[BackendCase, ...]:
    """Return all cases with a float input and a float output.

    Parameters
    ----------
    stored
        Whether the inputs that hold no floats are stored in the file, as exporters do it.
    """
    with warnings.catch_warnings():
        # the package computes its expected infinities with warnings
        warnings.simplefilter("ignore")
        return tuple(_usable(stored))


def _usable(stored: bool) -> Iterator[BackendCase]:
    for case in collect_testcases(None):
        if not case.model or not case.data_sets:
            continue
        model = _older(case.model)
        data = [_array(v) for v in case.data_sets[0][0]]
        floats = tuple(i.name for i in model.graph.input if _is_float(i))
        if not floats or not any(map(_is_float, model.graph.output)) or None in map(type, data):
            continue
        feeds = {i.name: v for i, v in zip(model.graph.input, data, strict=False) if v is not None}
        if len(feeds) < len(data):
            continue
        if stored:
            feeds = _store(model, feeds)
        try:
            predicted = run(model, feeds)
        except Exception:  # its error types are not exported
            continue
        yield BackendCase(case.name, model, feeds, predicted, floats)


def _older(model: ModelProto) -> ModelProto:
    """Return a copy in a version that ONNX Runtime knows."""
    older = ModelProto()
    older.CopyFrom(model)
    older.ir_version = min(older.ir_version, NEWEST_IR)
    for opset in older.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = min(opset.version, NEWEST_OPSET)
    return older


def _array(value: Any) -> Array | None:
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


def _is_float(value: Any) -> bool:
    return value.type.tensor_type.elem_type in FLOATS


def _store(model: ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """Make initializers of the inputs without floats; return what is still to be fed."""
    kept = [i for i in model.graph.input if _is_float(i)]
    for given in model.graph.input:
        if given not in kept and given.name in feeds:
            model.graph.initializer.append(numpy_helper.from_array(feeds[given.name], given.name))
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return {i.name: feeds[i.name] for i in kept if i.name in feeds}
