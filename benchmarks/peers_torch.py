"""The networks of the benchmarks in PyTorch, and its tools on them; needs torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import onnx
import torch  # type: ignore[import-not-found, unused-ignore]
from onnx import helper, numpy_helper
from torch import nn

Tensor = Any
Explain = Callable[[], Tensor]


class Twin(nn.Module):  # type: ignore[misc, unused-ignore]
    """An ONNX network of the operators that `benchmarks.models` uses, node by node.

    Parameters
    ----------
    model
        Its weights become those of the modules.
    add
        Makes a module for each Add, so that a tool can put its rule there; None: plain sums.
    """

    def __init__(self, model: onnx.ModelProto, add: Callable[[], Any] | None = None) -> None:
        super().__init__()
        weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.layers = nn.ModuleDict()
        self.steps: list[tuple[str, str, list[str], str]] = []
        for node in model.graph.node:
            data = [name for name in node.input if name not in weights]
            # strings of their own: a node would keep all of the model in memory
            self.steps.append((node.op_type, node.name, data, node.output[0]))
            layer = add() if node.op_type == "Add" and add is not None else layer_of(node, weights)
            if layer is not None:
                self.layers[node.name] = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        values = {"input": x}
        for kind, name, inputs, output in self.steps:
            values[output] = self._run(kind, name, [values[i] for i in inputs])
        return values["logits"]

    def _run(self, kind: str, name: str, inputs: list[Tensor]) -> Tensor:
        if kind == "Flatten":
            return torch.flatten(inputs[0], 1)
        if name not in self.layers:
            return inputs[0] + inputs[1]
        layer = self.layers[name]
        stacked = kind == "Add" and hasattr(layer, "dim")  # Zennit's sum of one tensor
        return layer(torch.stack(inputs, dim=-1)) if stacked else layer(*inputs)


def layer_of(node: onnx.NodeProto, weights: dict[str, npt.NDArray[Any]]) -> Any:
    """Return the module of a node; None where it needs none."""
    at = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Relu":
        return nn.ReLU()
    if node.op_type == "GlobalAveragePool":
        return nn.AdaptiveAvgPool2d(1)
    if node.op_type == "MaxPool":
        return nn.MaxPool2d(at["kernel_shape"], at["strides"], at.get("pads", [0, 0])[:2])
    if node.op_type not in ("Conv", "Gemm"):
        return None
    w, b = (torch.from_numpy(weights[i].copy()) for i in node.input[1:3])
    if node.op_type == "Gemm":
        layer = nn.Linear(w.shape[1], w.shape[0])
    else:
        layer = nn.Conv2d(
            w.shape[1], w.shape[0], w.shape[2:], at["strides"], at["pads"][:2], at["dilations"]
        )
    layer.weight.data, layer.bias.data = w, b
    return layer


def explainer(tool: str, method: str, model: onnx.ModelProto, x: Tensor) -> Explain:
    """Return what gives the relevance of x for its largest logit, ``[1, C, H, W]``."""
    build = {"torch": _gradient, "zennit": _zennit, "captum": _captum}[tool]
    return build(method, model, x)


def _gradient(method: str, model: onnx.ModelProto, x: Tensor) -> Explain:
    net = Twin(model).eval()

    def explain() -> Tensor:
        data = x.clone().requires_grad_()
        return torch.autograd.grad(net(data).max(), data)[0]

    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return explain


def _zennit(method: str, model: onnx.ModelProto, x: Tensor) -> Explain:
    from zennit import composites  # type: ignore[import-not-found, unused-ignore]
    from zennit.layer import Sum  # type: ignore[import-not-found, unused-ignore]
    from zennit.rules import Epsilon  # type: ignore[import-not-found, unused-ignore]

    layers = [
        *composites.layer_map_base(),
        (nn.Conv2d, Epsilon(epsilon=1e-6)),
        (nn.Linear, Epsilon(epsilon=1e-6)),
    ]
    made = {
        "epsilon": lambda: composites.LayerMapComposite(layers),
        "epsilon_plus": composites.EpsilonPlus,
        "epsilon_alpha2_beta1": composites.EpsilonAlpha2Beta1,
        "epsilon_gamma_box": lambda: composites.EpsilonGammaBox(
            low=x.min().expand_as(x), high=x.max().expand_as(x)
        ),
    }[method]()
    net = Twin(model, Sum).eval()
    made.register(net)  # once: a user explains many samples

    def explain() -> Tensor:
        data = x.clone().requires_grad_()
        logits = net(data)
        seed = nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits)
        return torch.autograd.grad(logits, data, seed)[0]

    return explain


def _captum(method: str, model: onnx.ModelProto, x: Tensor) -> Explain:
    from captum.attr import LRP  # type: ignore[import-not-found, unused-ignore]
    from captum.attr._utils.custom_modules import (  # type: ignore[import-not-found, unused-ignore]
        Addition_Module,
    )

    net = Twin(model, Addition_Module).eval()
    with torch.no_grad():
        target = int(net(x).argmax())
    tool = LRP(net)  # the epsilon rule everywhere unless told otherwise

    def explain() -> Tensor:
        return tool.attribute(x.clone(), target=target)

    return explain


def versions() -> str:
    """Return what is timed."""
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("torch", "zennit", "captum"))
