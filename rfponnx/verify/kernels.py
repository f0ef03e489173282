"""Own float64 kernels for the operators that `onnx.reference` gets wrong, slow or inexact.

Every kernel is a plain function of arrays, called with the inputs of a node by position (None
for an omitted one), its attributes by keyword (defaults of the node's opset filled in, floats
as Python floats), `since` (the operator version) and `outputs` (how many the node declares).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun

from rfponnx.verify import kernels_conv, kernels_norm, kernels_pool

Kernel = Callable[..., Any]

KERNELS: Mapping[tuple[str, str], Kernel] = MappingProxyType(
    {
        ("", "Conv"): kernels_conv.conv,
        ("", "ConvTranspose"): kernels_conv.conv_transpose,
        ("", "MaxPool"): kernels_pool.max_pool,
        ("", "AveragePool"): kernels_pool.average_pool,
        ("", "LpPool"): kernels_pool.lp_pool,
        ("", "GlobalAveragePool"): kernels_pool.global_average_pool,
        ("", "GlobalMaxPool"): kernels_pool.global_max_pool,
        ("", "GlobalLpPool"): kernels_pool.global_lp_pool,
        ("", "MaxUnpool"): kernels_pool.max_unpool,
        ("", "BatchNormalization"): kernels_norm.batch_normalization,
        ("", "InstanceNormalization"): kernels_norm.instance_normalization,
        ("", "GroupNormalization"): kernels_norm.group_normalization,
        ("", "LayerNormalization"): kernels_norm.layer_normalization,
        ("", "RMSNormalization"): kernels_norm.rms_normalization,
        ("", "LRN"): kernels_norm.lrn,
        ("", "MeanVarianceNormalization"): kernels_norm.mean_variance_normalization,
        ("", "LpNormalization"): kernels_norm.lp_normalization,
        ("", "Dropout"): kernels_norm.dropout,
        ("", "Softmax"): kernels_norm.softmax,
        ("", "LogSoftmax"): kernels_norm.log_softmax,
        ("", "Hardmax"): kernels_norm.hardmax,
    }
)


class Own(OpRun):
    """A node evaluated by one of `KERNELS`."""

    def __init__(self, node: onnx.NodeProto, run_params: dict[str, Any]) -> None:
        self.kernel = KERNELS[node.domain, node.op_type]
        version = run_params["opsets"][node.domain]
        # the schema of the opset in use, since defaults differ between versions
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        self.since = schema.since_version
        super().__init__(node, run_params, schema)

    def _run(self, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        given = {k: _plain(v) for k, v in attributes.items() if v is not None}
        outputs = len(self.onnx_node.output)
        found = self.kernel(*inputs, **given, since=self.since, outputs=outputs)
        return found if isinstance(found, tuple) else (found,)


@cache
def operators() -> tuple[type[OpRun], ...]:
    """Return the kernels as the `new_ops` of `onnx.reference.ReferenceEvaluator`."""
    return tuple(type(op, (Own,), {"op_domain": domain}) for domain, op in KERNELS)


def _plain(value: Any) -> Any:
    """Turn the float32 scalars of `onnx.reference` into Python floats."""
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value
