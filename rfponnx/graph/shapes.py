"""Shape, type and constant facts about the tensors of a model.

`onnx.shape_inference` knows every operator but stops at arithmetic on sizes.  So the graph
is walked once more with samples: every free dimension takes eight sizes, each node is
inferred or folded at all eight, and what comes out equal eight times is known.  Two
dimensions that come out equal eight times get the same symbol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, shape_inference

from rfponnx.graph.fold import FOLDS, as_tensor, fold
from rfponnx.graph.skeleton import read_dims, skeleton
from rfponnx.graph.symbols import (
    SAMPLES,
    Array,
    Sizes,
    Symbols,
    Values,
    agreed,
    decides,
    everywhere,
    is_uniform,
)
from rfponnx.graph.tensor import decoded, read_tensor
from rfponnx.graph.walk import subgraphs

Shape = tuple[int | str | None, ...]

#: (operator, output, 1 for all later ones) -> input of the same type and shape.
_LIKE = {
    ("BatchNormalization", 1): 1,
    ("GroupNormalization", 0): 0,
    ("MeanVarianceNormalization", 0): 0,
    ("Scaler", 0): 0,
    ("Normalizer", 0): 0,
}
#: (operator of ai.onnx.ml, output) -> the attributes that say how many scores a row has.
_SCORES = {
    ("LinearRegressor", 0): ("targets",),
    ("LinearClassifier", 1): ("classlabels_ints", "classlabels_strings"),
}
#: Inference propagates the data of vectors entry by entry: hours for a long one (a sound).
LONG = 1 << 16
_COMPARE = frozenset(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the tensors of the main graph.

    Parameters
    ----------
    dtypes
        Element type (`onnx.TensorProto` number) by tensor.
    shapes
        Per axis: a size, a symbol (equal symbols mean equal sizes) or None.
    values
        Node outputs that no input can change, as far as shape arithmetic goes.
    """

    dtypes: Mapping[str, int]
    shapes: Mapping[str, Shape]
    values: Mapping[str, Array]


def infer(proto: ModelProto, folder: Path | None) -> Facts:
    """Return what can be known of every tensor without running the model.

    Sizes are taken to be at least 1.

    Parameters
    ----------
    proto
        A sorted model; it is not changed, large weights are not read.
    folder
        Where external data lies.
    """
    walk = _Walk(_inferred(skeleton(proto, folder)), _ranks(proto))
    walk.run()
    return walk.facts()


