"""Relevance forward propagation: one stream per source, pushed through the linearisations."""

from __future__ import annotations

from rfponnx.emit.forward import Forward
from rfponnx.emit.readout import Result, read_out
from rfponnx.errors import OptionError
from rfponnx.graph.builder import Builder
from rfponnx.plan.plan import Plan

#: Rules that are no choice of a linear map y = A x.
SHARING = frozenset({"w_square", "flat", "z_box", "pass", "ones_plus"})


def emit(plan: Plan, b: Builder) -> tuple[Result, ...]:
    """Write the streams and their read-out ([RFP] 3); return the outputs to declare.

    Raises
    ------
    OptionError
        A rule is no choice of linear maps, so that there is nothing to push.
    """
    if plan.relevance:
        names = sorted({name for name, _ in plan.rules.values()} & SHARING)
        rule = " and ".join(names) or plan.convention.residual
        what = f"the rule {rule} hands relevance to entries of value 0"
        raise OptionError(what, "--method rfp", "use --method lrp, which pulls relevance back")
    return read_out(plan, b, Forward(plan, b))
