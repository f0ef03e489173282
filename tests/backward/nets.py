"""Small nets in which every kind of step stands among others, for the backward laws."""

from __future__ import annotations

from tests.emit.nets import Net

#: Batch normalisations behind, before and between layers, two blocks, all kinds of pools.
BLOCKS = Net(
    "blocks",
    """ (float[N, 2, H, W] x) => (float[N, 3] y) {
      n0 = BatchNormalization(x, s0, t0, m0, var0)
      c1 = Conv<pads = [1, 1, 1, 1]>(n0, w1)
      n1 = BatchNormalization(c1, s1, t1, m1, var1)
      r1 = Relu(n1)
      p1 = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(r1)
      c2 = Conv<pads = [1, 1, 1, 1], group = 2>(p1, w2, b2)
      r2 = Relu(c2)
      n2 = BatchNormalization(r2, s2, t2, m2, var2)
      c3 = Conv<pads = [1, 1, 1, 1]>(n2, w3, b3)
      a1 = Add(c3, p1)
      r3 = Relu(a1)
      c4 = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(r3, w4, b4)
      c5 = Conv<strides = [2, 2]>(r3, w5)
      a2 = Add(c4, c5)
      l2 = LeakyRelu<alpha = 0.1>(a2)
      p2 = AveragePool<kernel_shape = [2, 2], strides = [1, 1], pads = [1, 1, 0, 0]>(l2)
      g = GlobalMaxPool(p2)
      f = Flatten(g)
      y = Gemm<transB = 1>(f, w6, b6)
    }""",
    {
        "s0": (2,), "t0": (2,), "m0": (2,), "var0": (2,), "w1": (4, 2, 3, 3),
        "s1": (4,), "t1": (4,), "m1": (4,), "var1": (4,), "w2": (4, 2, 3, 3), "b2": (4,),
        "s2": (4,), "t2": (4,), "m2": (4,), "var2": (4,), "w3": (4, 4, 3, 3), "b3": (4,),
        "w4": (5, 4, 3, 3), "b4": (5,), "w5": (5, 4, 1, 1), "w6": (3, 5), "b6": (3,),
    },
    ("red=x[:,0]", "green=x[:,1]"),
)  # fmt: skip
#: A segmenter of two inputs: depthwise, transposed and dilated convolutions, a skip, positions.
PIXELS = Net(
    "segments",
    """ (float[N, 2, H, W] x, float[N, 1, H, W] z) => (float[N, 3, H, W] y) {
      scales = Constant<value_floats = [1.0, 1.0, 2.0, 2.0]>()
      j = Concat<axis = 1>(x, z)
      c1 = Conv<pads = [1, 1, 1, 1], group = 3>(j, w1, b1)
      r1 = PRelu(c1, slope)
      c2 = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(r1, w2, b2)
      r2 = Clip(c2, low, high)
      c3 = Conv<dilations = [2, 2], pads = [2, 2, 2, 2]>(r2, w3, b3)
      r3 = Relu(c3)
      u = ConvTranspose<strides = [2, 2]>(r3, w4, b4)
      k = Resize<mode = "linear", coordinate_transformation_mode = "half_pixel">(r2, , scales)
      both = Concat<axis = 1>(u, k, r1)
      c5 = Conv(both, w5, b5)
      y = Softmax<axis = 1>(c5)
    }""",
    {
        "w1": (3, 1, 3, 3), "b1": (3,), "slope": (3, 1, 1), "w2": (4, 3, 3, 3), "b2": (4,),
        "low": 0.0, "high": 6.0, "w3": (4, 4, 3, 3), "b3": (4,), "w4": (4, 2, 2, 2), "b4": (2,),
        "w5": (3, 9, 1, 1), "b5": (3,),
    },
    ("x=x", "z=z"),
)  # fmt: skip
#: Squeeze and excite, an exporter's SiLU, channels last, padding by reflection, cuts.
GATES = Net(
    "gates",
    """ (float[2, 6, 5, 3] x) => (float[2, 4] y) {
      pads = Constant<value_ints = [0, 0, 1, 1, 0, 0, 1, 1]>()
      index = Constant<value_ints = [0, 4, 4]>()
      t = Transpose<perm = [0, 3, 1, 2]>(x)
      q = Pad<mode = "reflect">(t, pads)
      a = Conv(q, wa, ba)
      s = Sigmoid(a)
      silu = Mul(a, s)
      pooled = GlobalAveragePool(silu)
      e1 = Conv(pooled, wb, bb)
      e2 = Relu(e1)
      e3 = Conv(e2, wc, bc)
      gate = HardSigmoid(e3)
      gated = Mul(silu, gate)
      h0, h1 = Split<axis = 1>(gated)
      picked = Gather<axis = 2>(h0, index)
      m0 = ReduceMean<axes = [2, 3], keepdims = 0>(picked)
      m1 = ReduceMax<axes = [2, 3], keepdims = 0>(h1)
      d = Concat<axis = -1>(m0, m1)
      e = Elu(d)
      m = MatMul(e, wd)
      y = Add(m, bd)
    }""",
    {
        "wa": (4, 3, 3, 3), "ba": (4,), "wb": (2, 4, 1, 1), "bb": (2,), "wc": (4, 2, 1, 1),
        "bc": (4,), "wd": (4, 4), "bd": (4,),
    },
    ("a=x[:,:,:,0]", "b=x[:,:,:,1:]"),
    smooth=True,
)  # fmt: skip
#: A block of attention over tokens.
TOKENS = Net(
    "attends",
    """ (float[N, T, 4] x) => (float[N, 3] y) {
      axes = Constant<value_ints = [1]>()
      n = LayerNormalization(x, g1, c1)
      q = MatMul(n, wq)
      k = MatMul(n, wk)
      v = MatMul(n, wv)
      kt = Transpose<perm = [0, 2, 1]>(k)
      scores = MatMul(q, kt)
      p = Softmax<axis = -1>(scores)
      o = MatMul(p, v)
      h = Add(x, o)
      n2 = LayerNormalization(h, g2, c2)
      u = MatMul(n2, w1)
      ub = Add(u, b1)
      act = Gelu(ub)
      d = MatMul(act, w2)
      r = Add(d, h)
      m = ReduceMean<keepdims = 0>(r, axes)
      y = Gemm(m, w3, b3)
    }""",
    {
        "g1": (4,), "c1": (4,), "wq": (4, 4), "wk": (4, 4), "wv": (4, 4), "g2": (4,), "c2": (4,),
        "w1": (4, 6), "b1": (6,), "w2": (6, 4), "w3": (4, 3), "b3": (3,),
    },
    ("first=x[:,0]", "others=x[:,1:]"),
    smooth=True,
    opset=20,
)  # fmt: skip
