"""Loop and Scan, whose bodies are evaluated by the same evaluator as the main graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun

from rfponnx.errors import Unsupported
from rfponnx.verify.kernels_conv import Array


class _Repeated(OpRun):
    """A node that runs its body many times."""

    body: Any

    def need_context(self) -> bool:
        """Say that the body may read names of the enclosing graph."""
        return True

    def step(self, context: Mapping[str, Any], values: Sequence[Any], attributes: Any) -> list[Any]:
        """Run the body once on its inputs in order."""
        feeds = {**context, **dict(zip(self.body.input_names, values, strict=False))}
        return list(self.body.run(None, feeds, attributes=attributes))

    def empty(self, output: int) -> Array:
        """Return what no iteration yields, in the declared type of a body output."""
        declared = self.body.output_types[output].tensor_type
        kind = onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type or onnx.TensorProto.DOUBLE)
        return np.empty((0, *(d.dim_value for d in declared.shape.dim)), kind)


class Loop(_Repeated):
    """Repeat the body on its carried values; collect the other outputs along a new first axis."""

    def _run(
        self,
        trips: Array | None,
        condition: Array | None = None,
        *carried: Any,
        context: Mapping[str, Any] | None = None,
        attributes: Any = None,
        **_: Any,
    ) -> tuple[Any, ...]:
        states, going = list(carried), True if condition is None else bool(condition)
        collected: list[list[Any]] = [[] for _ in self.body.output_names[1 + len(states) :]]
        limit = np.inf if trips is None else int(trips.reshape(()))
        turn = 0
        while going and turn < limit:
            values = [np.asarray(turn, np.int64), np.asarray(going), *states]
            found = self.step(context or {}, values, attributes)
            going, states = bool(found[0]), found[1 : 1 + len(states)]
            for items, item in zip(collected, found[1 + len(states) :], strict=True):
                items.append(item)
            turn += 1
        first = 1 + len(states)
        stacked = [
            np.stack(items) if items else self.empty(first + i) for i, items in enumerate(collected)
        ]
        return (*states, *stacked)


class Scan(_Repeated):
    """Run the body on every slice of the scanned inputs; stack its outputs."""

    num_scan_inputs: int

    def _run(
        self,
        *inputs: Any,
        context: Mapping[str, Any] | None = None,
        attributes: Any = None,
        **_: Any,
    ) -> tuple[Any, ...]:
        if self.run_params["opsets"][""] < 9:
            raise Unsupported("Scan of opset 8", hint="convert the model to opset 9 or later")
        split = len(inputs) - self.num_scan_inputs
        states, scanned = list(inputs[:split]), self._slices(inputs[split:])
        collected: list[list[Any]] = [[] for _ in self.body.output_names[split:]]
        for values in zip(*scanned, strict=True):
            found = self.step(context or {}, [*states, *values], attributes)
            states = found[:split]
            for items, item in zip(collected, found[split:], strict=True):
                items.append(item)
        return (*states, *(self._joined(i, items, split) for i, items in enumerate(collected)))

    def _choice(self, name: str, index: int) -> int:
        chosen = getattr(self, name, None) or ()
        return int(chosen[index]) if index < len(chosen) else 0

    def _slices(self, arrays: Sequence[Array]) -> list[Array]:
        moved = []
        for i, array in enumerate(arrays):
            first = np.moveaxis(array, self._choice("scan_input_axes", i), 0)
            moved.append(first[::-1] if self._choice("scan_input_directions", i) else first)
        return moved

    def _joined(self, index: int, items: list[Any], split: int) -> Array:
        if not items:
            return self.empty(split + index)
        if self._choice("scan_output_directions", index):
            items = items[::-1]
        return np.stack(items, axis=self._choice("scan_output_axes", index))
