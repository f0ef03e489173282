"""`verify` of backward files: what is right passes, what is broken does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from onnx import ModelProto

from rfponnx.maps.conv import Conv
from rfponnx.maps.gain import Gain
from rfponnx.plan.surrogate import Surrogate
from rfponnx.verify.verify import verify
from tests.backward.nets import BLOCKS, GATES, PIXELS, TOKENS
from tests.emit.nets import Net
from tests.verify import mutants
from tests.verify.mutants import FRESH, NUMBERS, SAME
from tests.verify.test_verify import failed, told

CONSERVED = "conservation, float64"
DUAL = "duality with streams, float64"

GOOD: Sequence[tuple[Net, Mapping[str, Any]]] = (
    (BLOCKS, {"method": "lrp", "account": "explicit", "tap": ["p1", "r3"]}),
    (BLOCKS, {"method": "lrp", "composite": "epsilon_plus_flat", "residual": "ratio",
              "target": "top2", "set": {"batchnorm": "pass", "maxpool": "average"}}),
    (BLOCKS, {"method": "lrp", "composite": "alpha2_beta1", "readout": "sources"}),
    (BLOCKS, {"method": "lrp", "composite": "lrp_resnet", "readout": "heat"}),
    (BLOCKS, {"method": "lrp", "composite": "z_plus", "seed_value": "contrastive"}),
    (BLOCKS, {"method": "gradient_x_input", "target": "input", "account": "explicit"}),
    (BLOCKS, {"method": "integrated_gradients", "set": {"steps": 3}}),
    (BLOCKS, {"method": "smoothgrad", "set": {"samples": 2}}),
    (BLOCKS, {"method": "deeplift", "set": {"variant": "reveal_cancel", "reference": "input"}}),
    (BLOCKS, {"method": "grad_cam"}),
    (BLOCKS, {"method": "rectgrad", "target": "seed", "set": {"q": 60}}),
    (BLOCKS, {"method": "guided_backprop", "target": "0-2"}),
    (PIXELS, {"method": "lrp", "composite": "gamma", "target": "1@predicted"}),
    (PIXELS, {"method": "lrp", "seed_at": "c2"}),
    (GATES, {"method": "lrp", "composite": "epsilon_gamma_box", "account": "explicit"}),
    (GATES, {"method": "gradient"}),
    (TOKENS, {"method": "lrp", "composite": "w_square", "seed_value": "probability"}),
    (TOKENS, {"method": "gradient_x_input"}),
)  # fmt: skip


def pair(net: Net, options: Mapping[str, Any]) -> tuple[ModelProto, ModelProto]:
    """Return a net and what it is converted to."""
    return net.model(), net.convert(**options).model


@pytest.mark.parametrize(("net", "options"), GOOD, ids=str)
def test_what_is_right_passes(net: Net, options: Mapping[str, Any]) -> None:
    report = verify(*pair(net, options), samples=1)
    assert report.passed, told(report)
    names = {c.name for c in report.checks}
    if options["method"] == "lrp" and options.get("seed_value") != "contrastive":
        assert {CONSERVED, "conservation, float32"} <= names


BREAKABLE = (
    {"method": "lrp", "composite": "epsilon_plus", "account": "explicit",
     "set": {"eps": 0.125, "stabiliser": 0.125}},
    {"method": "lrp", "composite": "w_square", "seed_value": "one"},
    {"method": "gradient"},
    {"method": "deeplift", "set": {"reference": "input"}},
    {"method": "integrated_gradients", "set": {"steps": 3, "reference": "input"}},
    {"method": "guided_backprop"},
    {"method": "grad_cam", "set": {"relu": False, "at": "c3"}},
)  # fmt: skip


def broken(options: Mapping[str, Any], apply: Any) -> set[str]:
    """Return the checks that fail of a broken conversion."""
    original, model = pair(BLOCKS, options)
    assert apply(model, len(original.graph.node)), "nothing to break"
    return failed(verify(original, model, samples=1, float64=False))


@pytest.mark.parametrize("options", BREAKABLE, ids=lambda o: o["method"] + o.get("composite", ""))
@pytest.mark.parametrize("part", [0.1, 0.4, 0.7, 1.0])
def test_a_tensor_on_the_way_that_is_scaled(options: Mapping[str, Any], part: float) -> None:
    """Whichever part of the overlay: masks, weights made from weights, relevance, sums."""

    def scaled(model: ModelProto, count: int) -> bool:
        read = {i for n in model.graph.node for i in n.input}
        nodes = [
            n for n in model.graph.node[count:] if n.output[0] in mutants.floats_of(model, count)
        ]
        kinds = ("Mul", "Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Sub", "Relu", "Loop")
        nodes = [n for n in nodes if n.op_type in kinds and n.output[0] in read]
        mutants.scale_behind(model, nodes[min(int(part * len(nodes)), len(nodes) - 1)], 1.01)
        return bool(nodes)

    assert broken(options, scaled) >= {FRESH}


def mask_turned(model: ModelProto, count: int) -> bool:
    """Let a mask pass what it stopped."""
    node = next(n for n in model.graph.node[count:] if n.op_type == "HardSigmoid")
    for attribute in node.attribute:
        if attribute.name == "alpha":
            attribute.f = -attribute.f
    return True


def weights_taken_from_elsewhere(model: ModelProto, count: int) -> bool:
    """Read the gain of the third batch normalisation in place of the second's."""
    for node in model.graph.node[count:]:
        for i, name in enumerate(node.input):
            if name == "s1":
                node.input[i] = "s2"
                return True
    return False


