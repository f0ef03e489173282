"""The float64 evaluator passes the per-operator cases of the `onnx` package."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
from onnx.backend.test.case.node import collect_testcases

from rfponnx.verify.float64 import Float64

# what has no float64 counterpart, or is random, or is quantised at a tie
INAPPLICABLE = (
    "FLOAT4|FLOAT6|FLOAT8|BFLOAT|INT2|INT4|float[468]|bfloat|bf16|e[245]m|e8m0|int[24]"
    "|bitcast|training_dropout|random|bernoulli|dynamicquantize|adam|adagrad|momentum"
)
# cases on which ONNX Runtime differs from the package: the kernels follow ONNX Runtime
RUNTIME_DIFFERS = (
    "resize_downsample_scales_(linear|cubic)_align_corners|maxunpool_export_with_output_shape"
)
# Scan of opset 8 has another signature; expansions of functions repeat a case
OTHER = "scan_sum$|expanded|sequence_map"
EXCLUDED = re.compile("|".join((INAPPLICABLE, RUNTIME_DIFFERS, OTHER)))


def test_cases_of_the_standard() -> None:
    with warnings.catch_warnings():
        # the package computes its expected infinities with warnings
        warnings.simplefilter("ignore")
        cases = [c for c in collect_testcases(None) if c.model and not EXCLUDED.search(c.name)]
    failed = {}
    count = 0
    for case in cases:
        for inputs, outputs in case.data_sets or ():
            if all(isinstance(v, np.ndarray | np.generic) for v in (*inputs, *outputs)):
                count += 1
                problem = compare(case.model, inputs, outputs)
                if problem:
                    failed[case.name] = problem
    assert failed == {}
    assert count > 1000


def compare(model: Any, inputs: Any, outputs: Any) -> str:
    """Return what is wrong, with the tolerance of the package (half precision: eleven bits)."""
    names = [i.name for i in model.graph.input]
    found = Float64(model).run(dict(zip(names, inputs, strict=False)))
    for ours, theirs in zip(found.values(), map(np.asarray, outputs), strict=True):
        floating = theirs.dtype.kind == "f"
        if ours.shape != theirs.shape or (floating and ours.dtype != np.float64):
            return f"{ours.dtype}{ours.shape} instead of {theirs.dtype}{theirs.shape}"
        if not floating:
            if not np.array_equal(ours, theirs):
                return "values differ"
            continue
        tolerance = 1e-2 if theirs.dtype == np.float16 else 1e-3
        exact = theirs.astype(np.float64)
        if not np.allclose(ours, exact, rtol=tolerance, atol=tolerance / 100, equal_nan=True):
            return "values differ"
    return ""
