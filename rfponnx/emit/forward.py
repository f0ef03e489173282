"""The forward walker: streams pushed through a finished plan, which decides everything."""

from __future__ import annotations

from collections.abc import Sequence

from rfponnx.emit.split import divided
from rfponnx.emit.start import rest_of, start_of
from rfponnx.errors import guarded
from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Value, add, push, whole
from rfponnx.maps.expr import finite
from rfponnx.maps.expr import tensor as expression
from rfponnx.maps.rearrange import Embed, concatenated
from rfponnx.ops.op import Linearisation
from rfponnx.plan.plan import Group, Plan, Step, uncovered


class Forward:
    """Streams at every tensor that carries some.

    Attributes
    ----------
    streams
        ``streams[tensor][group]``: the part of the tensor that the group's sources own.
    bias
        The part that nobody owns, where the plan lets it travel; absent means zero.
    """

    def __init__(self, plan: Plan, b: Builder) -> None:
        self.plan, self.b = plan, b
        self.streams: dict[str, dict[Group, Value]] = {}
        self.bias: dict[str, Value] = {}
        made_here = {step.y for step in plan.steps}
        for name in dict.fromkeys(t for g in plan.groups for t in sorted(g.tensors)):
            if name not in made_here:
                self._begin(name, {})
        for step in plan.steps:
            with b.at(step.node.label), guarded(f"node `{step.node.label}` ({step.node.op})"):
                self._step(step)

    def _begin(self, name: str, upstream: dict[Group, Value]) -> None:
        """Start the streams of a source tensor; what comes from above keeps the rest of it."""
        b, plan = self.b, self.plan
        here = [g for g in plan.groups if name in g.tensors]
        streams = {g: start_of(b, plan, g, name) for g in here}
        if uncovered(plan, name) and (upstream or plan.carries_bias):
            free = rest_of(b, plan, name)
            for group, value in upstream.items():
                kept = Value(b.op("Mul", whole(b, value).name, free), value.stack)
                streams[group] = add(b, [streams[group], kept]) if group in streams else kept
            if plan.carries_bias:
                outside = self.bias[name].name if name in self.bias else name
                if name in self.bias or not upstream:
                    self.bias[name] = Value(b.op("Mul", outside, free))
        else:
            self.bias.pop(name, None)
        self.streams[name] = streams

    def _step(self, step: Step) -> None:
        made = step.linearisation
        parts = {}
        for group in step.groups:
            arriving = {t.x: self.streams.get(t.x, {}).get(group) for t in made.terms}
            present = {x: value for x, value in arriving.items() if value is not None}
            if present:
                parts[group] = self._pushed(made, present)
        if self.plan.carries_bias:
            offset = self._offset(step)
            if offset is not None and made.affine and self.plan.options.bias.startswith("split"):
                parts = divided(self.b, self.plan.options, parts, offset, step.y)
                offset = None
            self._push_bias(step, offset)
        self.streams[step.y] = parts
        if any(step.y in g.tensors for g in self.plan.groups):
            self._begin(step.y, parts)

    def _pushed(self, made: Linearisation, streams: dict[str, Value]) -> Value:
        """Return the sum of the terms on the streams of one group."""
        b = self.b
        if made.joint:
            embeds = [t.map for t in made.terms if isinstance(t.map, Embed)]
            parts = {i: streams[t.x] for i, t in enumerate(made.terms) if t.x in streams}
            return concatenated(b, parts, embeds)
        return add(b, [push(t.map, b, streams[t.x]) for t in made.terms if t.x in streams])

    def _push_bias(self, step: Step, offset: Value | None) -> None:
        """Carry on what nobody owns: bias from before, operands no source reaches, the offset."""
        made, split = step.linearisation, self.plan.options.bias.startswith("split")
        before = {t.x: self.bias[t.x] for t in made.terms if t.x in self.bias}
        for term in made.terms:
            constant = self.plan.graph.is_constant(term.x)
            if term.x not in self.plan.carried and not (split and made.affine and constant):
                before[term.x] = self._finite(term.x, term.x)
        summands = [offset] if offset is not None else []
        if before:
            summands.insert(0, self._pushed(made, before))
        if summands:
            self.bias[step.y] = self._finite(step.y, whole(self.b, add(self.b, summands)).name)

    def _finite(self, tensor: str, bias: str) -> Value:
        """Return a bias of a tensor, the largest number in place of infinity."""
        if tensor not in self.plan.infinite:
            return Value(bias)
        return Value(finite(expression(bias)).emit(self.b, self.b.dtype(tensor)))

    def _offset(self, step: Step) -> Value | None:
        """Return o, in the shape of y; for `split`, constant operands count as offset too."""
        b, made, split = self.b, step.linearisation, self.plan.options.bias.startswith("split")
        if made.offset == "rest":
            values = {t.x: self._finite(t.x, t.x) for t in made.terms}
            if not made.terms:
                return Value(step.y)
            return Value(b.op("Sub", step.y, self._pushed(made, values).name))
        found: list[Value] = []
        if made.offset is not None:
            emitted = made.offset.emit(b, b.dtype(step.y))
            found.append(Value(b.op("Expand", emitted, b.shape(step.y))))
        if made.leak is not None:
            leaked = made.leak.emit(b, b.dtype(step.y))
            found.append(Value(b.op("Expand", leaked, b.shape(step.y))))
        if split and made.affine:
            constants = [t for t in made.terms if b.graph.is_constant(t.x)]
            found += [push(t.map, b, Value(t.x)) for t in constants]
        return add(b, found) if found else None


def total(b: Builder, values: Sequence[Value]) -> str:
    """Return the sum of values over all groups and, within one, over its stack axis."""
    flat = [
        b.reduce("ReduceSum", v.name, [0], keepdims=False) if v.stack else whole(b, v).name
        for v in values
    ]
    name = flat[0]
    for other in flat[1:]:
        name = b.op("Add", name, other)
    return name