def bias_forgotten(model: ModelProto, count: int) -> bool:
    """Leave the last of the summands out."""
    name = next(n.input[0] for n in model.graph.node if n.output[0] == "bias_relevance")
    node = next(n for n in model.graph.node if n.output[0] == name)
    assert node.op_type == "Sum"
    del node.input[-1]
    return True


def other_class(model: ModelProto, count: int) -> bool:
    """Explain what is least likely."""
    node = next(n for n in model.graph.node[count:] if n.op_type == "ArgMax")
    node.op_type = "ArgMin"
    return True


def maps_exchanged(model: ModelProto, count: int) -> bool:
    """Give out bias as leak and leak as bias."""
    found = {n.output[0]: n for n in model.graph.node[count:]}
    one, two = found["bias_relevance"], found["leak_relevance"]
    one.input[0], two.input[0] = two.input[0], one.input[0]
    return True


def nothing_left(model: ModelProto, count: int) -> bool:
    """Divide the map by 0."""
    node = next(n for n in model.graph.node if n.output[0] == "x_relevance")
    node.op_type = "Div"
    node.input.append(next(t.name for t in model.graph.initializer if t.name == "m0"))
    for tensor in model.graph.initializer:
        if tensor.name == "m0":
            other = type(tensor)()
            other.CopyFrom(tensor)
            other.name = "rfp/zeros"
            other.raw_data = bytes(len(tensor.raw_data))
            other.dims[:] = [tensor.dims[0], 1, 1]
            model.graph.initializer.append(other)
            break
    node.input[1] = "rfp/zeros"
    return True


@pytest.mark.parametrize(
    ("apply", "notices"),
    [
        (mask_turned, {FRESH}),
        (weights_taken_from_elsewhere, {FRESH}),
        (bias_forgotten, {FRESH}),
        (other_class, {FRESH}),
        (maps_exchanged, {FRESH}),
        (nothing_left, {NUMBERS}),
        (mutants.weight_by_an_ulp, {SAME}),
    ],
)
def test_a_file_that_is_edited(apply: Any, notices: set[str]) -> None:
    found = broken(BREAKABLE[0], apply)
    assert notices <= found | ({SAME} if apply is mutants.weight_by_an_ulp and found else set())


# ---- a converter that is wrong breaks the laws, though its files are as it makes them ----------


def lossy(self: Surrogate, *args: Any) -> Any:
    return self.value * 0


def test_a_leak_that_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Surrogate, "lost", lossy)
    report = verify(*pair(BLOCKS, {"method": "lrp", "set": {"eps": 0.25}}), samples=1)
    assert CONSERVED in failed(report), told(report)
    assert "conservation, float32" in failed(report)
    assert FRESH not in failed(report)


@pytest.mark.parametrize(("of", "checks"), [(Gain, {CONSERVED, DUAL}), (Conv, {CONSERVED, DUAL})])
def test_a_transpose_that_is_another_map(
    of: Any, checks: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = of.pull

    def wrong(self: Any, b: Any, m: Any) -> Any:
        found = pull(self, b, m)
        return type(found)(b.op("Mul", found.name, b.floats(1.01, 1)), found.stack)

    monkeypatch.setattr(of, "pull", wrong)
    options = {"method": "lrp", "composite": "epsilon_plus", "account": "explicit"}
    report = verify(*pair(BLOCKS, options), samples=1)
    assert checks <= failed(report), told(report)
