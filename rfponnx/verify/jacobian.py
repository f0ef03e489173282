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
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import make_tensor_value_info

from rfponnx.graph.builder import Builder
from rfponnx.graph.graph import Node
from rfponnx.maps.base import Value, add, push
from rfponnx.methods.convert import Converted
from rfponnx.plan.plan import Plan, Step
from rfponnx.plan.sources import by_tensor, mask_input, masks_input
from rfponnx.verify.case import Row
from rfponnx.verify.engine import Array, Values

BOUND = 1e-6
LARGEST = 1e300  # stands for what is no number
#: Steps relative to x: small enough that hardly any piece changes, large enough for 16 digits.
STEPS = (1e-7, 1e-8, 1e-6)


@dataclass(frozen=True, slots=True)
class Names:
    """Inputs of the doubled model.

    Attributes
    ----------
    step
        h, a scalar.
    weight, free
        By source tensor x: w with ``v = w x``, and a mask of the entries that nobody owns.
    """

    step: str
    weight: Mapping[str, str]
    free: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Doubled:
    """The explicit overlay, and beside it the original functions at ``x + h v`` and ``x - h v``.

    Attributes
    ----------
    model, names
        With its additional inputs.
    ahead, behind
        The moved tensors, by the name of the original.
    affine
        How many of the steps are taken as affine maps.
    """

    model: ModelProto
    names: Names
    ahead: Mapping[str, str]
    behind: Mapping[str, str]
    affine: int

    def moved(self, tensor: str) -> tuple[str, str]:
        """Return a tensor ahead and behind; itself where no stream reaches it."""
        return self.ahead.get(tensor, tensor), self.behind.get(tensor, tensor)


class Moved:
    """The tensors on the way from the sources, computed at ``x + h v``."""

    def __init__(self, plan: Plan, b: Builder, names: Names, h: str) -> None:
        self.plan, self.b, self.names, self.h = plan, b, names, h
        self.at: dict[str, str] = {}
        self.affine = 0
        made = {step.y for step in plan.steps}
        for name in names.weight:
            if name not in made:
                self.at[name] = self._started(name, None)
        for step in plan.steps:
            moved = self._step(step)
            own = step.y in names.weight
            self.at[step.y] = self._started(step.y, moved) if own else moved

    def _started(self, x: str, moved: str | None) -> str:
        """Return ``x + h w x``, and what comes from above on the entries that nobody owns."""
        b = self.b
        own = b.op("Mul", b.op("Mul", x, self.names.weight[x]), self.h)
        name = b.op("Add", x, own)
        if moved is None:
            return name
        return b.op("Add", name, b.op("Mul", b.op("Sub", moved, x), self.names.free[x]))

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
    names = Names(
        b.name("verify/h"),
        {t: b.name(f"verify/weight/{t}") for t in source_tensors(plan)},
        {t: b.name(f"verify/free/{t}") for t in source_tensors(plan)},
    )
    ahead = Moved(plan, b, names, names.step)
    behind = Moved(plan, b, names, b.op("Neg", names.step))
    model.graph.node.extend(b.nodes)
    model.graph.initializer.extend(b.initializers)
    every = (names.step, *names.weight.values(), *names.free.values())
    model.graph.input.extend(make_tensor_value_info(n, TensorProto.DOUBLE, None) for n in every)
    return Doubled(model, names, ahead.at, behind.at, ahead.affine)


def direction(
    plan: Plan,
    names: Names,
    shapes: Mapping[str, tuple[int, ...]],
    feeds: Values,
    rng: np.random.Generator,
) -> tuple[Array, dict[str, Array]]:
    """Return random coefficients of the sources, and `Names.weight` and `Names.free` for them.

    Who owns what is decided here anew, with NumPy's own slicing.
    """
    fed = feeds[masks_input(plan.masks.tensor)] if plan.masks is not None else np.zeros(0)
    count = len(plan.sources) if plan.masks is None else len(fed)
    coefficients = rng.uniform(0.5, 1.5, count) * rng.choice([-1.0, 1.0], count)
    found: dict[str, Array] = {}
    for tensor, shape in shapes.items():
        owned = _owned(plan, tensor, shape, feeds)
        found[names.weight[tensor]] = np.tensordot(coefficients[list(owned)], _stack(owned), 1)
        found[names.free[tensor]] = 1.0 - _stack(owned).sum(0)
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
    """Streams against difference quotients of the explained tensors, at one step size or several.

    Attributes
    ----------
    off
        The difference of the two for every entry, relative to the largest sum of the streams'
        sizes; infinite at a kink, where the one-sided quotients differ: between x - h v and
        x + h v some piece changes, so that no derivative can be compared.
    bend
        The largest difference of the one-sided quotients: at a kink it does not depend on h.
    """

    off: Array
    bend: float

    @property
    def error(self) -> float:
        """The largest difference at an entry that lies at no kink."""
        return float(self.off[np.isfinite(self.off)].max(initial=0.0))

    @property
    def kinks(self) -> int:
        """How many entries lie at a kink."""
        return int(np.isinf(self.off).sum())

    @property
    def entries(self) -> int:
        """How many entries there are."""
        return int(self.off.size)


def best(found: Sequence[Slope]) -> Slope:
    """Return every entry at the step size that suits it: kinks and rounding lie elsewhere each."""
    return Slope(np.minimum.reduce([s.off for s in found]), found[-1].bend)


def slope(
    rows: Sequence[Row], twice: Doubled, values: Values, coefficients: Array, h: float
) -> Slope:
    """Compare the streams with the difference quotient."""
    found, sharpest = [], 0.0
    for row in rows:
        streams, y = values[row.relevance][:-1], values[row.value]
        up, down = (values[name] for name in twice.moved(row.of.tensor))
        expected = np.tensordot(coefficients, streams, 1)
        sizes = np.abs(streams) * np.abs(coefficients).reshape(-1, *[1] * y.ndim)
        scale = max(sizes.sum(0).max(initial=0.0), 1e-3 * np.abs(y).max(initial=0.0)) or 1.0
        bend = np.abs(up - 2 * y + down) / (2 * h * scale)
        off = np.abs((up - down) / (2 * h) - expected) / scale
        off = np.where(np.isfinite(off), off, LARGEST)
        sharpest = max(sharpest, float(bend.max(initial=0.0)))
        found.append(np.where(bend > BOUND, np.inf, off).ravel())
    return Slope(np.concatenate(found), sharpest)


def start_values(plan: Plan) -> list[str]:
    """Return the source tensors that have to be evaluated to know their shape."""
    return [t for t in source_tensors(plan) if t not in plan.graph.inputs]
