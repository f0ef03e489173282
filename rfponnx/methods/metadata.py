"""What a conversion writes about itself into the file: enough to run and verify it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import onnx

KEY = "rfponnx"


def read_metadata(model: onnx.ModelProto) -> dict[str, Any] | None:
    """Return what the last conversion wrote into a model; ``None`` if it is an original."""
    for entry in model.metadata_props:
        if entry.key == KEY:
            found: dict[str, Any] = json.loads(entry.value)
            return found
    return None


def write_metadata(model: onnx.ModelProto, described: Mapping[str, Any]) -> None:
    """Put the description of a conversion into a model, in place of an earlier one."""
    value = json.dumps(described, sort_keys=True)
    for entry in model.metadata_props:
        if entry.key == KEY:
            entry.value = value
            return
    model.metadata_props.add(key=KEY, value=value)
