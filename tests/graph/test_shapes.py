"""No run ever contradicts what is claimed of shapes, types and constants."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from rfponnx.graph.fold import FOLDS, fold
from rfponnx.graph.symbols import ENOUGH, SAMPLES, Symbols, agreed, everywhere
from tests.graph.truth import contradictions, graph_of

F, I64 = TensorProto.FLOAT, TensorProto.INT64


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs.split(",") if inputs else [], outputs.split(","), **attrs)


def ints(name, *values):
    return node("Constant", "", name, value=numpy_helper.from_array(np.array(values, np.int64)))


def same_pad(stride=2, kernel=3):
    """TensorFlow's SAME padding of the rows of x, as exporters write it for dynamic sizes."""
    nodes = [node("Shape", "x", "s"), ints("two", 2), node("Gather", "s,two", "h", axis=0)]
    nodes += [ints("st", stride), ints("one", 1), ints("k", kernel), ints("zero", 0)]
    nodes += [
        node("Add", "h,st", "h1"),
        node("Sub", "h1,one", "h2"),
        node("Div", "h2,st", "out"),
        node("Sub", "out,one", "o1"),
        node("Mul", "o1,st", "o2"),
        node("Add", "o2,k", "o3"),
        node("Sub", "o3,h", "pad"),
        node("Max", "pad,zero", "p"),
        node("Concat", "zero,zero,zero,zero,zero,zero,p,zero", "pads", axis=0),
        node("Pad", "x,pads", "xp"),
        node("MaxPool", "xp", "y", kernel_shape=[kernel, 1], strides=[stride, 1]),
    ]
    return nodes


def shuffle(groups=2):
    """Channel shuffle over sizes that are computed in the graph."""
    nodes = [node("Shape", "x", "s"), ints("g", groups)]
    for i, name in enumerate("nchv"):
        nodes += [ints(f"i{name}", i), node("Gather", f"s,i{name}", name, axis=0)]
    return [
        *nodes,
        node("Div", "c,g", "cg"),
        node("Concat", "n,g,cg,h,v", "t", axis=0),
        node("Reshape", "x,t", "a"),
        node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]),
        ints("m", -1),
        node("Concat", "n,m,h,v", "u", axis=0),
        node("Reshape", "b,u", "y"),
    ]


def slice_to_even():
    """Rows cut to a multiple of two, then the flattened rest."""
    return [
        node("Shape", "x", "s"), ints("i2", 2), ints("i3", 3), ints("two", 2), ints("zero", 0),
        node("Slice", "s,i2,i3", "h"),
        node("Div", "h,two", "half"),
        node("Mul", "half,two", "even"),
        node("Slice", "x,zero,even,two", "cut"),
        node("Flatten", "cut", "y", axis=2),
    ]  # fmt: skip


def broadcast():
    """A shape vector in which no -1 can be: exporters' Expand idiom."""
    return [
        node("Shape", "x", "s"), ints("m", -1), node("Equal", "s,m", "e"),
        node("ConstantOfShape", "four", "ones", value=numpy_helper.from_array(np.array([1]))),
        node("Where", "e,ones,s", "t"),
        node("ReduceMean", "x", "r", axes=[2, 3]),
        node("Expand", "r,t", "y"),
    ]  # fmt: skip


def ask_size():
    """A comparison that no sample may decide: the size a model is waiting for."""
    return [
        node("Shape", "x", "s"), ints("i", 2), node("Gather", "s,i", "h", axis=0),
        ints("wanted", 24), node("Equal", "h,wanted", "q"), node("Cast", "q", "k", to=I64),
        ints("two", 2), ints("zero", 0), node("Add", "k,two", "end"),
        node("Slice", "x,zero,end,two", "y"),
    ]  # fmt: skip


