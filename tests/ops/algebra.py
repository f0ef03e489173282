"""The maps of a case as functions of arrays in float64, and what they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ValueInfoProto, helper, numpy_helper

from rfponnx.graph.builder import Builder, model_with
from rfponnx.graph.graph import Graph
from rfponnx.graph.load import load
from rfponnx.graph.prepare import prepare
from rfponnx.maps.base import Map, Value
from rfponnx.plan.plan import Step
from rfponnx.verify.float64 import Float64
from tests.ops.harness import Array, Case, worst

#: The opset that has ScatterElements with reduction, which pulls are written with.
PULL_OPSET = 16


@dataclass(frozen=True, slots=True)
class Pair:
    """A term of a step, its map, and the primal's values at both of its ends."""

    step: Step
    x: str
    map: Map
    shape_x: tuple[int, ...]
    shape_y: tuple[int, ...]


class Algebra:
    """The maps of a case as functions of arrays, in float64.

    Attributes
    ----------
    graph
        The prepared model, at an opset that pulls can be written in.
    steps, carried, values
        The plan's steps; what a source reaches; every tensor of the primal that a map starts or
        ends at.
    pairs
        One for each carried term of each step.
    """

    def __init__(self, case: Case, *, free: bool = False, kind: str = "", **more: Any) -> None:
        options = {"linearisation": kind} | more if kind else more
        raised = prepare(load(case.model(free=free)), PULL_OPSET).proto
        plan = case.convert(raised, **options).plan
        self.graph, self.feeds = plan.graph, case.feeds()
        ends = {s.y for s in plan.steps} | {t.x for s in plan.steps for t in s.linearisation.terms}
        self.values = tensors_of(plan.graph, self.feeds, ends)
        self.steps, self.carried = plan.steps, plan.carried
        self.pairs = [
            Pair(s, t.x, t.map, self.values[t.x].shape, self.values[s.y].shape)
            for s in plan.steps
            for t in s.linearisation.terms
            if t.x in plan.carried
        ]

    def push(self, pair: Pair, u: Array, *, stack: bool = False) -> Array:
        """Return ``A u``; with `stack`, for every row of ``u``."""
        return self._apply(pair, u, stack, pull=False)

    def pull(self, pair: Pair, v: Array, *, stack: bool = False) -> Array:
        """Return ``A^T v``; with `stack`, for every row of ``v``."""
        return self._apply(pair, v, stack, pull=True)

    def _apply(self, pair: Pair, values: Array, stack: bool, *, pull: bool) -> Array:
        b = Builder(self.graph, "law")
        given = b.name("given")
        value = Value(given, stack)
        result = pair.map.pull(b, value) if pull else pair.map.push(b, value)
        assert result.window is None
        assert result.stack == stack, "a map changed the stack axis"
        name = b.named(b.name("result"), "Identity", result.name)
        model = model_with(self.graph.proto, b)
        dtype = self.graph.dtype(pair.step.y)
        free = [f"given_{i}" for i in range(values.ndim)]
        model.graph.input.append(helper.make_tensor_value_info(given, dtype, free))
        return Float64(model).run({**self.feeds, given: values}, [name])[name]


def tensors_of(graph: Graph, feeds: Mapping[str, Array], names: Iterable[str]) -> dict[str, Array]:
    """Return tensors of the primal in float64, weights among them."""
    weights = {t.name: _wide(numpy_helper.to_array(t)) for t in graph.proto.graph.initializer}
    asked = sorted(set(names) - {""})
    found = Float64(graph.proto).run(feeds, [n for n in asked if n not in weights])
    return {n: weights[n] if n in weights else _wide(found[n]) for n in asked}


class Local:
    """One step's own nodes as a function of the tensors they read, in float64."""

    def __init__(self, algebra: Algebra, step: Step) -> None:
        graph = algebra.graph
        makers = [graph.producer(t) for t in step.linearisation.through]
        places = sorted({n.index for n in makers if n is not None} | {step.node.index})
        nodes = [graph.proto.graph.node[i] for i in places]
        made = {o for n in nodes for o in n.output}
        read = list(dict.fromkeys(i for n in nodes for i in n.input if i and i not in made))
        self.y = step.y
        self.feeds = tensors_of(graph, algebra.feeds, read)
        inputs = [_value_info(n, v) for n, v in self.feeds.items()]
        sub = helper.make_graph(nodes, "step", inputs, [ValueInfoProto(name=step.y)])
        self.model = Float64(helper.make_model(sub, opset_imports=graph.proto.opset_import))

    def __call__(self, x: str, values: Array) -> Array:
        """Return y with one tensor replaced."""
        return self.model.run({**self.feeds, x: values}, [self.y])[self.y]


def _wide(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _value_info(name: str, value: Array) -> ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, dtype, value.shape)


def check_adjoint(algebra: Algebra, pair: Pair, rng: np.random.Generator, bound: float) -> None:
    """Hold ``<A u, v> = <u, A^T v>``, with and without a stack axis."""
    u, v = rng.normal(size=(2, *pair.shape_x)), rng.normal(size=(2, *pair.shape_y))
    pushed = np.stack([algebra.push(pair, row) for row in u])
    pulled = np.stack([algebra.pull(pair, row) for row in v])
    assert pushed.shape == v.shape
    assert pulled.shape == u.shape
    for i, j in np.ndindex(2, 2):
        one, other = dot(pushed[i], v[j]), dot(u[i], pulled[j])
        size = np.abs(pushed[i] * v[j]).sum() + np.abs(u[i] * pulled[j]).sum() + 1e-30
        assert abs(one - other) / size <= bound
    assert worst(algebra.push(pair, u, stack=True), pushed) <= bound
    assert worst(algebra.pull(pair, v, stack=True), pulled) <= bound


def dot(a: Array, b: Array) -> float:
    """Return the inner product of two arrays of one shape."""
    assert a.shape == b.shape, f"{a.shape} against {b.shape}"
    return float(np.sum(a * b))


def central_difference(f: Callable[[Array], Array], x: Array, v: Array, h: float) -> Array:
    """Return the derivative of f at x along v by five points, exact to the fourth order of h."""
    near, far = f(x + h * v) - f(x - h * v), f(x + 2 * h * v) - f(x - 2 * h * v)
    return np.asarray((8 * near - far) / (12 * h))


def smooth_entries(f: Callable[[Array], Array], x: Array, v: Array, h: float) -> Array:
    """Return where the differences to both sides, and of both sizes, agree: f is smooth there."""
    right, left, y = f(x + h * v), f(x - h * v), f(x)
    further = f(x + 2 * h * v) - f(x - 2 * h * v)
    bend, jump = np.abs(right - 2 * y + left), np.abs(further - 2 * (right - left))
    return np.asarray(np.maximum(bend, jump) <= 1e-2 * h * (1 + np.abs(y)))
