"""Small nets for the tests of `verify`: written as text, weights drawn."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

Shapes = dict[str, tuple[int, ...]]

#: Two inputs, late fusion, a pool, an odd pad, a Softmax to look through.
FUSION = (
    """
fusion (float[N, 2, 12, 10] left, float[N, 1, 12, 10] right) => (float[N, 4] chances) {
  a = Conv<pads = [1, 1, 1, 1]>(left, wa, ba)
  ar = Relu(a)
  ap = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(ar)
  b = Conv<pads = [1, 0, 1, 2], strides = [2, 2]>(right, wb, bb)
  br = Relu(b)
  both = Concat<axis = 1>(ap, br)
  c = Conv(both, wc, bc)
  cr = Relu(c)
  mean = GlobalAveragePool(cr)
  flat = Flatten(mean)
  scores = Gemm<transB = 1>(flat, wd, bd)
  chances = Softmax<axis = 1>(scores)
}
""",
    {
        "wa": (3, 2, 3, 3), "ba": (3,), "wb": (2, 1, 3, 3), "bb": (2,), "wc": (4, 5, 3, 3),
        "bc": (4,), "wd": (4, 4), "bd": (4,),
    },
)  # fmt: skip
#: One image whose channels are sources, a residual block with BatchNormalization.
RESIDUAL = (
    """
residual (float[N, 4, 8, 8] image) => (float[N, 3] scores) {
  a = Conv<pads = [1, 1, 1, 1]>(image, wa, ba)
  n = BatchNormalization(a, scale, shift, mean, variance)
  ar = Relu(n)
  b = Conv<pads = [1, 1, 1, 1]>(ar, wb)
  skip = Add(a, b)
  sr = Relu(skip)
  pooled = GlobalAveragePool(sr)
  flat = Flatten(pooled)
  scores = Gemm(flat, wc, bc)
}
""",
    {
        "wa": (5, 4, 3, 3), "ba": (5,), "scale": (5,), "shift": (5,), "mean": (5,),
        "variance": (5,), "wb": (5, 5, 3, 3), "wc": (5, 3), "bc": (3,),
    },
)  # fmt: skip
#: A table of two layers, written with MatMul and Add.
DENSE = (
    """
dense (float[N, 6] x) => (float[N, 3] y) {
  h = MatMul(x, w1)
  hb = Add(h, b1)
  r = Relu(hb)
  o = MatMul(r, w2)
  y = Add(o, b2)
}
""",
    {"w1": (6, 8), "b1": (8,), "w2": (8, 3), "b2": (3,)},
)
#: A pixelwise classifier of free height and width that ends in ArgMax.
PIXELS = (
    """
pixels (float[N, 3, H, W] image) => (int64[N, H, W] classes) {
  a = Conv<pads = [1, 1, 1, 1]>(image, wa, ba)
  ar = Relu(a)
  scores = Conv(ar, wb, bb)
  classes = ArgMax<axis = 1, keepdims = 0>(scores)
}
""",
    {"wa": (4, 3, 3, 3), "ba": (4,), "wb": (3, 4, 1, 1), "bb": (3,)},
)


def net(
    described: tuple[str, Shapes], *, opset: int = 17, ir: int = 9, seed: int = 0,
    dtype: str = "float32",
) -> onnx.ModelProto:  # fmt: skip
    """Return a model with weights drawn so that activations keep their size."""
    text, shapes = described
    names = {"float16": "float16[", "float64": "double["}
    text = text.replace("float[", names.get(dtype, "float["))
    rng = np.random.default_rng(seed)
    head = f'<ir_version: {ir}, opset_import: ["": {opset}]>\n'
    model = onnx.parser.parse_model(head + text)
    for name, shape in shapes.items():
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 4
        value = rng.normal(size=shape) * np.sqrt(2 / fan)
        if name == "variance":
            value = np.abs(value) + 0.5
        model.graph.initializer.append(numpy_helper.from_array(value.astype(dtype), name))
    return model
