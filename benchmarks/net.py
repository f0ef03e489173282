"""A small writer of convolutional networks with random weights, on onnx.helper alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

EPSILON = 1e-5
CENTER = 0.9
"""Share of its mean that a filter loses: rectified inputs are positive, and with plain random
filters deep networks forget their input."""
GAIN = 2.8
"""He's 2, raised by what the centring takes away: E[x^2] / Var[x] = 1.47 for a rectified
normal variable."""

Array = npt.NDArray[np.float32]


@dataclass
class Net:
    """A graph under construction; every method appends nodes and returns a tensor name.

    Parameters
    ----------
    name
        Name of the graph.
    seed
        Seed of all weights.
    fold
        Whether a BatchNorm is folded into its convolution or stays a node.  Both compute the
        same function up to rounding.
    """

    name: str
    seed: int = 0
    fold: bool = True
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def input(self, name: str, *shape: int) -> str:
        """Add a float32 input [N, *shape] with a free batch axis."""
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        self.inputs.append(info)
        return name

    def weight(self, value: npt.NDArray[np.generic], hint: str) -> str:
        """Add an initializer."""
        name = f"{hint}_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output."""
        out = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attributes))
        return out

    def filters(self, *shape: int, gain: float = 1.0) -> Array:
        """Draw centred, He-scaled filters of shape [out, in, ...]."""
        w = self.rng.standard_normal(shape, dtype=np.float32)
        fan_in = int(np.prod(shape[1:]))
        w -= CENTER * w.mean(axis=tuple(range(1, len(shape))), keepdims=True)
        w *= np.float32(gain * np.sqrt(GAIN / fan_in))
        return w

    def vector(self, size: int, low: float, high: float) -> Array:
        """Draw a uniform vector."""
        return self.rng.uniform(low, high, size).astype(np.float32)

    def conv(
        self,
        x: str,
        cin: int,
        cout: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        gain: float = 1.0,
        norm: bool = True,
    ) -> str:
        """Convolution with "same" padding, followed by a BatchNorm if `norm`."""
        w = self.filters(cout, cin, kernel, kernel, gain=gain)
        pad = dilation * (kernel - 1) // 2
        attributes = {
            "kernel_shape": [kernel] * 2,
            "strides": [stride] * 2,
            "dilations": [dilation] * 2,
            "pads": [pad] * 4,
        }
        if not norm:
            bias = self.weight(self.vector(cout, -0.1, 0.1), "b")
            return self.node("Conv", x, self.weight(w, "w"), bias, **attributes)
        scale, shift = self.vector(cout, 0.8, 1.2), self.vector(cout, -0.1, 0.1)
        mean, var = self.vector(cout, -0.1, 0.1), self.vector(cout, 0.8, 1.2)
        if self.fold:
            factor = scale / np.sqrt(var + np.float32(EPSILON))
            folded = (w * factor[:, None, None, None]).astype(np.float32)
            bias = self.weight(shift - mean * factor, "b")
            return self.node("Conv", x, self.weight(folded, "w"), bias, **attributes)
        y = self.node("Conv", x, self.weight(w, "w"), **attributes)
        statistics = [self.weight(v, "bn") for v in (scale, shift, mean, var)]
        return self.node("BatchNormalization", y, *statistics, epsilon=EPSILON)

    def relu(self, x: str) -> str:
        """Rectify."""
        return self.node("Relu", x)

    def dense(self, x: str, cin: int, cout: int) -> str:
        """Apply a dense layer (Gemm with transposed weights, as exporters write it)."""
        w = self.weight(self.filters(cout, cin), "w")
        return self.node("Gemm", x, w, self.weight(self.vector(cout, -0.1, 0.1), "b"), transB=1)

    def upsample(self, x: str, size: int) -> str:
        """Bilinear Resize to `size` x `size`; the batch size is read at run time."""
        shape = self.node("Shape", x)
        bounds = [self.weight(np.array([v], np.int64), "i") for v in (0, 2)]
        batch = self.node("Slice", shape, *bounds)
        space = self.weight(np.array([size, size], np.int64), "size")
        sizes = self.node("Concat", batch, space, axis=0)
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self.node("Resize", x, "", "", sizes, **how)

    def model(self, output: str, *shape: int, opset: int = 17) -> onnx.ModelProto:
        """Close the graph with the output `logits` [N, *shape]."""
        if self.nodes[-1].output[0] != output:
            raise ValueError(f"{output} is not the last tensor written")
        self.nodes[-1].output[0] = "logits"
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", *shape])
        graph = helper.make_graph(self.nodes, self.name, self.inputs, [logits], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        return model
