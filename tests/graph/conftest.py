"""Models for the tests of the graph layer."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, helper

#: Name of a value, element type, dimensions.
Value = tuple[str, int, Sequence[int | str | None] | None]


class Tools:
    """Short ways to make and to run a model."""

    @staticmethod
    def model(
        nodes: Sequence[NodeProto],
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        *,
        stored: Mapping[str, np.ndarray] | None = None,
        opset: int = 13,
        ir: int = 8,
    ) -> ModelProto:
        """Return a model; `stored` are its initializers."""
        graph = helper.make_graph(
            list(nodes),
            "g",
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(*value) for value in outputs],
            [onnx.numpy_helper.from_array(a, name) for name, a in (stored or {}).items()],
        )
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir)

    @staticmethod
    def run(
        model: ModelProto | Path,
        feeds: Mapping[str, np.ndarray],
        names: Sequence[str] | None = None,
    ) -> list[Any]:
        """Run a model without optimisation and return its outputs."""
        options = onnxruntime.SessionOptions()
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        source = str(model) if isinstance(model, Path) else model.SerializeToString()
        session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        result: list[Any] = session.run(list(names) if names else None, dict(feeds))
        return result


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    """Short ways to make and to run a model."""
    return Tools


@pytest.fixture(scope="session")
def corpus(shared: Path) -> Any:
    """The module that fills the models of the corpus."""
    path = shared / "corpus" / "corpus.py"
    if not path.is_file():
        pytest.skip("../shared/corpus is absent")
    spec = importlib.util.spec_from_file_location("corpus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
