"""Every opset: as it is spelled there, and the same node under every version of its operator."""

from __future__ import annotations

import importlib
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, helper

from tests.ops.harness import Case
from tests.standard.cases_opsets import CASES
from tests.standard.judge import WAYS, checks, judge, run

OPS = Path(__file__).parents[1] / "ops"
OLDEST, NEWEST = 7, 24  # that ONNX Runtime runs
#: Cases of the op tables that are tried under every version of their operator.
EACH = 2


def model_at(case: Case, opset: int) -> ModelProto:
    """Return the model as files of that opset were: initializers are inputs before IR 4."""
    model = case.model(opset=opset)
    model.ir_version = 3 if opset < 9 else 4 if opset < 10 else 10
    if model.ir_version < 4:
        for stored in model.graph.initializer:
            info = helper.make_tensor_value_info(stored.name, stored.data_type, list(stored.dims))
            model.graph.input.append(info)
    return model


def problem(case: Case, model: ModelProto) -> str:
    """Return what is wrong with the conversion in one of the ways, the case's own choice."""
    sources = [f"{x}={x}" for x in case.names if x.startswith("x")]
    way = {**WAYS[zlib.crc32(str(case).encode()) % len(WAYS)], **case.options}
    feeds = case.feeds()
    return judge(model, feeds, run(model, feeds), sources, way)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_old_opsets_spell_it(case: Case) -> None:
    model = model_at(case, case.opset)
    assert checks(model)
    assert problem(case, model) == ""


@cache
def versions() -> dict[str, set[int]]:
    """Return the opsets in which each operator changed."""
    found: dict[str, set[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain:
            found.setdefault(schema.name, set()).add(schema.since_version)
    return found


def restamped() -> Iterator[tuple[Case, int, ModelProto]]:
    """Yield some cases of every operator at the opsets where they are valid and run."""
    seen: Counter[str] = Counter()
    for name in sorted(p.stem for p in OPS.glob("cases_*.py")):
        for case in importlib.import_module(f"tests.ops.{name}").CASES:
            sources = any(n.startswith("x") for n in case.names)
            if case.domain or case.refuses or not sources or seen[case.op] == EACH:
                continue
            seen[case.op] += 1
            changed = {v for v in versions()[case.op] if OLDEST <= v <= NEWEST}
            for opset in sorted(changed | {OLDEST, NEWEST}):
                try:
                    model = model_at(case, opset)
                    onnx.checker.check_model(model, full_check=True)
                    run(model, case.feeds())
                except Exception:  # another signature there, or no kernel
                    continue
                yield case, opset, model


@pytest.mark.slow
def test_under_every_version_of_its_operator() -> None:
    found, count = {}, 0
    for case, opset, model in restamped():
        count += 1
        wrong = problem(case, model)
        if wrong:
            found[f"{case} at {opset}"] = wrong
    assert found == {}
    assert count > 500
