"""Any ONNX model in double precision, in NumPy.

The evaluator is `onnx.reference` with the kernels of `rfponnx.verify.kernels` in front.  It is
the judge of the laws (completeness, tangents, adjointness), so that it has to be exact first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import (
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    numpy_helper,
)
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpFunction

from rfponnx.errors import InputError, ModelError, Unsupported, nearest
from rfponnx.verify.kernels import operators
from rfponnx.verify.kernels_double import nodes_to_double, to_double

Array = npt.NDArray[Any]

__all__ = ["Float64", "to_double"]


class _Evaluator(ReferenceEvaluator):
    """`onnx.reference` with own kernels, also in functions and bodies, and errors with a place."""

    def __init__(self, proto: Any, **options: Any) -> None:
        if isinstance(proto, FunctionProto):
            # also the bodies that operator schemas define, whose constants are float32
            copy = FunctionProto()
            copy.CopyFrom(proto)
            nodes_to_double(copy.node)
            proto = copy
        options["new_ops"] = list(operators())
        # tensors whose values are given although a node makes them
        self.frozen: frozenset[str] = frozenset()
        # per node, the tensors that nothing needs afterwards: memory is what costs time
        self.spent: Sequence[Sequence[str]] = ()
        super().__init__(proto, **options)

    def run(
        self,
        output_names: Any,
        feed_inputs: dict[str, Any],
        attributes: dict[str, Any] | None = None,
        *_unused: Any,
        **_options: Any,
    ) -> list[Any]:
        """Evaluate all nodes and return the named tensors, by default the outputs."""
        results: dict[str, Any] = {"": None, **self.rt_inits_, **feed_inputs}
        for node, spent in zip(self.rt_nodes_, self.spent or repeat(()), strict=False):
            inputs = [_find(results, name, node) for name in node.input]
            options: dict[str, Any] = {}
            if node.need_context():
                options["context"] = results
            if node.has_linked_attribute and attributes:
                options["linked_attributes"] = attributes
            values = _outputs(node, inputs, options)
            found = zip(node.output, values, strict=False)
            results.update((name, value) for name, value in found if name not in self.frozen)
            for name in spent:
                results.pop(name, None)
        names = self.output_names if output_names is None else output_names
        return [results[name] for name in names]


def _find(results: Mapping[str, Any], name: str, node: Any) -> Any:
    if name not in results:
        raise ModelError(f"reads `{name}`, which nothing has made", _place(node.onnx_node))
    return results[name]


def _outputs(node: Any, inputs: list[Any], options: dict[str, Any]) -> list[Any]:
    if isinstance(node, OpFunction):  # whose trailing inputs may be left out
        inputs = [*inputs, *[None] * (len(node.impl_.input_names) - len(inputs))]
    try:
        return [_widen(value) for value in node.run(*inputs, **options)]
    except (ModelError, Unsupported) as error:
        raise error.at(_place(node.onnx_node)) from error
    except Exception as error:
        cause = error.__cause__ or error
        raise Unsupported(
            f"cannot be evaluated in float64: {type(cause).__name__}: {cause}",
            _place(node.onnx_node),
        ) from error


def _place(node: NodeProto) -> str:
    return f"{node.op_type} `{node.name or next(iter(node.output), '')}`"


def _widen(value: Any) -> Any:
    """Undo a float32 that a kernel produced regardless of its inputs."""
    if isinstance(value, np.ndarray) and value.dtype in (np.float32, np.float16):
        return value.astype(np.float64)
    if isinstance(value, list):
        return [_widen(v) for v in value]
    return value


class Float64:
    """Evaluates a model in float64.

    Parameters
    ----------
    proto
        Any ONNX model of standard operators and model-local functions.
    folder
        Where its external weights are.
    """

    def __init__(self, proto: ModelProto, folder: Path | None = None) -> None:
        model = to_double(proto, folder)
        self._opsets = {item.domain: item.version for item in model.opset_import}
        self._opsets.setdefault("", max(self._opsets.get("ai.onnx", 0), 1))
        self._graph = model.graph
        self._weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self._weights |= {t.values.name: _dense(t) for t in model.graph.sparse_initializer}
        del model.graph.initializer[:], model.graph.sparse_initializer[:]
        self._functions = _callees_first(model.functions)
        self._inputs = tuple(i.name for i in model.graph.input)
        makers = ((i, name) for i, node in enumerate(self._graph.node) for name in node.output)
        self._maker = {name: i for i, name in makers if name}
        self._cuts: dict[tuple[tuple[str, ...], frozenset[str]], _Evaluator] = {}

    def run(
        self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Return the asked tensors of the main graph, by default the graph's outputs.

        Only the nodes they depend on are evaluated.  Float feeds are widened to float64.  A feed
        may also name an inner tensor, which then keeps the given value (a frozen gate, say).

        Raises
        ------
        InputError
            If a tensor that is asked for, fed or needed does not exist.
        ModelError
            If the graph is not one that can be run.
        Unsupported
            If a node cannot be evaluated.
        """
        names = tuple(o.name for o in self._graph.output) if outputs is None else tuple(outputs)
        self._check_names((*names, *feeds))
        values = {**self._weights, **{name: _double(value) for name, value in feeds.items()}}
        key = names, frozenset(feeds)
        if key not in self._cuts:
            self._cuts[key] = self._cut(names, frozenset(feeds))
        evaluator = self._cuts[key]
        missing = [n for n in evaluator.input_names if n not in values]
        if missing:
            raise InputError(f"no value for input `{missing[0]}`")
        # an overflow or a division by zero is a value here, as it is in ONNX Runtime
        with np.errstate(all="ignore"):
            return dict(zip(names, evaluator.run(names, values), strict=True))

    def _check_names(self, names: Iterable[str]) -> None:
        every = {*self._maker, *self._inputs, *self._weights}
        for name in names:
            if name not in every:
                raise InputError(f"no tensor `{name}`", hint=nearest(name, every))

    def _cut(self, names: tuple[str, ...], fed: frozenset[str]) -> _Evaluator:
        order, needed = self._ancestors(names, fed)
        graph = GraphProto(name=self._graph.name or "cut")
        graph.node.extend(self._graph.node[i] for i in order)
        graph.input.extend(i for i in self._graph.input if i.name in needed)
        try:
            evaluator = _Evaluator(graph, opsets=self._opsets, functions=self._functions)
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            what = str(error).split("\n", 1)[0]
            raise Unsupported(f"cannot be evaluated in float64: {what}") from error
        evaluator.frozen = fed
        evaluator.spent = _spent(graph.node, names)
        return evaluator

    def _ancestors(
        self, names: Iterable[str], fed: frozenset[str]
    ) -> tuple[tuple[int, ...], set[str]]:
        """Return the nodes to evaluate, in an order that works, and the tensors they read."""
        before: dict[int, set[int]] = {}
        needed: set[str] = set()
        stack = list(names)
        while stack:
            name = stack.pop()
            index = None if name in fed else self._maker.get(name)
            needed.add(name)
            if index is None or index in before:
                continue
            reads = _reads(self._graph.node[index])
            made = {self._maker[r] for r in reads - fed if r in self._maker}
            before[index] = made - {index}
            stack.extend(reads)
        try:
            return tuple(TopologicalSorter(before).static_order()), needed
        except CycleError as error:
            raise ModelError("the graph has a cycle") from error


