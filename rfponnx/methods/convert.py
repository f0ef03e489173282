"""From a model to its relevance graph: load -> prepare -> plan -> emit -> one ModelProto."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from rfponnx.emit.readout import Result
from rfponnx.emit.start import mask_input, masks_input
from rfponnx.errors import OptionError
from rfponnx.graph.builder import Builder, model_with
from rfponnx.graph.graph import Graph
from rfponnx.graph.load import load
from rfponnx.graph.prepare import prepare
from rfponnx.graph.save import save
from rfponnx.methods import rfp
from rfponnx.plan.options import Options
from rfponnx.plan.plan import Plan, make_plan
from rfponnx.plan.sources import Masks, Source, default_sources, parse
from rfponnx.version import VERSION

KEY = "rfponnx"  # of the metadata entry


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted model.

    Attributes
    ----------
    model
        The relevance graph; external data is referenced, not loaded.
    plan
        The decisions that it was written from.
    report
        What was done: releases, look-throughs, preparation, growth.
    """

    model: onnx.ModelProto
    plan: Plan
    report: Mapping[str, Any]

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> int:
        """Write the model atomically; return its size in bytes.

        Raises
        ------
        OutputError
            The file exists (without `force`) or cannot be written.
        """
        folder = self.plan.graph.prepared.loaded.folder
        return save(self.model, Path(path), folder=folder, force=force)


def convert(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto,
    method: str = "rfp",
    sources: Mapping[str, str] | Sequence[str] | None = None,
    *,
    masks: str | None = None,
    options: Options | None = None,
    outputs: Sequence[str] | None = None,
) -> Converted:
    """Return the relevance graph of a model.

    Parameters
    ----------
    model
        A path, the bytes of a file, or a loaded ModelProto.
    method
        ``rfp``.
    sources
        Name to piece, ``{"sar": "image[:,10:12]"}``, or specs ``"sar=image[:,10:12]"``; without
        any, every input is a source.
    masks
        A tensor whose sources are given by run-time masks, any number of them.
    outputs
        Explain these of the model's outputs only (a second conversion explains the first
        model's outputs again, not its relevances).

    Raises
    ------
    RfpError
        Bad model, options that do not fit it, or a node without a linearisation.
    """
    if method != "rfp":
        raise OptionError(f"no method `{method}`", "--method", "it can be rfp")
    options = options or Options()
    graph = Graph(prepare(load(model), rfp.MINIMUM_OPSET))
    plan = plan_for(graph, options, sources, masks)
    return emit_model(plan, method)


def plan_for(
    graph: Graph,
    options: Options,
    sources: Mapping[str, str] | Sequence[str] | None,
    masks: str | None,
) -> Plan:
    """Return the plan for sources given as the API takes them."""
    if masks is not None:
        if sources:
            raise OptionError("--source and --source-masks exclude each other")
        return make_plan(graph, options, (), Masks(masks))
    if sources:
        specs = (
            [f"{k}={v}" for k, v in sources.items()] if isinstance(sources, Mapping) else sources
        )
        return make_plan(graph, options, tuple(parse(s, graph) for s in specs))
    found, notes = default_sources(graph)
    if not found:
        raise OptionError("the model has no input that a source could be", hint="use --source")
    return make_plan(graph, options, found, notes=notes)


def emit_model(plan: Plan, method: str) -> Converted:
    """Write the overlay of a plan behind its primal."""
    primal = plan.graph.proto
    b = Builder(plan.graph, _prefix(plan.graph))
    results = rfp.emit(plan, b)
    model = model_with(primal, b)
    for source in plan.sources:
        if any(p.masked for p in source.pieces):
            model.graph.input.append(_mask_info(plan.graph, source))
    if plan.masks is not None:
        model.graph.input.append(_masks_info(plan.graph, plan.masks))
    model.graph.output.extend(_info(r.name, r.dtype, r.shape) for r in results)
    report = _report(plan, b, results, model)
    entry = model.metadata_props.add() if not _entry(model) else _entry(model)
    assert entry is not None
    entry.key = KEY
    described = {
        "version": VERSION,
        "method": method,
        "prefix": b.prefix,
        "options": plan.options.as_json(),
        "sources": [str(s) for s in plan.sources],
        "source_names": [s.name for s in plan.sources],
        "masks": plan.masks.tensor if plan.masks else None,
        "explained": {r.name: r.tensor for r in results if r.tensor},
        "outputs": list(plan.graph.outputs),
        "report": report,
    }
    entry.value = json.dumps(described, sort_keys=True)
    return Converted(model, plan, report)


def read_metadata(model: onnx.ModelProto) -> dict[str, Any] | None:
    """Return what a conversion wrote into a model; ``None`` if it is an original."""
    entry = _entry(model)
    if entry is None:
        return None
    found: dict[str, Any] = json.loads(entry.value)
    return found


def _entry(model: onnx.ModelProto) -> onnx.StringStringEntryProto | None:
    return next((p for p in model.metadata_props if p.key == KEY), None)


def _prefix(graph: Graph) -> str:
    """Return ``rfp``, or ``rfp2``, ... where an overlay is already there."""
    names = graph.tensors()
    count, prefix = 1, "rfp"
    while any(n.startswith(f"{prefix}/") for n in names):
        count += 1
        prefix = f"rfp{count}"
    return prefix


def _info(name: str, dtype: int, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, list(shape))


def _mask_info(graph: Graph, source: Source) -> onnx.ValueInfoProto:
    tensor = next(p.tensor for p in source.pieces if p.masked)
    rank, name = graph.rank(tensor) or 0, mask_input(source.name)
    free = [f"{name}_{axis}" for axis in range(rank)]
    return _info(name, graph.dtype(tensor) or 1, free)


def _masks_info(graph: Graph, masks: Masks) -> onnx.ValueInfoProto:
    rank, name = graph.rank(masks.tensor) or 0, masks_input(masks.tensor)
    free = [f"{name}_{axis}" for axis in range(rank + 1)]
    return _info(name, graph.dtype(masks.tensor) or 1, free)


def _report(
    plan: Plan, b: Builder, results: Sequence[Result], model: onnx.ModelProto
) -> dict[str, Any]:
    before, after = len(plan.graph.proto.graph.node), len(model.graph.node)
    released = {s.node.label: s.linearisation.note for s in plan.steps if s.linearisation.note}
    return {
        "changes": list(plan.graph.prepared.changes),
        "notes": list(plan.notes),
        "nodes": {"before": before, "after": after},
        "bytes": {"before": plan.graph.proto.ByteSize(), "after": model.ByteSize()},
        "outputs": {r.name: [str(d) for d in r.shape] for r in results},
        "looked_through": {e.output: list(e.through) for e in plan.explained if e.through},
        "unreached": list(plan.unreached),
        "decided": released,
    }
