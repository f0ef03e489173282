"""What a converted file says about itself: its sources, what is explained, and where."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rfponnx.errors import InputError, ModelError, nearest
from rfponnx.runtime.backward import Extra, Relevance, extras, relevances
from rfponnx.runtime.ports import Port

BIAS = "bias"


@dataclass(frozen=True, slots=True)
class Readout:
    """One explained tensor of a converted file.

    Attributes
    ----------
    relevance
        The output that holds its relevance [R, *E], a row a source and the last one for bias;
        empty in a backward file, whose relevances have an entry of their own.
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
    options
        Of the method, as they were written down.
    direction
        ``forward``: relevances of what is explained, by source.  ``backward``: relevances of
        the inputs, by target.
    relevances, extras
        The outputs and the additional inputs of a backward file.
    conserves
        Whether relevance, bias and leak of a backward file sum to what was seeded.
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
    options: Mapping[str, Any] = field(default_factory=dict)
    direction: str = "forward"
    relevances: tuple[Relevance, ...] = ()
    extras: tuple[Extra, ...] = ()
    conserves: bool = False

    @property
    def backward(self) -> bool:
        """Whether relevance went from the output to the inputs."""
        return self.direction == "backward"

    @property
    def targets(self) -> tuple[str, ...]:
        """The labels of the targets of a backward file."""
        return self.relevances[0].targets if self.relevances else ()

    def of_kind(self, *kinds: str) -> tuple[Relevance, ...]:
        """Return the relevances of a backward file that are of some kinds."""
        return tuple(r for r in self.relevances if r.kind in kinds)

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
            if name and name in (one.relevance, one.output, one.tensor, one.values):
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
        data = json.loads(text)
        read = _read_backward if data.get("direction") == "backward" else _read
        found = read(data, {p.name: p for p in inputs}, {p.name: p for p in outputs})
        if found.masks is not None and f"{found.masks}_masks" not in {p.name for p in inputs}:
            raise ValueError("the masks are others")
        return found
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        what = "its description by rfponnx is damaged"
        raise ModelError(what, model, "convert the original again") from error


def _read(
    data: Mapping[str, Any], inputs: Mapping[str, Port], outputs: Mapping[str, Port]
) -> Description:
    readouts = tuple(_readout(name, one, outputs) for name, one in data["explained"].items())
    masks = data.get("masks")
    for one in readouts if masks is None else ():
        if outputs[one.relevance].shape[0] not in (len(data["source_names"]) + 1, None):
            raise ValueError("the sources are others")
    return _described(data, readouts)


def _read_backward(
    data: Mapping[str, Any], inputs: Mapping[str, Port], outputs: Mapping[str, Port]
) -> Description:
    readouts = tuple(_explained(name, one, outputs) for name, one in data["explained"].items())
    sources = len(data["source_names"]) if data.get("masks") is None else None
    found = relevances(data["relevances"], outputs, sources)
    if len({r.targets for r in found}) > 1:
        raise ValueError("the targets differ")
    return replace(
        _described(data, readouts),
        direction="backward",
        relevances=found,
        extras=extras(data.get("extra_inputs", {}), inputs),
        conserves=bool(data.get("conserves", False)),
    )


def _described(data: Mapping[str, Any], readouts: tuple[Readout, ...]) -> Description:
    """Return what both directions say."""
    if not readouts:
        raise ValueError("nothing is explained")
    options, masks = data["options"], data.get("masks")
    bias = options.get("bias", "separate")
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
        options=dict(options),
    )


def _readout(name: str, one: Mapping[str, Any], outputs: Mapping[str, Port]) -> Readout:
    tensor, output, axis = str(one["tensor"]), str(one["output"]), int(one["class_axis"])
    stem = name.rpartition("_relevance")
    beside = f"{stem[0]}_explained{stem[2]}"
    values = next((v for v in (tensor, beside) if v in outputs), "")
    rank = len(outputs[values].shape) if values else len(outputs[name].shape) - 1
    _check_axis(axis, rank)
    return Readout(name, values, output, tensor, axis)


def _explained(name: str, one: Mapping[str, Any], outputs: Mapping[str, Port]) -> Readout:
    """Read an entry of a backward file; its key is the output that holds the values, if any."""
    axis = int(one["class_axis"])
    if name:
        _check_axis(axis, len(outputs[name].shape))
    return Readout("", name, str(one["output"]), str(one["tensor"]), axis)


def _check_axis(axis: int, rank: int) -> None:
    if not 0 <= axis < max(rank, 1):
        raise ValueError(f"no axis {axis}")