class _Walk:
    """One pass over the nodes, with sizes and values at every sample.

    What nothing can be inferred of has the rank that the file declares.
    """

    def __init__(self, model: ModelProto, ranks: Mapping[str, int]) -> None:
        self.ranks = ranks
        self.nodes = model.graph.node
        self.opsets = {("" if o.domain == "ai.onnx" else o.domain): o for o in model.opset_import}
        self.given = _given(model)
        names = {d for _, shape in self.given.values() for d in shape or () if isinstance(d, str)}
        self.symbols = Symbols(names)
        self.dtypes: dict[str, int] = {}
        self.sizes: dict[str, tuple[Sizes, ...]] = {}
        self.values: dict[str, Values] = {}
        for value in model.graph.input:
            self._accept(value.name, None)
        for tensor in model.graph.initializer:
            self._store(tensor.name, everywhere(read_tensor(tensor, None)), tensor.data_type)
        self.stored = frozenset(self.values)

    def run(self) -> None:
        """Visit every node in order."""
        for node in self.nodes:
            values = self._folded(node)
            if values is not None:
                for name, held in zip(node.output, values, strict=False):
                    self._store(name, held, self.given.get(name, (0, None))[0])
                continue
            types = self._sampled(node)
            for name in filter(None, node.output):
                self._accept(name, [t.get(name) for t in types] if types else None)
            self._copied(node)

    def facts(self) -> Facts:
        """Return what the walk found, without the samples."""
        read = self.symbols.read
        shapes = {name: tuple(map(read, axes)) for name, axes in self.sizes.items()}
        values = {
            name: value
            for name, held in self.values.items()
            if name not in self.stored and (value := agreed(held)) is not None
        }
        return Facts(dict(self.dtypes), shapes, values)

    def _store(self, name: str, values: Values, dtype: int) -> None:
        """Record the values of a tensor; its sizes follow."""
        if not name:
            return
        rank = {value.ndim for value in values if value is not None}
        first = next(value for value in values if value is not None)
        self.dtypes[name] = dtype or helper.np_dtype_to_tensor_dtype(first.dtype)
        if len(rank) != 1:
            return
        kind = helper.tensor_dtype_to_np_dtype(self.dtypes[name])
        if first.dtype != kind:  # numpy promotes where ONNX does not
            values = tuple(None if v is None else v.astype(kind) for v in values)
        self.values[name] = values
        self.sizes[name] = tuple(
            tuple(None if value is None else value.shape[axis] for value in values)
            for axis in range(first.ndim)
        )

    def _accept(self, name: str, types: Sequence[TypeProto | None] | None) -> None:
        """Record type and sizes of a tensor: what inference declares, sharpened by samples."""
        dtype, shape = self.given.get(name, (0, None))
        known = [t.tensor_type for t in types or () if t is not None and t.HasField("tensor_type")]
        dtype = dtype or next((t.elem_type for t in known), 0)
        if dtype:
            self.dtypes[name] = dtype
        ranks = {len(t.shape.dim) for t in known if t.HasField("shape")}
        if shape is None and len(ranks) == 1:
            shape = (None,) * ranks.pop()
        if shape is None and name in self.ranks:
            shape = (None,) * self.ranks[name]
        if shape is None:
            return
        sampled = types or ()
        self.sizes[name] = tuple(self._axis(d, i, len(shape), sampled) for i, d in enumerate(shape))

    def _axis(
        self, declared: int | str | None, axis: int, rank: int, types: Sequence[TypeProto | None]
    ) -> Sizes:
        if isinstance(declared, int):
            return (declared,) * SAMPLES
        sizes = tuple(_size(t, axis, rank) for t in types)
        if sizes and self.symbols.read(sizes) is not None:
            return sizes
        return self.symbols.at(declared) if declared else self.symbols.fresh()

    def _folded(self, node: NodeProto) -> list[Values] | None:
        """Return the values of the outputs at every sample, None if one is unknown."""
        if node.domain not in ("", "ai.onnx") or not node.output:
            return None
        if node.op_type in ("Shape", "Size"):
            return self._measured(node)
        if node.op_type not in FOLDS or any(n and n not in self.values for n in node.input):
            return None
        attrs = {a.name: decoded(a) for a in node.attribute}
        held = [self.values[name] if name else (None,) * SAMPLES for name in node.input]
        once = all(is_uniform(values) for values in held)
        rows: list[list[Array] | None] = []
        for k in range(1 if once else SAMPLES):
            inputs = [values[k] for values in held]
            holes = any(v is None and n for v, n in zip(inputs, node.input, strict=True))
            result = None if holes else fold(node.op_type, inputs, attrs, len(node.output))
            if result is None and not holes:
                return None
            rows.append(result)
        rows = rows * SAMPLES if once else rows
        outputs = [
            tuple(None if row is None else row[slot] for row in rows)
            for slot in range(len(node.output))
        ]
        if node.op_type in _COMPARE and agreed(outputs[0]) is not None and not decides(*held):
            return None
        return outputs if all(any(v is not None for v in o) for o in outputs) else None

    def _measured(self, node: NodeProto) -> list[Values] | None:
        axes = self.sizes.get(node.input[0])
        if axes is None:
            return None
        attrs = {a.name: decoded(a) for a in node.attribute}
        rows: list[Array | None] = []
        for k in range(SAMPLES):
            dims = [sizes[k] for sizes in axes]
            if None in dims:
                rows.append(None)
            elif node.op_type == "Size":
                rows.append(np.array(np.prod(np.array(dims, np.int64))))
            else:
                rows.append(np.array(dims, np.int64)[attrs.get("start", 0) : attrs.get("end")])
        if all(row is None for row in rows):
            return None
        same = agreed(tuple(rows))
        whole = same is not None and all(row is not None for row in rows)
        return [everywhere(same) if same is not None and whole else tuple(rows)]

    def _sampled(self, node: NodeProto) -> list[dict[str, TypeProto]] | None:
        """Return the types of the outputs at every sample where plain inference fell short."""
        if all(_is_static(self.given.get(name, (0, None))) for name in node.output if name):
            return None
        if any(True for _ in subgraphs(node)):
            return None
        domain = "" if node.domain == "ai.onnx" else node.domain
        opset = self.opsets.get(domain)
        if opset is None or not onnx.defs.has(node.op_type, opset.version, domain):
            return None
        if any(name and name not in self.dtypes for name in node.input):
            return None
        schema = onnx.defs.get_schema(node.op_type, opset.version, domain)
        inputs = [name for name in dict.fromkeys(node.input) if name]
        axes = [sizes for name in inputs for sizes in self.sizes.get(name, ())]
        once = all(min(s, key=_hole) == max(s, key=_hole) for s in axes) and all(
            is_uniform(self.values[name]) for name in inputs if name in self.values
        )
        found = [self._types_at(k, node, schema, inputs) for k in range(1 if once else SAMPLES)]
        return found * SAMPLES if once else found

    def _types_at(
        self, k: int, node: NodeProto, schema: onnx.defs.OpSchema, inputs: Sequence[str]
    ) -> dict[str, TypeProto]:
        types: dict[str, TypeProto] = {}
        data: dict[str, Any] = {}
        for name in inputs:
            axes = self.sizes.get(name)
            dims = None if axes is None else [sizes[k] for sizes in axes]
            if dims is not None and None in dims:
                return {}
            types[name] = helper.make_tensor_type_proto(self.dtypes[name], dims)
            value = self.values[name][k] if name in self.values else None
            if value is not None:
                data[name] = as_tensor(value, name)
        try:
            return shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=list(self.opsets.values())
            )
        except Exception:  # the C++ side raises whatever it likes; the model does not run here
            return {}

    def _copied(self, node: NodeProto) -> None:
        """Fill what inference leaves out although it is the same as an input's."""
        for slot, name in enumerate(node.output):
            source = _LIKE.get((node.op_type, min(slot, 1)))
            if source is None or not name:
                continue
            like = node.input[source]
            if name not in self.dtypes and like in self.dtypes:
                self.dtypes[name] = self.dtypes[like]
            inferred = self.given.get(name, (0, None))[1]  # a declared rank is no more than a hint
            if inferred is None and like in self.sizes:
                self.sizes[name] = self.sizes[like]
        for slot, name in enumerate(node.output):
            said = _SCORES.get((node.op_type, slot))
            if said is not None and node.input[0] in self.sizes:
                given = [a for a in node.attribute if a.name in said]
                count = max([max(a.i, len(a.ints), len(a.strings)) for a in given], default=1)
                self.dtypes.setdefault(name, TensorProto.FLOAT)
                rows = self.sizes[node.input[0]][0]
                self.sizes.setdefault(name, (rows, tuple(count for _ in rows)))


