"""Cases of the op table, and what the laws need of them: models, feeds, conversions, dense maps.

A case is one node (or a few, written out) with its operands; the laws in `test_laws` say what
has to hold for all of them.  Tables live in `cases_*.py`, one a family, each with ``CASES``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

import rfponnx
from rfponnx.graph.graph import FLOATS
from rfponnx.methods.convert import Converted
from rfponnx.verify.float64 import Float64

Array = np.ndarray[Any, Any]

#: Operator sets of other domains, where a case names one.
VERSIONS = {"ai.onnx.ml": 3, "com.microsoft": 1}


class Operand:
    """Data of one input: drawn for a shape (a tuple), or given (a list or an array).

    Parameters
    ----------
    data
        A tuple is a shape, anything else the values.
    low, high
        Uniform between these instead of standard normal.
    dtype
        Of drawn values, and of given Python floats.
    """

    letter = "n"

    def __init__(
        self, data: Any, *, low: float | None = None, high: float | None = None,
        dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        self.data, self.low, self.high, self.dtype = data, low, high, np.dtype(dtype)

    def draw(self, rng: np.random.Generator) -> Array:
        """Return the values."""
        if not isinstance(self.data, tuple):
            given = np.asarray(self.data)
            return given.astype(self.dtype) if given.dtype == np.float64 else given
        if self.low is None or self.high is None:
            return np.asarray(rng.normal(size=self.data)).astype(self.dtype)
        return np.asarray(rng.uniform(self.low, self.high, self.data)).astype(self.dtype)


class X(Operand):
    """A graph input that is a source."""

    letter = "x"


class N(Operand):
    """A graph input that is no source: data of any type that is known at run time only."""

    letter = "n"


class W(Operand):
    """An initializer."""

    letter = "w"


@dataclass(frozen=True, eq=False)
class Case:
    """One row of a table.

    Attributes
    ----------
    op, about
        The operator that the row is about, and what is special here.
    inputs
        Operands; ``None`` is an absent optional input.  Their tensors are called ``x0``, ``w1``,
        ``n2``: the letter of the class and the place.
    attrs
        Attributes of the node.
    outputs
        How many outputs the node declares: ``y0``, ``y1``, ...
    opset, domain
        The opset of the model; the domain of the node.
    nodes
        Instead of one node: a function that returns nodes which make ``y0`` of the operands.
    explain
        Which outputs are explained; all float ones unless given.
    options
        Options of `rfponnx.convert`.
    free
        Which axes of the graph inputs are of a size that the model does not declare, in the
        variant of the model that has such axes; ``None`` is all, ``()`` none (the operator
        needs to know them).
    kinks
        The point has entries where the node has no derivative; they are left out there.
    refuses
        The node is refused, with a message that matches this.
    """

    op: str
    about: str
    inputs: Sequence[Operand | None]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 18
    domain: str = ""
    nodes: Callable[[], Sequence[NodeProto]] | None = None
    explain: Sequence[int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    free: Sequence[int] | None = None
    kinks: bool = False
    refuses: str = ""

    def __str__(self) -> str:
        return f"{self.op}-{self.opset}-{self.about}".replace(" ", "_")

    @property
    def names(self) -> tuple[str, ...]:
        """The tensor names of the operands; empty for an absent one."""
        return tuple(f"{o.letter}{i}" if o else "" for i, o in enumerate(self.inputs))

    def values(self) -> dict[str, Array]:
        """Return all operands by name, the same at every call."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        drawn = [o.draw(rng) if o else None for o in self.inputs]
        return {n: v for n, v in zip(self.names, drawn, strict=True) if v is not None}

    def feeds(self) -> dict[str, Array]:
        """Return the values of the graph inputs."""
        return {n: v for n, v in self.values().items() if n[0] != "w"}

    def model(self, *, free: bool = False, opset: int | None = None) -> ModelProto:
        """Return the model; with `free`, its inputs have axes of undeclared size."""
        nodes = list(self.nodes()) if self.nodes is not None else [self._node()]
        values = self.values()
        inputs = [self._info(n, v, free) for n, v in values.items() if n[0] != "w"]
        weights = [numpy_helper.from_array(v, n) for n, v in values.items() if n[0] == "w"]
        outputs = [ValueInfoProto(name=f"y{i}") for i in range(self.outputs)]
        graph = helper.make_graph(nodes, "case", inputs, outputs, weights)
        sets = [helper.make_opsetid("", self.opset if opset is None else opset)]
        if self.domain:
            sets.append(helper.make_opsetid(self.domain, VERSIONS[self.domain]))
        ir = 9 if sets[0].version < 20 else 10
        model = helper.make_model(graph, opset_imports=sets, ir_version=ir)
        return _typed(onnx.shape_inference.infer_shapes(model), values)

    def convert(self, model: ModelProto, *, windows: bool = False, **options: Any) -> Converted:
        """Return the relevance graph of the case's model, bias explicit.

        Each ``x`` is a source; with `windows`, axis 1 of the first that has two entries there
        is cut into two sources.
        """
        found = {o.name: o.type.tensor_type.elem_type for o in model.graph.output}
        floats = [n for n, t in found.items() if t in FLOATS]
        explain = floats if self.explain is None else [f"y{i}" for i in self.explain]
        sources = {n: n for n in self.names if n.startswith("x")}
        if windows:
            cut = self.sliced()
            assert cut is not None
            del sources[cut]
            sources |= {"first": f"{cut}[:,0:1]", "others": f"{cut}[:,1:]"}
        given = {"explain": explain, "bias": "explicit", **self.options, **options}
        return rfponnx.convert(model, sources=sources, **given)

    def sliced(self) -> str | None:
        """Return the source that `convert` cuts into windows, if there is one."""
        wide = (
            n for n, v in self.values().items() if n[0] == "x" and v.ndim > 1 and v.shape[1] > 1
        )
        return next(wide, None)

    def _node(self) -> NodeProto:
        outputs = [f"y{i}" for i in range(self.outputs)]
        return helper.make_node(
            self.op, self.names, outputs, name="node", domain=self.domain, **self.attrs
        )

    def _info(self, name: str, value: Array, free: bool) -> ValueInfoProto:
        axes = range(value.ndim) if self.free is None else self.free
        shape = [
            f"{name}_{a}" if free and a in axes and d != 1 else d for a, d in enumerate(value.shape)
        ]
        dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
        return helper.make_tensor_value_info(name, dtype, shape)


