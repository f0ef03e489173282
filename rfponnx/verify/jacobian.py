"""Streams are directional derivatives: the model's own functions, a small step apart.

For a direction ``v = sum_s c_s x^s`` with random c, the stream ``sum_s c_s r^s`` of every
explained tensor equals ``(E(x + h v) - E(x - h v)) / 2h``, where what the plan releases stays at
its value.  E is the original nodes, one by one; nodes whose linearisation is not their tangent
(a secant of `weighted`, something released inside) are taken as the affine map they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto
from onnx.helper import make_tensor_value_info

from rfponnx.emit.start import mask_input, masks_input
from rfponnx.graph.builder import Builder
from rfponnx.graph.graph import Node
from rfponnx.maps.base import Value, add, push
from rfponnx.methods.convert import Converted
from rfponnx.plan.plan import Plan, Step
from rfponnx.plan.sources import by_tensor
from rfponnx.verify.case import Row
from rfponnx.verify.engine import Array, Values

BOUND = 1e-6
#: Steps relative to x: small enough that hardly any piece changes, large enough for 16 digits.
STEPS = (1e-7, 1e-8, 1e-6)
STEP, WEIGHT, FREE = "verify/h", "verify/weight", "verify/free"  # inputs of the doubled model


@dataclass(frozen=True, slots=True)
class Doubled:
    """The explicit overlay, and beside it the original functions at ``x + h v`` and ``x - h v``.

    Attributes
    ----------
    model
        With the inputs `STEP`, `WEIGHT`/tensor and `FREE`/tensor for every source tensor.
    ahead, behind
        The moved tensors, by the name of the original.
    affine
        How many of the steps are taken as affine maps.
    """

    model: ModelProto
    ahead: Mapping[str, str]
    behind: Mapping[str, str]
    affine: int


class Moved:
    """The tensors on the way from the sources, computed at ``x + h v``."""

    def __init__(self, plan: Plan, b: Builder, h: str) -> None:
        self.plan, self.b, self.h = plan, b, h
        self.at: dict[str, str] = {}
        self.affine = 0
        made = {step.y for step in plan.steps}
        self._sources = source_tensors(plan)
        for name in self._sources:
            if name not in made:
                self.at[name] = self._started(name, None)
        for step in plan.steps:
            moved = self._step(step)
            self.at[step.y] = self._started(step.y, moved) if step.y in self._sources else moved

    def _started(self, x: str, moved: str | None) -> str:
        """Return ``x + h w x``, and what comes from above on the entries that nobody owns."""
        b = self.b
        own = b.op("Mul", b.op("Mul", x, f"{WEIGHT}/{x}"), self.h)
        name = b.op("Add", x, own)
        if moved is None:
            return name
        return b.op("Add", name, b.op("Mul", b.op("Sub", moved, x), f"{FREE}/{x}"))

    def _step(self, step: Step) -> str:
        if is_affine(step):
            self.affine += 1
            return self._pushed(step)
        made, node = step.linearisation, step.node
        names = {t.x: self.at[t.x] for t in made.terms if t.x in self.at}
        for name in sorted(made.through, key=self._position):
            inner = self.plan.graph.producer(name)
            assert inner is not None
            names[name] = self._again(inner, name, names)
        return self._again(node, step.y, names)

    def _pushed(self, step: Step) -> str:
        """Return ``y + sum_k A_k (x_k' - x_k)``."""
        b, parts = self.b, []
        for term in step.linearisation.terms:
            if term.x in self.at:
                change = b.op("Sub", self.at[term.x], term.x)
                parts.append(push(term.map, b, Value(change)))
        return b.op("Add", step.y, add(b, parts).name) if parts else step.y

    def _again(self, node: Node, y: str, names: Mapping[str, str]) -> str:
        """Write the original node once more, on the moved tensors."""
        proto = NodeProto()
        proto.CopyFrom(self.plan.graph.proto.graph.node[node.index])
        inputs = [names.get(i, i) for i in node.inputs]
        outputs = [self.b.name(f"verify/{o}") if o else "" for o in node.outputs]
        del proto.input[:], proto.output[:]
        proto.input.extend(inputs)
        proto.output.extend(outputs)
        proto.name = outputs[node.outputs.index(y)]
        self.b.nodes.append(proto)
        return str(proto.name)

    def _position(self, tensor: str) -> int:
        node = self.plan.graph.producer(tensor)
        return -1 if node is None else node.index


def is_affine(step: Step) -> bool:
    """Tell whether a step is taken as its affine map, since the node itself would say more.

    So is a node that reads a tensor in more places than its linearisation has terms for it.
    """
    made, inputs = step.linearisation, step.node.inputs
    if not made.tangent or made.frozen:
        return True
    if made.through:
        return False
    counted = [t.x for t in made.terms]
    return any(inputs.count(x) != counted.count(x) for x in counted)


def source_tensors(plan: Plan) -> tuple[str, ...]:
    """Return the tensors at which streams begin."""
    found = dict.fromkeys(t for g in plan.groups for t in sorted(g.tensors))
    return tuple(found)


def doubled(explicit: Converted) -> Doubled:
    """Return the model of both steps."""
    plan, model = explicit.plan, ModelProto()
    model.CopyFrom(explicit.model)
    b = Builder(plan.graph, "verify")
    ahead = Moved(plan, b, STEP)
    behind = Moved(plan, b, b.op("Neg", STEP))
    model.graph.node.extend(b.nodes)
    model.graph.initializer.extend(b.initializers)
    kinds = {STEP: 1} | {
        f"{what}/{t}": plan.graph.dtype(t) or 1
        for t in source_tensors(plan)
        for what in (WEIGHT, FREE)
    }
    model.graph.input.extend(make_tensor_value_info(n, k, None) for n, k in kinds.items())
    return Doubled(model, ahead.at, behind.at, ahead.affine)


def direction(
    plan: Plan, shapes: Mapping[str, tuple[int, ...]], feeds: Values, rng: np.random.Generator
) -> tuple[Array, dict[str, Array]]:
    """Return random coefficients of the sources, and the direction they make at each tensor.

    Who owns what is decided here anew, with NumPy's own slicing.
    """
    fed = feeds[masks_input(plan.masks.tensor)] if plan.masks is not None else np.zeros(0)
    count = len(plan.sources) if plan.masks is None else len(fed)
    coefficients = rng.uniform(0.5, 1.5, count) * rng.choice([-1.0, 1.0], count)
    found: dict[str, Array] = {}
    for tensor in source_tensors(plan):
        owned = _owned(plan, tensor, shapes[tensor], feeds)
        found[f"{WEIGHT}/{tensor}"] = np.tensordot(coefficients[list(owned)], _stack(owned), 1)
        found[f"{FREE}/{tensor}"] = 1.0 - _stack(owned).sum(0)
    return coefficients, found


def _owned(plan: Plan, tensor: str, shape: Sequence[int], feeds: Values) -> dict[int, Array]:
    """Return per source a mask of the entries of a tensor that it owns."""
    if plan.masks is not None:
        masks = feeds[masks_input(tensor)].astype(np.float64)
        return {i: np.broadcast_to(m, shape) for i, m in enumerate(masks)}
    found: dict[int, Array] = {}
    for index, piece in by_tensor(plan.sources).get(tensor, []):
        mask = found.setdefault(index, np.zeros(shape))
        if piece.masked:
            mask += feeds[mask_input(plan.sources[index].name)]
        else:
            mask[tuple(slice(*cut) for cut in piece.slices)] += 1.0
    return found


def _stack(owned: Mapping[int, Array]) -> Array:
    return np.stack(list(owned.values()))


@dataclass(frozen=True, slots=True)
class Slope:
    """Stream and difference quotient of the explained tensors at one step size.

    Attributes
    ----------
    error
        Largest difference of the two, relative to the largest sum of the streams' sizes, over
        the entries that lie at no kink.
    kinks, entries
        Entries whose one-sided quotients differ: between x - h v and x + h v some piece
        changes, so that no derivative can be compared.
    """

    error: float
    kinks: int
    entries: int


def slope(
    rows: Sequence[Row], twice: Doubled, values: Values, coefficients: Array, h: float
) -> Slope:
    """Compare the streams with the difference quotient."""
    error, kinks, entries = 0.0, 0, 0
    for row in rows:
        streams, y = values[row.relevance][:-1], values[row.value]
        up, down = (values[at[row.of.tensor]] for at in (twice.ahead, twice.behind))
        expected = np.tensordot(coefficients, streams, 1)
        sizes = np.abs(streams) * np.abs(coefficients).reshape(-1, *[1] * y.ndim)
        scale = max(sizes.sum(0).max(initial=0.0), 1e-3 * np.abs(y).max(initial=0.0)) or 1.0
        smooth = np.abs(up - 2 * y + down) / (2 * h * scale) <= BOUND
        off = np.abs((up - down) / (2 * h) - expected) / scale
        off = np.where(np.isfinite(off), off, np.inf)
        smooth |= ~np.isfinite(up - down)
        error = max(error, float(off[smooth].max(initial=0.0)))
        kinks, entries = kinks + int((~smooth).sum()), entries + y.size
    return Slope(error, kinks, entries)


def start_values(plan: Plan) -> list[str]:
    """Return the source tensors that have to be evaluated to know their shape."""
    return [t for t in source_tensors(plan) if t not in plan.graph.inputs]
