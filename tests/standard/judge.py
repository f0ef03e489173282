"""What a conversion promises, judged on one model and one set of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto

import rfponnx
from rfponnx.errors import RfpError
from rfponnx.verify.completeness import DOUBLE, incompleteness, single_bound
from rfponnx.verify.float64 import Float64
from rfponnx.verify.prediction import differing

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]

#: Both layouts, and every linearisation.
WAYS: tuple[Mapping[str, str], ...] = (
    {"layout": "separate"},
    {"layout": "stacked"},
    {"layout": "separate", "linearisation": "ratio"},
    {"layout": "separate", "linearisation": "taylor"},
)


def session(model: ModelProto) -> Any:
    """Return a session that optimises nothing."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(model: ModelProto, feeds: Feeds) -> dict[str, Any]:
    """Return all outputs in the model's own precision."""
    opened = session(model)
    names = [o.name for o in opened.get_outputs()]
    return dict(zip(names, opened.run(names, dict(feeds)), strict=True))


def checks(model: ModelProto) -> bool:
    """Tell whether the checker likes a model."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception:  # the C++ side raises whatever it likes
        return False
    return True


def judge(
    model: ModelProto,
    feeds: Feeds,
    predicted: Mapping[str, Any],
    sources: Sequence[str] | None,
    way: Mapping[str, str],
) -> str:
    """Return what a conversion does wrong; empty if nothing.

    Parameters
    ----------
    predicted
        The outputs of the original.
    sources
        Source specifications; ``None`` for the default.
    way
        Options of the conversion.
    """
    try:
        explicit = rfponnx.convert(model, sources=sources, bias="explicit", **way)  # type: ignore[arg-type]
    except RfpError as error:
        return f"{type(error).__name__}: {error}"
    if checks(model) and not checks(explicit.model):
        return "the checker refuses it"
    found = run(explicit.model, feeds)
    for name, value in predicted.items():
        if differing(value, found[name]):
            return f"the prediction `{name}` differs"
    exact = Float64(explicit.model).run(feeds)
    bounds = ((found, single_bound(explicit.plan)), (exact, DOUBLE))
    for outputs, bound in bounds:
        for one in explicit.plan.explained:
            y, rows = _pair(outputs, one.tensor, one.output)
            worst = incompleteness(np.asarray(y), rows)
            if not worst <= bound:
                return f"incomplete by {worst:.1e}, bound {bound:.0e}"
            if not _finite(y, rows):
                return "not finite where the prediction is"
    return ""


def _pair(outputs: Mapping[str, Any], tensor: str, output: str) -> tuple[Array, Array]:
    """Return an explained tensor and its relevance."""
    relevance = next(
        outputs[f"{n}_relevance"] for n in (tensor, output) if f"{n}_relevance" in outputs
    )
    value = outputs[tensor] if tensor in outputs else outputs[f"{output}_explained"]
    return np.asarray(value), np.asarray(relevance)


def _finite(y: Array, rows: Array) -> bool:
    """Tell whether relevances are numbers wherever what they explain is one."""
    return bool(np.isfinite(rows.astype(np.float64)[:, np.isfinite(y.astype(np.float64))]).all())
