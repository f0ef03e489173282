"""Backward files written by hand: a linear classifier, whose relevance is known in closed form.

``logits = W x + b`` seeded with the logit of class k: R = x * W[k], bias = b[k].
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, np.dtype[Any]]
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def entry(kind: str, tensor: str = "", targets: Sequence[str] = ("argmax",), readout: str = "all",
          *, several: bool | None = None) -> dict[str, Any]:  # fmt: skip
    """The entry of one relevance in the metadata."""
    many = len(targets) > 1 if several is None else several
    return {"tensor": tensor, "kind": kind, "several": many, "targets": list(targets),
            "readout": readout}  # fmt: skip


def described(model: onnx.ModelProto, **more: Any) -> onnx.ModelProto:
    """Put metadata of a backward conversion into a model, in place of what is there."""
    data: dict[str, Any] = {
        "version": "0", "method": "lrp", "options": {}, "sources": [], "source_names": [],
        "masks": None, "report": {}, "prefix": "rfp/", "direction": "backward",
        "extra_inputs": {}, "conserves": True,
    } | more  # fmt: skip
    del model.metadata_props[:]
    model.metadata_props.add(key="rfponnx", value=json.dumps(data))
    return model


def metadata(model: onnx.ModelProto) -> Any:
    return json.loads(model.metadata_props[0].value)


@dataclass
class Linear:
    """What the linear classifier has: inputs [N, *D] by name, classes, a target, read-outs.

    Attributes
    ----------
    targets
        ``argmax``, ``topK`` labels from 1 on, one class ``3`` or several, ``input`` or ``seed``.
    sources
        By name: which entries of the only input, 0 or 1 [*D].
    readout
        ``all``, ``channels`` (sum over the axis behind the samples) or ``sources``.
    batch
        Its samples: a symbol, or a number for a baked batch.
    bias_total
        Whether bias and leak are of all samples together, [1].
    """

    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: {"x": (4,)})
    classes: int = 3
    targets: tuple[str, ...] = ("argmax",)
    sources: Mapping[str, Array] = field(default_factory=dict)
    specs: tuple[str, ...] = ()
    readout: str = "all"
    batch: str | int = "N"
    bias_total: bool = False
    leak: float = 0.0
    noise: int = 0
    reference: bool = False
    method: str = "lrp"
    conserves: bool = True
    softmax: bool = False
    weights: Mapping[str, Array] = field(default_factory=dict)
    bias: Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(len(self.inputs))
        drawn = {
            n: self.weights.get(n, rng.standard_normal((self.classes, *shape)))
            for n, shape in self.inputs.items()
        }
        self.weights = {n: np.asarray(w, np.float32) for n, w in drawn.items()}
        self.bias = np.asarray(
            self.bias if self.bias.size else rng.standard_normal(self.classes), np.float32
        )

    @property
    def several(self) -> bool:
        return len(self.targets) > 1

    def model(self) -> onnx.ModelProto:
        return _Writer(self).model()

    def logits(self, feeds: Mapping[str, Array]) -> Array:
        """[N, C] in float64."""
        parts = (
            x.reshape(len(x), -1).astype(np.float64) @ self.weights[n].reshape(self.classes, -1).T
            for n, x in feeds.items()
            if n in self.inputs
        )
        return np.asarray(sum(parts) + self.bias.astype(np.float64))

    def chosen(self, feeds: Mapping[str, Array]) -> Array:
        """The class of every target and sample [T, N]."""
        logits = self.logits(feeds)
        if self.targets == ("argmax",):
            return logits.argmax(1)[np.newaxis]
        if self.targets == ("input",):
            return np.asarray(feeds["target"])[np.newaxis]
        if self.targets[0].startswith("top"):
            return np.argsort(-logits, axis=1)[:, : len(self.targets)].T
        return np.array([[int(t)] * len(logits) for t in self.targets])

    def relevance(self, feeds: Mapping[str, Array], name: str) -> Array:
        """[T, N, *D] in float64."""
        k = self.chosen(feeds)
        return feeds[name].astype(np.float64)[np.newaxis] * self.weights[name][k]


class _Writer:
    """Writes the nodes of a `Linear`."""

    def __init__(self, net: Linear) -> None:
        self.net = net
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.found: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}

    def model(self) -> onnx.ModelProto:
        net, b = self.net, self.net.batch
        for name, shape in net.inputs.items():
            self.inputs.append(helper.make_tensor_value_info(name, FLOAT, [b, *shape]))
        self._forward()
        if net.targets == ("seed",):
            self._input("seed", FLOAT, [b, net.classes], "seed", "logits")
            weight = self._node("Div", ["seed", "logits"], "each")
        else:
            self._one_hot()
            weight = "hot"
        for name, shape in net.inputs.items():
            self._relevance(name, shape, weight)
        if net.conserves:
            self._ends(weight)
        graph = helper.make_graph(self.nodes, "net", self.inputs, self.outputs, self.stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        output = "chances" if net.softmax else "logits"
        one = {"tensor": "logits", "class_axis": 1, "output": output}
        return described(
            model, method=net.method, explained={"logits": one}, relevances=self.found,
            extra_inputs=self.extra, conserves=net.conserves, inputs=list(net.inputs),
            outputs=[output], source_names=list(net.sources), sources=list(net.specs),
        )  # fmt: skip

    def _node(self, op: str, inputs: Sequence[str], output: str, **attrs: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attrs))
        return output

    def _const(self, name: str, value: Any) -> str:
        self.stored.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _output(self, name: str, shape: Sequence[Any], dtype: int = FLOAT) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))

    def _input(self, name: str, dtype: int, shape: Sequence[Any], kind: str, of: str) -> None:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        self.extra[name] = {"kind": kind, "of": of} | ({"seed": 7} if kind == "noise" else {})

    def _forward(self) -> None:
        net, total = self.net, ""
        for i, name in enumerate(net.inputs):
            flat = self._node("Flatten", [name], f"flat{i}")
            w = self._const(f"w{i}", net.weights[name].reshape(net.classes, -1))
            part = self._node("Gemm", [flat, w], f"part{i}", transB=1)
            total = self._node("Add", [total, part], f"sum{i}") if total else part
        self._node("Add", [total, self._const("own_bias", net.bias)], "logits")
        self._output("logits", [net.batch, net.classes])
        if net.softmax:
            self._node("Softmax", ["logits"], "chances", axis=1)
            self._output("chances", [net.batch, net.classes])

    def _one_hot(self) -> None:
        """The target as [T, N, C], or [N, C] for a single one."""
        net = self.net
        if net.targets == ("argmax",):
            index = self._node("ArgMax", ["logits"], "index", axis=1, keepdims=0)
        elif net.targets == ("input",):
            self._input("target", INT, [net.batch], "target", "logits")
            index = "target"
        elif net.targets[0].startswith("top"):
            self._const("k", np.array([len(net.targets)]))
            self.nodes.append(helper.make_node("TopK", ["logits", "k"], ["best", "order"], axis=1))
            index = self._node("Transpose", ["order"], "index", perm=[1, 0])
        else:
            count = self._node("Shape", ["logits"], "count", start=0, end=1)
            self._const("fixed", np.array([[int(t)] for t in net.targets]))
            lead = self._const("lead", np.array([len(net.targets)]))
            size = self._node("Concat", [lead, count], "size", axis=0)
            index = self._node("Expand", ["fixed", size], "index")
            if not net.several:
                index = self._node("Squeeze", [index, self._const("zero", [0])], "alone")
        depth = self._const("depth", np.array(net.classes))
        values = self._const("values", np.array([0, 1], np.float32))
        self._node("OneHot", [index, depth, values], "hot", axis=-1)

    def _relevance(self, name: str, shape: tuple[int, ...], weight: str) -> None:
        net, i = self.net, list(self.net.inputs).index(name)
        lead = [len(net.targets)] if net.several else []
        rows = self._node("MatMul", [weight, f"w{i}"], f"rows{i}")
        x = f"flat{i}"
        if net.noise:
            x = self._noisy(name, shape, i)
        if net.reference:
            self._input(f"{name}_reference", FLOAT, [net.batch, *shape], "reference", name)
            away = self._node("Flatten", [f"{name}_reference"], f"away{i}")
            x = self._node("Sub", [x, away], f"step{i}")
        flat = self._node("Mul", [x, rows], f"flat_r{i}")
        if net.readout == "sources":
            return self._rows(flat, weight)
        like = self._const(f"like{i}", np.array([0] * (len(lead) + 1) + list(shape)))
        whole = f"{name}_relevance" if net.readout == "all" else f"whole{i}"
        self._node("Reshape", [flat, like], whole)
        kept = list(shape)
        if net.readout == "channels":
            axis = len(lead) + 1
            self._node("ReduceSum", [whole, self._const(f"a{i}", np.array([axis]))],
                       f"{name}_relevance", keepdims=0)  # fmt: skip
            kept = kept[1:]
        self._output(f"{name}_relevance", [*lead, net.batch, *kept])
        self.found[f"{name}_relevance"] = entry("input", name, net.targets, net.readout)
        return None

    def _noisy(self, name: str, shape: tuple[int, ...], i: int) -> str:
        """x and the mean of the noise: what a mean over noisy samples of a linear net gives."""
        net = self.net
        self._input(f"{name}_noise", FLOAT, [net.noise, net.batch, *shape], "noise", name)
        mean = self._node("ReduceMean", [f"{name}_noise"], f"mean{i}", axes=[0], keepdims=0)
        flat = self._node("Flatten", [mean], f"flat_mean{i}")
        return self._node("Add", [f"flat{i}", flat], f"noisy{i}")

    def _rows(self, flat: str, weight: str) -> None:
        net = self.net
        masks = np.stack([np.asarray(m, np.float32).ravel() for m in net.sources.values()])
        rest = 1 - masks.sum(0, keepdims=True)
        whole = self._const("owners", np.concatenate([masks, rest]).T.astype(np.float32))
        by = self._node("MatMul", [flat, whole], "by")
        order = [0, 2, 1] if net.several else [1, 0]
        self._node("Transpose", [by], "of_data", perm=order)
        ends = self._node("MatMul", [weight, "own_bias"], "bias_of_rest")
        axis = self._const("row_axis", np.array([1 if net.several else 0]))
        row = self._node("Unsqueeze", [ends, axis], "bias_row")
        last = [[0.0]] * len(net.sources) + [[1.0]]
        only = self._node("Mul", [row, self._const("last", np.array(last, np.float32))], "only")
        self._node("Add", ["of_data", only], "source_relevance")
        lead = [len(net.targets)] if net.several else []
        self._output("source_relevance", [*lead, len(net.sources) + 1, net.batch])
        self.found["source_relevance"] = entry("sources", "", net.targets, "sources")

    def _ends(self, weight: str) -> None:
        """Bias, and a leak that takes a fixed share of it."""
        net = self.net
        lead = [len(net.targets)] if net.several else []
        bias = self._node("MatMul", [weight, "own_bias"], "every_bias")
        for name, share in (("bias", 1 - net.leak), ("leak", net.leak)):
            if name == "leak" and not net.leak:
                continue
            factor = self._const(f"{name}_share", np.array(share, np.float32))
            out = f"{name}_relevance"
            part = self._node("Mul", [bias, factor], f"part_{name}" if net.bias_total else out)
            if net.bias_total:
                axis = self._const(f"{name}_axis", np.array([-1]))
                self._node("ReduceSum", [part, axis], out, keepdims=1)
            self._output(out, [*lead, 1 if net.bias_total else net.batch])
            self.found[out] = entry(name, "", net.targets)


HALVES = {"a": np.array([1, 1, 0, 0]), "b": np.array([0, 0, 1, 0])}
SPECS = ("a=x[:,0:2]", "b=x[:,2:3]")

NETS: dict[str, Linear] = {
    "one target": Linear(),
    "leak": Linear(leak=0.25),
    "one class": Linear(targets=("2",)),
    "top": Linear(targets=("top1", "top2")),
    "classes": Linear(targets=("0", "2"), leak=0.5),
    "two inputs": Linear({"image": (2, 3, 4), "table": (5,)}, softmax=True),
    "several targets, two inputs": Linear({"a": (2, 3), "b": (5,)}, targets=("top1", "top2")),
    "channels": Linear({"image": (2, 3, 4)}, readout="channels"),
    "sources": Linear(sources=HALVES, specs=SPECS, readout="sources"),
    "sources, top": Linear(
        sources=HALVES, specs=SPECS, readout="sources", targets=("top1", "top2")
    ),
    "target": Linear(targets=("input",)),
    "seed": Linear(targets=("seed",)),
    "noise": Linear(noise=3, conserves=False, method="smoothgrad"),
    "reference": Linear(reference=True, conserves=False, method="gradient"),
    "bias of all": Linear(bias_total=True, leak=0.5),
    "bias of all, top": Linear(bias_total=True, targets=("top1", "top2")),
}


def fed(net: Linear, rng: np.random.Generator, samples: int = 5) -> dict[str, Any]:
    """Random inputs, and a random target, seed or reference."""
    found: dict[str, Any] = {
        n: rng.standard_normal((samples, *shape)).astype(np.float32)
        for n, shape in net.inputs.items()
    }
    if net.targets == ("input",):
        found["target"] = rng.integers(0, net.classes, samples)
    if net.targets == ("seed",):
        found["seed"] = rng.standard_normal((samples, net.classes)).astype(np.float32)
    if net.reference:
        found["x_reference"] = rng.standard_normal((samples, 4)).astype(np.float32)
    return found
