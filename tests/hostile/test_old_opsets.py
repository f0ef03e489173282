"""A model of any older opset predicts what it did, bit for bit, after it was raised.

Every operator of the `onnx` package's cases is claimed to be of each older opset that defined it
differently; those that ONNX Runtime runs have to run alike when prepared.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.node import collect_testcases

import rfponnx
from rfponnx.errors import RfpError
from rfponnx.graph.load import load
from rfponnx.graph.prepare import prepare
from rfponnx.methods.convert import FORWARD_OPSET as MINIMUM_OPSET
from tools.fuzz import runs, same, session

FEW = 2  # cases of an operator in an opset


def older(model: onnx.ModelProto) -> Iterator[int]:
    """Yield the last opset of every earlier definition of the operator."""
    kind = model.graph.node[0].op_type
    newer = None
    for opset in range(MINIMUM_OPSET, 5, -1):
        if not onnx.defs.has(kind, opset):
            return
        since = onnx.defs.get_schema(kind, opset).since_version
        if newer is not None and since != newer:
            yield opset
        newer = since


def claimed() -> Iterator[tuple[str, onnx.ModelProto]]:
    """Yield one-node models that say they are older than they are."""
    counts: dict[tuple[str, int], int] = {}
    with warnings.catch_warnings(action="ignore"):
        cases = [c for c in collect_testcases(None) if c.model and len(c.model.graph.node) == 1]
    for case in cases:
        kind = case.model.graph.node[0].op_type
        for opset in older(case.model):
            if counts.get((kind, opset), 0) == FEW:
                continue
            model = onnx.ModelProto()
            model.CopyFrom(case.model)
            model.opset_import[0].version, model.ir_version = opset, 7
            if original_runs(model):
                counts[kind, opset] = counts.get((kind, opset), 0) + 1
                yield f"{case.name} in opset {opset}", model


def original_runs(model: onnx.ModelProto) -> bool:
    found, _ = session(model.SerializeToString())
    return found is not None and bool(runs(found)[1])


@pytest.mark.slow
def test_raising_the_opset_changes_no_bit() -> None:
    count, changed = 0, []
    for name, model in claimed():
        before, _ = session(model.SerializeToString())
        feeds, expected = runs(before)
        raised = prepare(load(model), MINIMUM_OPSET).proto
        after, _ = session(raised.SerializeToString())
        if after is None:  # Scan had a batch axis of its own
            with pytest.raises(RfpError):
                rfponnx.convert(model)
            continue
        found = after.run([o.name for o in before.get_outputs()], feeds)
        again = before.run(None, feeds)  # some draw at random
        pairs = zip(expected, again, found, strict=True)
        changed += [name for a, b, c in pairs if same(a, b) and not same(a, c)]
        count += 1
    assert not changed
    assert count > 150


def test_the_law_can_fail() -> None:
    assert not same(np.zeros(2, np.float32), -np.zeros(2, np.float32))