def _reads(node: NodeProto) -> set[str]:
    """Return every name a node reads, also from inside its bodies."""
    graphs = [g for n in _every([node]) for a in n.attribute for g in (*a.graphs, a.g)]
    names = {name for n in _every([node]) for name in n.input}
    return (names | {o.name for g in graphs for o in g.output}) - {""}


def _spent(nodes: Iterable[NodeProto], wanted: Iterable[str]) -> list[list[str]]:
    """Return, per node, what is read or made for the last time there and not wanted."""
    last: dict[str, int] = {}
    spent: list[list[str]] = []
    for i, node in enumerate(nodes):
        spent.append([])
        last.update(dict.fromkeys(_reads(node) | set(node.output), i))
    for name in last.keys() - {"", *wanted}:
        spent[last[name]].append(name)
    return spent


def _callees_first(functions: Iterable[FunctionProto]) -> list[FunctionProto]:
    """Sort functions as `onnx.reference` needs them."""
    by_name = {(f.domain, f.name): f for f in functions}
    calls = {
        key: {(n.domain, n.op_type) for n in _every(f.node)} & by_name.keys()
        for key, f in by_name.items()
    }
    try:
        return [by_name[key] for key in TopologicalSorter(calls).static_order()]
    except CycleError as error:
        raise ModelError("a function calls itself") from error


def _every(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield nodes and those of their bodies."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (*attribute.graphs, attribute.g):
                yield from _every(graph.node)


def _double(value: Any) -> Any:
    if value is None or isinstance(value, list):
        return value if value is None else [_double(v) for v in value]
    array = np.asarray(value)
    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return array.astype(np.float64) if floating else array


def _dense(sparse: onnx.SparseTensorProto) -> Array:
    values = numpy_helper.to_array(sparse.values)
    indices = numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    if indices.ndim == 1:
        dense.ravel()[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense
