"""What a converted file says about itself: its sources, what is explained, and where."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rfponnx.errors import InputError, ModelError, nearest
from rfponnx.runtime.ports import Port

BIAS = "bias"


@dataclass(frozen=True, slots=True)
class Readout:
    """One relevance of a converted file.

    Attributes
    ----------
    relevance
        The output that holds it: [R, *E], a row a source and the last one for bias.
    values
        The output that holds the explained tensor [*E]; empty where there is none.
    output
        The output of the original model that it explains.
    tensor
        The explained tensor.
    class_axis
        The axis of E along which the classes lie.
    """

    relevance: str
    values: str
    output: str
    tensor: str
    class_axis: int


@dataclass(frozen=True, slots=True)
class Description:
    """What the metadata of a converted file holds.

    Attributes
    ----------
    sources
        Their names in the order of the rows, without bias; empty with run-time `masks`.
    specs
        The same as written on the command line, ``sar=image[:,3:4]``.
    masks
        The tensor whose sources are given at run time, if any.
    predicted
        Whether a relevance holds the predicted class only, without an axis of classes.
    exact
        Whether the rows of a relevance sum to the explained tensor.
    linear
        Whether each row depends on its own source only, so that sources can be run apart.
    inputs, outputs
        Of the original model; empty where an older version did not say.
    """

    method: str
    version: str
    sources: tuple[str, ...]
    specs: tuple[str, ...]
    masks: str | None
    predicted: bool
    exact: bool
    linear: bool
    readouts: tuple[Readout, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)

    def readout(self, name: str | None, model: str) -> Readout:
        """Return the one of this output, tensor or relevance; without a name the first.

        Raises
        ------
        InputError
            Nothing of that name is explained.
        """
        if name is None:
            return self.readouts[0]
        for one in self.readouts:
            if name in (one.relevance, one.output, one.tensor, one.values):
                return one
        known = [r.output for r in self.readouts]
        hint = nearest(name, known) or f"explained are: {', '.join(known)}"
        raise InputError(f"`{name}` is not explained", model, hint)

    def rows(self, count: int) -> tuple[str, ...]:
        """Return the names of the rows of a relevance, bias last."""
        if self.masks is None:
            return (*self.sources, BIAS)
        return (*(f"mask {i}" for i in range(count - 1)), BIAS)


def describe(
    text: str | None, inputs: Sequence[Port], outputs: Sequence[Port], model: str
) -> Description | None:
    """Read the metadata entry of a file; ``None`` for a model that was not converted.

    Raises
    ------
    ModelError
        The entry is damaged, or speaks of outputs that are not there.
    """
    if text is None:
        return None
    try:
        found = _read(json.loads(text), {p.name: p for p in outputs})
        if found.masks is not None and f"{found.masks}_masks" not in {p.name for p in inputs}:
            raise ValueError("the masks are others")
        return found
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        what = "its description by rfponnx is damaged"
        raise ModelError(what, model, "convert the original again") from error


def _read(data: Mapping[str, Any], outputs: Mapping[str, Port]) -> Description:
    options = data["options"]
    bias = options.get("bias", "separate")
    readouts = tuple(_readout(name, one, outputs) for name, one in data["explained"].items())
    if not readouts:
        raise ValueError("nothing is explained")
    masks = data.get("masks")
    for one in readouts if masks is None else ():
        if outputs[one.relevance].shape[0] not in (len(data["source_names"]) + 1, None):
            raise ValueError("the sources are others")
    return Description(
        method=str(data["method"]),
        version=str(data["version"]),
        sources=tuple(str(s) for s in data["source_names"]),
        specs=tuple(str(s) for s in data["sources"]),
        masks=None if masks is None else str(masks),
        predicted=options.get("readout") == "predicted",
        exact=bias != "split_signed",
        linear=not bias.startswith("split"),
        readouts=readouts,
        inputs=tuple(str(s) for s in data.get("inputs", ())),
        outputs=tuple(str(s) for s in data.get("outputs", ())),
        report=dict(data.get("report", {})),
    )


def _readout(name: str, one: Mapping[str, Any], outputs: Mapping[str, Port]) -> Readout:
    tensor, output, axis = str(one["tensor"]), str(one["output"]), int(one["class_axis"])
    stem = name.rpartition("_relevance")
    beside = f"{stem[0]}_explained{stem[2]}"
    values = next((v for v in (tensor, beside) if v in outputs), "")
    rank = len(outputs[values].shape) if values else len(outputs[name].shape) - 1
    if not 0 <= axis < max(rank, 1):
        raise ValueError(f"no axis {axis}")
    return Readout(name, values, output, tensor, axis)
