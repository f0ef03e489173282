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

from rfponnx.verify import (
    kernels_conv,
    kernels_deform,
    kernels_flow,
    kernels_index,
    kernels_math,
    kernels_norm,
    kernels_pool,
    kernels_recurrent,
    kernels_resize,
)

Kernel = Callable[..., Any]

KERNELS: Mapping[tuple[str, str], Kernel] = MappingProxyType(
    {
        ("", "Conv"): kernels_conv.conv,
        ("", "ConvTranspose"): kernels_conv.conv_transpose,
        ("", "DeformConv"): kernels_deform.deform_conv,
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
        ("", "Add"): kernels_math.add,
        ("", "Sub"): kernels_math.subtract,
        ("", "Mul"): kernels_math.multiply,
        ("", "Div"): kernels_math.divide,
        ("", "Pow"): kernels_math.power,
        ("", "Erf"): kernels_math.erf,
        ("", "Sigmoid"): kernels_math.sigmoid,
        ("", "Softplus"): kernels_math.softplus,
        ("", "Softsign"): kernels_math.softsign,
        ("", "Gelu"): kernels_math.gelu,
        ("", "Swish"): kernels_math.swish,
        ("", "Mish"): kernels_math.mish,
        ("", "HardSigmoid"): kernels_math.hard_sigmoid,
        ("", "HardSwish"): kernels_math.hard_swish,
        ("", "Elu"): kernels_math.elu,
        ("", "Selu"): kernels_math.selu,
        ("", "Celu"): kernels_math.celu,
        ("", "PRelu"): kernels_math.prelu,
        ("", "DequantizeLinear"): kernels_math.dequantize,
        ("", "DynamicQuantizeLinear"): kernels_math.dynamic_quantize,
        ("", "GatherElements"): kernels_index.gather_elements,
        ("", "Scatter"): kernels_index.scatter_elements,
        ("", "ScatterElements"): kernels_index.scatter_elements,
        ("", "ScatterND"): kernels_index.scatter_nd,
        ("", "CumSum"): kernels_index.cum_sum,
        ("", "Pad"): kernels_index.pad,
        ("", "Upsample"): kernels_resize.upsample,
        ("", "Resize"): kernels_resize.resize,
        ("", "GridSample"): kernels_resize.grid_sample,
        ("", "AffineGrid"): kernels_resize.affine_grid,
        ("", "LSTM"): kernels_recurrent.lstm,
        ("", "GRU"): kernels_recurrent.gru,
        ("", "RNN"): kernels_recurrent.rnn,
        ("com.microsoft", "Gelu"): kernels_math.gelu,
        ("com.microsoft", "FastGelu"): kernels_math.fast_gelu,
        ("com.microsoft", "QuickGelu"): kernels_math.quick_gelu,
    }
)


class Own(OpRun):
    """A node evaluated by one of `KERNELS`."""

    def __init__(self, node: onnx.NodeProto, run_params: dict[str, Any]) -> None:
        self.kernel = KERNELS[node.domain, node.op_type]
        version = run_params["opsets"][node.domain]
        # the schema of the opset in use, since defaults differ between versions
        known = onnx.defs.has(node.op_type, version, node.domain)
        schema = onnx.defs.get_schema(node.op_type, version, node.domain) if known else None
        self.since = schema.since_version if schema else version
        super().__init__(node, run_params, schema)

    def _run(self, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        given = {k: _plain(v) for k, v in attributes.items() if v is not None}
        outputs = len(self.onnx_node.output)
        found = self.kernel(*inputs, **given, since=self.since, outputs=outputs)
        return found if isinstance(found, tuple) else (found,)


@cache
def operators() -> tuple[type[OpRun], ...]:
    """Return the kernels as the `new_ops` of `onnx.reference.ReferenceEvaluator`."""
    own = (type(op, (Own,), {"op_domain": domain}) for domain, op in KERNELS)
    return (*own, kernels_flow.Loop, kernels_flow.Scan)


def _plain(value: Any) -> Any:
    """Turn the float32 scalars of `onnx.reference` into Python floats."""
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value
