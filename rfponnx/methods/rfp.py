"""Relevance forward propagation: one stream per source, pushed through the linearisations."""

from __future__ import annotations

from rfponnx.emit.forward import Forward
from rfponnx.emit.readout import Result, read_out
from rfponnx.graph.builder import Builder
from rfponnx.plan.plan import Plan

#: The oldest opset that has every operator the forward overlay is written with.
MINIMUM_OPSET = 13


def emit(plan: Plan, b: Builder) -> tuple[Result, ...]:
    """Write the streams and their read-out ([RFP] 3); return the outputs to declare."""
    return read_out(plan, b, Forward(plan, b))