GRAPHS = {
    "same": same_pad(), "same31": same_pad(3, 1), "shuffle": shuffle(), "even": slice_to_even(),
    "expand": [ints("four", 4), *broadcast()], "ask": ask_size(),
    "conv": [node("Conv", "x,w", "a", strides=[2, 2], pads=[1, 1, 1, 1]), node("Relu", "a", "y")],
    "resize": [
        node("Conv", "x,w", "a", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Shape", "x", "s"), ints("i2", 2), ints("i4", 4), node("Slice", "s,i2,i4", "hw"),
        node("Shape", "a", "sa"), ints("i0", 0), node("Slice", "sa,i0,i2", "nc"),
        node("Concat", "nc,hw", "size", axis=0), node("Resize", "a,,,size", "up"),
        node("Add", "up,up", "y"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("dims", [["N", 4, "H", "W"], [None, 4, None, 8], [2, 4, 24, 24]])
def test_no_run_contradicts_the_facts(tools, name, dims):
    weight = np.ones((4, 4, 3, 3), np.float32)
    model = tools.model(GRAPHS[name], [("x", F, dims)], [("y", F, None)], stored={"w": weight})
    graph = graph_of(model)
    assert graph.rank("y") is not None
    feeds = []
    for n, h, w in itertools.product((1, 2, 3), (1, 4, 7, 24, 32, 64), (1, 8, 24)):
        shape = [s if isinstance(s, int) else d for s, d in zip(dims, (n, 4, h, w), strict=True)]
        feeds.append({"x": np.ones(shape, np.float32)})
    assert contradictions(graph, feeds, tools.run) == []


@pytest.mark.parametrize("name", GRAPHS)
def test_static_models_are_known_to_the_last_axis(tools, name):
    weight = np.ones((4, 4, 3, 3), np.float32)
    dims = [2, 4, 24, 16]
    model = tools.model(GRAPHS[name], [("x", F, dims)], [("y", F, None)], stored={"w": weight})
    graph = graph_of(model)
    for tensor in graph.tensors():
        assert all(isinstance(d, int) for d in graph.shape(tensor)), tensor


def test_equal_sizes_have_one_symbol(tools):
    """Two branches of the same strides can be added, and a resize goes back to H and W."""
    weight = np.ones((4, 4, 3, 3), np.float32)
    model = tools.model(
        [*GRAPHS["resize"], node("Conv", "x,w", "b", strides=[2, 2], pads=[1, 1, 1, 1])],
        [("x", F, ["N", 4, "H", "W"])],
        [("y", F, None)],
        stored={"w": weight},
    )
    graph = graph_of(model)
    assert graph.shape("y") == ("N", 4, "H", "W")
    assert graph.shape("a") == graph.shape("b")
    half = graph.shape("a")[2:]
    assert all(isinstance(d, str) for d in half)
    assert not {"N", "H", "W"} & set(half)


def test_a_same_pad_is_proved_only_where_it_is_fixed(tools):
    """Stride 2 depends on the parity of the size; stride 3 with kernel 1 never pads."""
    x, y = [("x", F, ["N", 4, "H", "W"])], [("y", F, None)]
    assert not graph_of(tools.model(same_pad(), x, y)).is_constant("pads")
    assert np.array_equal(graph_of(tools.model(same_pad(1), x, y)).constant("p"), [2])
    assert np.array_equal(graph_of(tools.model(same_pad(2, 1), x, y)).constant("p"), [0])


def test_no_comparison_with_a_positive_size_is_decided(tools):
    x, y = [("x", F, ["N", 4, "H", "W"])], [("y", F, None)]
    graph = graph_of(tools.model(ask_size(), x, y))
    assert not graph.is_constant("q")
    assert graph_of(tools.model(GRAPHS["expand"], x, y)).is_constant("e")


def test_nameless_dimensions_are_not_taken_as_equal(tools):
    """Exporters write the same placeholder for any dimension they do not know."""
    for name in ("", "?", "None"):
        dims = [name, 4, name, name]
        model = tools.model([node("Relu", "x", "y")], [("x", F, dims)], [("y", F, None)])
        free = [d for d in graph_of(model).shape("y") if isinstance(d, str)]
        assert len(set(free)) == 3


def test_wrong_declarations_are_not_believed(tools):
    """ONNX Runtime only warns of a wrong output shape; exporters repeat input symbols."""
    model = tools.model(
        [node("MaxPool", "x", "h", kernel_shape=[2, 2], strides=[2, 2]), node("Relu", "h", "y")],
        [("x", F, ["N", 4, "H", "W"])],
        [("y", F, ["N", 4, "H", "W"])],
    )
    model.graph.value_info.append(helper.make_tensor_value_info("h", F, [9, 9, 9, 9]))
    graph = graph_of(model)
    assert graph.shape("h")[:2] == ("N", 4)
    assert not {"H", "W"} & set(graph.shape("y"))


def test_an_unknown_operator_leaves_its_declaration(tools):
    model = tools.model(
        [node("Magic", "x", "h", domain="own"), node("Relu", "h", "y")],
        [("x", F, ["N", 4])],
        [("y", F, None)],
    )
    assert graph_of(model).rank("y") is None
    model.graph.value_info.append(helper.make_tensor_value_info("h", F, [None, 7]))
    assert graph_of(model).shape("y")[1] == 7


def test_facts_are_the_same_every_time(tools):
    make = lambda: graph_of(  # noqa: E731
        tools.model(shuffle(), [("x", F, ["N", 4, "H", "W"])], [("y", F, None)])
    )
    one, two = make(), make()
    assert [one.shape(t) for t in one.tensors()] == [two.shape(t) for t in two.tensors()]


def test_samples_have_mixed_residues():
    """For every power of two up to 32 some sizes divide and some do not."""
    for name in ("N", "H", "W", "batch", "height", "?"):
        sizes = Symbols(()).at(name)
        assert len(sizes) == SAMPLES
        assert min(sizes) == 1
        for power in (2, 4, 8, 16, 32):
            assert 0 < sum(size % power == 0 for size in sizes) < SAMPLES - 2


def test_too_few_samples_prove_nothing():
    symbols = Symbols(())
    assert symbols.read((7,) * SAMPLES) == 7
    assert symbols.read((7,) * (ENOUGH - 1) + (None,) * (SAMPLES - ENOUGH + 1)) is None
    assert symbols.read(symbols.at("N")) == "N"
    assert agreed((np.array(1),) * (ENOUGH - 1) + (None,) * (SAMPLES - ENOUGH + 1)) is None
    assert agreed(everywhere(np.array(1))) == 1


small = st.integers(-7, 7)


@given(st.lists(small, min_size=1, max_size=4), st.lists(small, min_size=1, max_size=4))
def test_integer_arithmetic_is_that_of_the_runtime(tools, a, b):
    one, two = np.array(a, np.int64)[:, None], np.array(b, np.int64)
    if (two == 0).any():
        return
    for op in ("Div", "Mod", "Add", "Sub", "Mul", "Max", "Min", "Equal", "Less", "Greater"):
        y = "y"
        kind = TensorProto.BOOL if op in ("Equal", "Less", "Greater") else I64
        model = tools.model(
            [node(op, "a,b", y)],
            [("a", I64, [None, 1]), ("b", I64, [None])],
            [(y, kind, None)],
        )
        ran = tools.run(model, {"a": one, "b": two})[0]
        folded = fold(op, [one, two], {})
        assert folded is not None
        assert np.array_equal(folded[0], ran), op


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.integers(-8, 8), st.integers(-8, 8), st.sampled_from([-3, -2, -1, 1, 2, 3]), st.data(),
)  # fmt: skip
def test_a_folded_slice_is_that_of_the_runtime(tools, dims, start, end, step, data):
    axis = data.draw(st.integers(-len(dims), len(dims) - 1))
    x = np.arange(int(np.prod(dims)), dtype=np.int64).reshape(dims)
    values = [np.array([v], np.int64) for v in (start, end, axis, step)]
    inputs = [("x", I64, list(dims)), *((n, I64, [1]) for n in "seat")]
    model = tools.model([node("Slice", "x,s,e,a,t", "y")], inputs, [("y", I64, None)])
    ran = tools.run(model, dict(zip("xseat", [x, *values], strict=True)))[0]
    folded = fold("Slice", [x, *values], {})
    assert folded is not None
    assert np.array_equal(folded[0], ran)
    assert folded[0].shape == ran.shape


@pytest.mark.parametrize("op", sorted(FOLDS))
def test_folding_never_raises(op):
    """Whatever the operands, the answer is a value or None."""
    values = [None, np.array(0), np.array([-1, 2]), np.zeros((2, 0)), np.array([1.5, np.nan])]
    for count in range(4):
        for inputs in itertools.product(values, repeat=count):
            for attrs in ({}, {"axis": 9}, {"axes": [0, 0]}, {"to": 7}):
                fold(op, list(inputs), attrs)


MODELS = (
    "own-tcn_pad-dy18", "keras-efficientnetb0-tf13", "tv-shufflenet_v2_x0_5-ts13",
    "own-unet_bilinear-ts13", "tv-lraspp_mobilenet_v3_large-ts13", "keras-mobilenet-tf13",
    "own-norm_groupnorm21-dy21", "timm-skresnet18-ts13", "own-yolo_head-ts13",
    "hand-if_conv", "own-script_if-ts13", "qdq-resnet18", "f16-resnet18-ts13", "fn-unet",
    "timm-vit_tiny_explicit-ts11",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_no_run_of_the_corpus_contradicts_the_facts(corpus, tools, name):
    if name not in corpus.index():
        pytest.skip("not in the corpus")
    graph = graph_of(corpus.load(name), 13)
    feeds = [corpus.feeds(name, 0), corpus.feeds(name, 1)]
    assert contradictions(graph, feeds, tools.run) == []
