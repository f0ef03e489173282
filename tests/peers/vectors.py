"""The golden vectors of ``fixtures/peers``, and how rfponnx is asked for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import rfponnx
from rfponnx.methods.convert import Converted

Array = np.ndarray[Any, Any]

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "peers"
NETS = ("plain", "residual", "dense", "dead")
INPUT, OUTPUT = "image", "logits"
#: What the box rule is told; what DeepLIFT compares with.
LOW, HIGH, REFERENCE = -2.0, 2.5, 0.25
NINTH = float(np.float32(1 / 9))
#: Each class with one of the two seeds; the peers are linear in the seed.
SEEDS = {"argmax": "logit", "3": "one"}


@dataclass(frozen=True)
class Ask:
    """Options of a conversion that means what a peer did.

    Attributes
    ----------
    seeded
        Whether the seed is an option; the gradient family starts from one.
    scale
        The peer's answer is this multiple of ours.
    """

    options: Mapping[str, Any]
    seeded: bool = False
    scale: float = 1.0

    def __str__(self) -> str:
        words = [v for k, v in self.options.items() if k not in ("set", "flavor")]
        return "-".join([*words, *map(str, self.options.get("set", {}).values())])


def lrp(composite: str, flavor: str = "zennit", **numbers: Any) -> Ask:
    """Return LRP by a composite, or by the rule of that name on every layer."""
    options = {"method": "lrp", "composite": composite, "flavor": flavor}
    return Ask(options | ({"set": numbers} if numbers else {}), seeded=True)


def method(name: str, *, scale: float = 1.0, **numbers: Any) -> Ask:
    """Return a method of the gradient family."""
    return Ask({"method": name} | ({"set": numbers} if numbers else {}), scale=scale)


ASKS: Mapping[str, tuple[Ask, ...]] = {
    **{
        f"zennit/{name}": (lrp(name),)
        for name in (
            "epsilon",
            "alpha2_beta1",
            "alpha5_beta4",
            "gamma",
            "w_square",
            "flat",
            "epsilon_plus",
            "epsilon_plus_flat",
            "epsilon_alpha2_beta1",
            "epsilon_alpha2_beta1_flat",
        )
    },
    # Zennit's z+ is its alpha-beta with alpha 1 and beta 0
    "zennit/z_plus": (lrp("z_plus"), lrp("alpha1_beta0"), lrp("alpha_beta", alpha=1, beta=0)),
    "zennit/epsilon_gamma_box": (lrp("epsilon_gamma_box", low=LOW, high=HIGH),),
    "zennit/epsilon_batchnorm_pass": (lrp("epsilon", batchnorm="pass"),),
    "zennit/epsilon_plus_batchnorm_pass": (lrp("epsilon_plus", batchnorm="pass"),),
    "zennit/guided_backprop": (method("guided_backprop"),),
    "zennit/deconvnet": (method("deconvnet"),),
    "zennit/excitation_backprop": (method("excitation_backprop"),),
    "captum/epsilon": (lrp("epsilon", "captum", batchnorm="merge"),),
    "captum/epsilon_batchnorm_linear": (lrp("epsilon", "captum", batchnorm="linear"),),
    "captum/gamma": (lrp("gamma", "captum", batchnorm="merge"),),
    "captum/alpha1_beta0": (
        lrp("alpha1_beta0", "captum", batchnorm="merge"),
        lrp("z_plus", "captum", batchnorm="merge"),
    ),
    "captum/gradient": (method("gradient"),),
    "captum/gradient_x_input": (method("gradient_x_input"),),
    "captum/integrated_gradients": (method("integrated_gradients"),),
    "captum/integrated_gradients_right": (
        method("integrated_gradients", steps=10, quadrature="right"),
    ),
    "captum/integrated_gradients_left": (
        method("integrated_gradients", steps=10, quadrature="left"),
    ),
    # its weights do not sum to 1: nine points, eight intervals, and each a ninth, in float32
    "captum/integrated_gradients_trapezoid": (
        method("integrated_gradients", scale=8 * NINTH, steps=8, quadrature="trapezoid"),
    ),
    "captum/grad_cam": (method("grad_cam", relu=False, resize=False),),
    "captum/grad_cam_relu": (method("grad_cam", relu=True, resize=False),),
    "captum/deeplift": (method("deeplift"),),
    "captum/deeplift_reference": (method("deeplift", reference=REFERENCE),),
}


@dataclass(frozen=True)
class Vector:
    """One comparison: an array of a file, and one way to ask for it.

    Attributes
    ----------
    key
        ``tool/method/seed/target``, as the file has it.
    """

    net: str
    key: str
    ask: Ask = field(hash=False)

    def __str__(self) -> str:
        tool, name, _, target = self.key.split("/")
        return f"{self.net}-{tool}-{name}-{target}-as-{self.ask}"

    @property
    def target(self) -> int | str:
        """The explained class: a number, or ``argmax``."""
        name = self.key.rsplit("/", 1)[1]
        return int(name) if name.isdigit() else name

    @property
    def seed(self) -> str:
        """``logit`` or ``one``: what this comparison starts from, whatever the peer did."""
        return SEEDS[str(self.target)] if self.ask.seeded else "one"

    def feeds(self) -> dict[str, Array]:
        """Return the inputs."""
        return {INPUT: arrays(self.net)[INPUT]}

    def expected(self) -> Array:
        """Return the peer's answer, brought to this comparison's seed [N, C, H, W]."""
        found = arrays(self.net)
        logits, given = found[OUTPUT], self.key.split("/")[2]
        index = logits.argmax(1) if self.target == "argmax" else np.full(len(logits), self.target)
        score = np.take_along_axis(logits, index[:, None], 1)[..., None, None]
        power = (self.seed == "logit") - (given == "logit")
        return found[self.key] * score**power / self.ask.scale

    def converted(self) -> Converted:
        """Return the relevance graph."""
        options = dict(self.ask.options)
        if self.ask.seeded:
            options["seed_value"] = self.seed
        return rfponnx.convert(FOLDER / f"{self.net}.onnx", target=self.target, **options)


@cache
def arrays(net: str) -> dict[str, Array]:
    """Return what a file holds."""
    with np.load(FOLDER / f"{net}.npz") as found:
        return dict(found)


def vectors() -> Iterator[Vector]:
    """Yield every comparison."""
    for net in NETS:
        for key in arrays(net):
            if key not in (INPUT, OUTPUT):
                for ask in ASKS[key.rsplit("/", 2)[0]]:
                    yield Vector(net, key, ask)