def _hole(size: int | None) -> int:
    return -1 if size is None else size


def _size(found: TypeProto | None, axis: int, rank: int) -> int | None:
    """Return one inferred dimension; None if there is none with which a model could run."""
    if found is None or len(found.tensor_type.shape.dim) != rank:
        return None
    dim = found.tensor_type.shape.dim[axis]
    return dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None


def _is_static(given: tuple[int, Shape | None]) -> bool:
    dtype, shape = given
    return bool(dtype) and shape is not None and all(isinstance(d, int) for d in shape)


def _given(model: ModelProto) -> dict[str, tuple[int, Shape | None]]:
    """Return type and shape by tensor as the model declares them."""
    found: dict[str, tuple[int, Shape | None]] = {}
    for value in (*model.graph.output, *model.graph.value_info, *model.graph.input):
        if value.type.HasField("tensor_type"):
            tensor = value.type.tensor_type
            shape = read_dims(tensor)
            found[value.name] = (tensor.elem_type, shape)
    return found


def _ranks(proto: ModelProto) -> dict[str, int]:
    """Return the declared ranks of what nodes make; declared sizes are often wrong."""
    declared = (*proto.graph.value_info, *proto.graph.output)
    types = {v.name: v.type.tensor_type for v in declared if v.type.HasField("tensor_type")}
    return {name: len(t.shape.dim) for name, t in types.items() if t.HasField("shape")}


def _inferred(light: ModelProto) -> ModelProto:
    """Return the model with all that ONNX's own inference finds."""
    found = light
    for data_prop in (False, True):
        if data_prop and _longest_vector(found) > LONG:
            break
        try:
            found = shape_inference.infer_shapes(light, data_prop=data_prop)
        except Exception:  # the C++ side raises whatever it likes; the walk goes on without
            continue
    return found


def _longest_vector(model: ModelProto) -> int:
    """Return the size of the longest tensor of one axis."""
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    shapes = (value.type.tensor_type.shape.dim for value in values)
    return max((dims[0].dim_value for dims in shapes if len(dims) == 1), default=0)
