"""What a conversion writes about itself into the file: enough to run and verify it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import onnx

from rfponnx.errors import ModelError, OptionError
from rfponnx.plan.options import Options

KEY = "rfponnx"


#: What every conversion writes, and of which type it is.
WRITTEN: Mapping[str, type | tuple[type, ...]] = {
    "version": str, "method": str, "prefix": str, "options": dict, "report": dict,
    "sources": list, "source_names": list, "masks": (str, type(None)), "explained": dict,
    "inputs": list, "outputs": list,
}  # fmt: skip


def read_metadata(model: onnx.ModelProto) -> dict[str, Any] | None:
    """Return what the last conversion wrote into a model; ``None`` if it is an original.

    Raises
    ------
    ModelError
        The entry is damaged, or speaks of another model.
    """
    for entry in model.metadata_props:
        if entry.key == KEY:
            try:
                return _checked(json.loads(entry.value), model.graph)
            except (LookupError, ValueError, TypeError, AttributeError, OptionError) as error:
                what = "its description by rfponnx is damaged (in the metadata)"
                raise ModelError(what, hint="convert the original again") from error
    return None


def _checked(found: dict[str, Any], graph: onnx.GraphProto) -> dict[str, Any]:
    """Return a description of the form that `write_metadata` gives it, or raise."""
    for key, kind in WRITTEN.items():
        if not isinstance(found[key], kind):
            raise TypeError(key)
    Options.from_json(found["options"])
    texts = (*found["sources"], *found["source_names"], *found["inputs"], *found["outputs"])
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("names")
    if len(found["sources"]) != len(found["source_names"]):
        raise ValueError("sources")
    ends = {value.name for value in graph.input}, {value.name for value in graph.output}
    for key, have in zip(("inputs", "outputs"), ends, strict=True):
        if not have.issuperset(found[key]):
            raise LookupError(key)
    return found


def write_metadata(model: onnx.ModelProto, described: Mapping[str, Any]) -> None:
    """Put the description of a conversion into a model, in place of an earlier one."""
    value = json.dumps(described, sort_keys=True)
    for entry in model.metadata_props:
        if entry.key == KEY:
            entry.value = value
            return
    model.metadata_props.add(key=KEY, value=value)
