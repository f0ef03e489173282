"""Small nets of many kinds for the laws of emission: text, weights drawn, feeds, sources."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import ModelProto, helper, numpy_helper

import rfponnx
from rfponnx.methods.convert import Converted
from rfponnx.verify.float64 import Float64

Array = np.ndarray[Any, Any]

#: What a named size is in the feeds.
SIZES = {"N": 2, "H": 6, "W": 8, "T": 5}


@dataclass(frozen=True, eq=False)
class Net:
    """A model as text, and how it is explained.

    Attributes
    ----------
    weights
        Their shapes, or their values; a name that starts with ``var`` is positive.
    sources
        As on the command line.  They own every entry of every input.
    smooth
        Whether linearisations differ: there is a function that is not piece-wise linear.
    apart
        Whether what one source gets does not depend on which others there are: no product is
        one of signals with some sources, and one of a signal and a constant with others.
    """

    name: str
    text: str
    weights: Mapping[str, Sequence[int] | float]
    sources: tuple[str, ...]
    smooth: bool = False
    apart: bool = True
    opset: int = 17
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def model(self, *, ir: int = 9, opset: int | None = None) -> ModelProto:
        """Return the model, the same at every call."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        version = self.opset if opset is None else opset
        head = f'<ir_version: {ir}, opset_import: ["": {version}]>\n{self.name}'
        model = onnx.parser.parse_model(head + self.text)
        for name, shape in self.weights.items():
            if isinstance(shape, float):
                value = np.asarray(shape)
            else:
                value = rng.normal(size=tuple(shape)) / np.sqrt(max(np.prod(shape[1:]), 1))
            value = np.abs(value) + 0.5 if name.startswith("var") else value
            model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
        return model

    def feeds(self) -> dict[str, Array]:
        """Return inputs, the same at every call."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()) + 1)
        found = {}
        for info in self.model().graph.input:
            kind = info.type.tensor_type
            shape = [SIZES.get(d.dim_param) or d.dim_value for d in kind.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
            whole = np.issubdtype(dtype, np.integer)
            drawn = rng.integers(0, 7, shape) if whole else rng.normal(size=shape)
            found[info.name] = np.asarray(drawn).astype(dtype)
        return found

    def convert(self, **options: Any) -> Converted:
        """Return a conversion with the sources of the net."""
        given = {"sources": list(self.sources), **self.options, **options}
        return rfponnx.convert(self.model(), **given)


NETS = (
    Net(
        "mlp",
        """ (float[N, 6] x) => (float[N, 3] y) {
          a = Gemm<transB = 1, alpha = 0.5>(x, w1, b1)
          h = Relu(a)
          m = MatMul(h, w2)
          y = Add(m, b2)
        }""",
        {"w1": (8, 6), "b1": (8,), "w2": (8, 3), "b2": (3,)},
        ("first=x[:,0:2]", "rest=x[:,2:]"),
    ),
    Net(
        "fusion",
        """ (float[N, 2, H, W] left, float[N, 1, H, W] right) => (float[N, 4] chances) {
          a = Conv<pads = [1, 1, 1, 1]>(left, wa, ba)
          ar = Relu(a)
          ap = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(ar)
          b = Conv<pads = [1, 0, 1, 2], strides = [2, 2]>(right, wb, bb)
          br = LeakyRelu(b)
          both = Concat<axis = 1>(ap, br)
          c = Conv(both, wc, bc)
          cr = Relu(c)
          mean = GlobalAveragePool(cr)
          flat = Flatten(mean)
          scores = Gemm<transB = 1>(flat, wd, bd)
          chances = Softmax<axis = 1>(scores)
        }""",
        {
            "wa": (3, 2, 3, 3), "ba": (3,), "wb": (2, 1, 3, 3), "bb": (2,), "wc": (4, 5, 3, 3),
            "bc": (4,), "wd": (4, 4), "bd": (4,),
        },
        ("l0=left[:,0]", "right=right", "l1=left[:,1]"),
    ),
    Net(
        "residual",
        """ (float[N, 4, 6, 8] image) => (float[N, 3] scores) {
          a = Conv<pads = [1, 1, 1, 1]>(image, wa)
          n = BatchNormalization(a, scale, shift, mean, variance)
          ar = Relu(n)
          b = Conv<pads = [1, 1, 1, 1]>(ar, wb, bb)
          skip = Add(a, b)
          sr = Clip(skip, zero, six)
          pooled = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(sr)
          sum = ReduceMean<axes = [2, 3], keepdims = 0>(pooled)
          scores = Gemm(sum, wc, bc)
        }""",
        {
            "wa": (5, 4, 3, 3), "scale": (5,), "shift": (5,), "mean": (5,), "variance": (5,),
            "wb": (5, 5, 3, 3), "bb": (5,), "wc": (5, 3), "bc": (3,), "zero": 0.0, "six": 0.8,
        },
        ("optical=image[:,0:3]", "radar=image[:,3]"),
    ),
    Net(
        "smooth",
        """ (float[N, 6] x, float[N, 4] z) => (float[N, 3] y) {
          a = Gemm<transB = 1>(x, w1, b1)
          s = Sigmoid(a)
          t = Tanh(z)
          c = Concat<axis = 1>(s, t)
          e = MatMul(c, w2)
          eb = Add(b2, e)
          g = Elu(eb)
          y = Gemm(g, w3, b3)
        }""",
        {"w1": (5, 6), "b1": (5,), "w2": (9, 7), "b2": (7,), "w3": (7, 3), "b3": (3,)},
        ("x0=x[:,::2]", "x1=x[:,1::2]", "z=z"),
        smooth=True,
    ),
    Net(
        "pixels",
        """ (float[N, 3, H, W] image) => (int64[N, H, W] classes) {
          a = Conv<pads = [1, 1, 1, 1]>(image, wa, ba)
          r = Relu(a)
          d = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(r)
          shape = Shape(r)
          hw = Slice(shape, two, four)
          nc = Slice(shape, none, two)
          size = Concat<axis = 0>(nc, hw)
          none_1 = Constant<value = float[0] {}>()
          u = Resize<mode = "linear">(d, none_1, none_1, size)
          both = Concat<axis = 1>(u, r)
          scores = Conv(both, wb, bb)
          classes = ArgMax<axis = 1, keepdims = 0>(scores)
        }""".replace(
            "{\n          a =",
            "{\n          none = Constant<value_ints = [0]>()\n"
            "          two = Constant<value_ints = [2]>()\n"
            "          four = Constant<value_ints = [4]>()\n          a =",
        ),
        {"wa": (4, 3, 3, 3), "ba": (4,), "wb": (5, 8, 1, 1), "bb": (5,)},
        ("red=image[:,0]", "top=image[:,1:,0:3]", "rest=image[:,1:,3:]"),
    ),
    Net(
        "attention",
        """ (float[N, T, 8] x, float[N, T, 8] memory) => (float[N, T, 8] y) {
          q = MatMul(x, wq)
          k = MatMul(memory, wk)
          v = MatMul(memory, wv)
          kt = Transpose<perm = [0, 2, 1]>(k)
          qk = MatMul(q, kt)
          p = Softmax<axis = -1>(qk)
          mixed = MatMul(p, v)
          out = Add(mixed, x)
          y = LayerNormalization<axis = -1>(out, scale, shift)
        }""",
        {"wq": (8, 4), "wk": (8, 4), "wv": (8, 8), "scale": (8,), "shift": (8,)},
        ("x=x", "early=memory[:,0:2]", "late=memory[:,2:]"),
        apart=False,
    ),
    Net(
        "gates",
        """ (float[N, 4, 6, 8] x) => (float[N, 4] y) {
          a = Conv<pads = [1, 1, 1, 1]>(x, wa, ba)
          s = Sigmoid(a)
          silu = Mul(a, s)
          pooled = GlobalAveragePool(silu)
          squeezed = Conv(pooled, wb, bb)
          gate = HardSigmoid(squeezed)
          gated = Mul(silu, gate)
          flat = Flatten(gated)
          y = MatMul(flat, wc)
        }""",
        {"wa": (4, 4, 3, 3), "ba": (4,), "wb": (4, 4, 1, 1), "bb": (4,), "wc": (192, 4)},
        ("a=x[:,0:2]", "b=x[:,2:]"),
        smooth=True,
    ),
    Net(
        "words",
        """ (int64[N, T] tokens, float[N, 4] extra) => (float[N, 3] y) {
          e = Gather(table, tokens)
          m = ReduceMean<axes = [1], keepdims = 0>(e)
          c = Concat<axis = -1>(m, extra)
          h = Gemm(c, w1, b1)
          r = Erf(h)
          y = Gemm(r, w2, b2)
        }""",
        {"table": (7, 5), "w1": (9, 6), "b1": (6,), "w2": (6, 3), "b2": (3,)},
        ("tokens=e", "extra=extra"),
        smooth=True,
    ),
    Net(
        "heads",
        """ (float[N, 6] x, float[N, 6] z)
          => (float[N, 6] h, float[N, 2] p, float[6] w, float[N, 6] r) {
          h = Mul(x, w0)
          g = Sub(h, z)
          s = MatMul(g, w1)
          p = LogSoftmax(s)
          w = Neg(w0)
          r = Round(g)
        }""",
        {"w0": (6,), "w1": (6, 2)},
        ("x=x", "z=z"),
    ),
    Net(
        "moves",
        """ (float[N, 4, 6] x, float[N, 6] z) => (float[N, M] y) {
          s0, s1 = Split<axis = 1>(x)
          t = Transpose<perm = [0, 2, 1]>(s1)
          u = Unsqueeze(z, axes)
          m = Mul(s0, two)
          p = Pad(m, pads, value)
          st = Transpose<perm = [0, 2, 1]>(p)
          k = Slice(st, start, stop, axes)
          c = Concat<axis = 2>(t, k)
          minus = Sub(one, u)
          ut = Transpose<perm = [0, 2, 1]>(minus)
          a = Add(c, ut)
          y = Flatten(a)
        }""".replace(
            "{\n          s0",
            "{\n          axes = Constant<value_ints = [1]>()\n"
            "          start = Constant<value_ints = [1]>()\n"
            "          stop = Constant<value_ints = [7]>()\n"
            "          pads = Constant<value_ints = [0, 0, 1, 0, 0, 1]>()\n"
            "          value = Constant<value = float {0.5}>()\n"
            "          two = Constant<value = float {2}>()\n"
            "          one = Constant<value = float {1}>()\n          s0",
        ),
        {},
        ("x0=x[:,0:3]", "x1=x[:,3]", "z=z"),
    ),
    Net(
        "vector",
        """ (float[6] x) => (float[3] y) {
          a = MatMul(x, w1)
          b = Add(a, b1)
          r = Relu(b)
          s = MatMul(r, w2)
          y = Softmax<axis = 0>(s)
        }""",
        {"w1": (6, 5), "b1": (5,), "w2": (5, 3)},
        ("a=x[0:2]", "b=x[2:]"),
    ),
    Net(
        "single",
        """ (float[N, 5] x) => (float[N, 1] y) {
          a = Gemm(x, w1, b1)
          r = Relu(a)
          s = Gemm(r, w2, b2)
          y = Sigmoid(s)
        }""",
        {"w1": (5, 4), "b1": (4,), "w2": (4, 1), "b2": (1,)},
        ("a=x[:,0:2]+x[:,4]", "b=x[:,2:4]"),
    ),
    Net(
        "doubles",
        """ (double[N, 4] x) => (double[N, 3] y) {
          w = Cast<to = 11>(w1)
          a = MatMul(x, w)
          y = Relu(a)
        }""",
        {"w1": (4, 3)},
        ("a=x[:,0:2]", "b=x[:,2:]"),
    ),
)  # fmt: skip
BY_NAME = {net.name: net for net in NETS}


@cache
def converted(name: str, **options: Any) -> Converted:
    """Return a conversion of a net, made once."""
    return BY_NAME[name].convert(**options)


@cache
def exact(name: str, **options: Any) -> dict[str, Array]:
    """Return the outputs of a conversion of a net in float64, computed once."""
    return Float64(converted(name, **options).model).run(BY_NAME[name].feeds())


def relevances(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the relevances among outputs by name."""
    return {n: v for n, v in outputs.items() if "_relevance" in n}


def explained(made: Converted, outputs: Mapping[str, Array], relevance: str) -> Array:
    """Return the values of the tensor that a relevance explains."""
    one = next(e for e in made.plan.explained if f"{e.output}_relevance" == relevance)
    return outputs[one.tensor if one.own_output else f"{one.output}_explained"]


def run(
    model: ModelProto, feeds: Mapping[str, Array], level: str = "DISABLE_ALL"
) -> dict[str, Array]:
    """Return the outputs of ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{level}")
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))
