"""What writes the overlay of each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rfponnx.emit.readout import Result
from rfponnx.graph.builder import Builder
from rfponnx.methods import averaged, backward, cam, deeplift, rfp, sources
from rfponnx.plan.plan import Plan

Emit = Callable[[Plan, Builder], tuple[Result, ...]]

#: Methods that are more than a walk from the explained tensor back to the inputs.
EMITTERS: Mapping[str, Emit] = MappingProxyType(
    {
        "rfp": rfp.emit,
        "integrated_gradients": averaged.integrated_gradients,
        "smoothgrad": averaged.smoothgrad,
        "grad_cam": cam.grad_cam,
        "deeplift": deeplift.deeplift,
    }
)


def emit(plan: Plan, b: Builder) -> tuple[Result, ...]:
    """Write the overlay of a plan; return the outputs to declare."""
    if plan.options.readout == "sources" and plan.options.way.single:
        return (sources.pushed_sources if plan.direction == "forward" else backward.single)(plan, b)
    return EMITTERS.get(plan.options.method, backward.single)(plan, b)