def _typed(model: ModelProto, values: Mapping[str, Array]) -> ModelProto:
    """Return the model with a type for the outputs that onnx does not infer, as exporters do."""
    untyped = [o for o in model.graph.output if not o.type.tensor_type.HasField("shape")]
    if untyped:
        found = Float64(model).run(values, [o.name for o in untyped])
    for output in untyped:
        rank = found[output.name].ndim
        free = [f"{output.name}_{a}" for a in range(rank)]
        output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, free))
    return model


@cache
def converted(case: Case, free: bool, windows: bool, stacked: bool, kind: str) -> Converted:
    """Return a conversion of a case, made once."""
    layout = "stacked" if stacked else "separate"
    options = {"linearisation": kind} if kind else {}
    return case.convert(case.model(free=free), windows=windows, layout=layout, **options)


@cache
def in_float64(case: Case, free: bool, windows: bool, stacked: bool, kind: str) -> dict[str, Array]:
    """Return the outputs of a conversion in float64: ``y0``, ``y0_relevance``, ..."""
    return Float64(converted(case, free, windows, stacked, kind).model).run(case.feeds())


def relevances(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return each relevance by the name of its explained tensor."""
    return {n.removesuffix("_relevance"): v for n, v in outputs.items() if n.endswith("_relevance")}


def run_float32(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs of ONNX Runtime with graph optimisation off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def worst(a: Array, b: Array) -> float:
    """Return the largest difference relative to the largest entry."""
    assert a.shape == b.shape, f"{a.shape} against {b.shape}"
    if not a.size:
        return 0.0
    scale = max(float(np.abs(a).max()), float(np.abs(b).max()), 1e-30)
    return float(np.abs(a - b).max()) / scale


def nodes_of(*rows: tuple[Any, ...]) -> Callable[[], list[NodeProto]]:
    """Return the `nodes` of a case from rows ``(op, inputs, outputs, attributes)``.

    Inputs and outputs are names in one text, parted by spaces; ``-`` is an absent input.
    """

    def make() -> list[NodeProto]:
        found = []
        for index, (op, inputs, outputs, *attrs) in enumerate(rows):
            more = attrs[0] if attrs else {}
            name = f"{op}_{index}"
            read = ["" if i == "-" else i for i in inputs.split()]
            found.append(helper.make_node(op, read, outputs.split(), name=name, **more))
        return found

    return make


def variants(cases: Sequence[Case]) -> Iterator[tuple[Case, bool]]:
    """Yield every case with its sizes declared, and with free ones where it allows them."""
    for case in cases:
        if case.refuses:
            continue
        yield case, False
        if case.free is None or case.free:
            yield case, True
