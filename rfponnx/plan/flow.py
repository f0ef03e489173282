"""What the sources reach, and how each node on the way is linearised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rfponnx.errors import RfpError, Unsupported, guarded
from rfponnx.graph.graph import Graph, Node
from rfponnx.ops.op import At, Linearisation, Op, refused
from rfponnx.ops.rearrange import encoded
from rfponnx.ops.registry import Registry
from rfponnx.plan.options import Options


class Flow:
    """What the sources reach, and how each node on the way is linearised."""

    def __init__(self, graph: Graph, options: Options, starts: Mapping[str, bool]) -> None:
        self.graph, self.options, self.starts = graph, options, starts
        self.registry = Registry()
        self.carried: set[str] = set()
        self.found: dict[str, tuple[Node, Linearisation | RfpError]] = {}
        self.made: dict[str, Linearisation] = {}
        self._touched: set[int] = set()
        for tensor in starts:
            self._carry(tensor)
        for node in graph.nodes:
            if node.index in self._touched:
                for y in filter(graph.is_float, node.outputs):
                    self._visit(node, y)

    def _carry(self, tensor: str) -> None:
        self.carried.add(tensor)
        for node in self.graph.consumers(tensor):
            self._touched.add(node.index)
            if node.op == "QuantizeLinear":  # who reads its codes reads the tensor
                self._touched.update(n.index for n in self.graph.consumers(node.outputs[0]))

    def _visit(self, node: Node, y: str) -> None:
        try:
            made = self.linearise(node, y)
        except Unsupported as error:
            self.found[y] = (node, error)
            self._carry(y)
            return
        self.found[y] = (node, made)
        if y not in self.starts:  # a source begins there: no op may look behind it
            self.made[y] = made
        if any(term.x in self.carried for term in made.terms):
            self._carry(y)

    def linearise(self, node: Node, y: str) -> Linearisation:
        """Return the linearisation of one output of a node."""
        numbers = self.options.of_node(node.label)
        op = self.registry.find(node.domain, node.op, self.graph.opset)
        carried = self._bearing(node, op)
        if op is not None and not carried:
            return Linearisation()
        try:
            if op is None:
                raise refused(node, f"{_full_name(node)} has no linearisation")
            with guarded(f"node `{node.label}` ({node.op})"):
                return op.by(At(self.graph, node, y, carried, numbers, self.made))
        except Unsupported:
            if numbers.release in ("left", "right"):
                return Linearisation(note="released: all of it counts as bias")
            raise

    def _bearing(self, node: Node, op: Op | None) -> set[str]:
        """Return the float inputs that a source reaches and the op follows."""
        places = range(len(node.inputs)) if op is None or op.inputs is None else op.inputs
        names = [node.inputs[i] for i in places if i < len(node.inputs)]
        if node.op == "DequantizeLinear":
            names = [encoded(self.graph, name) for name in names]
        return {n for n in names if n in self.carried and self.graph.is_float(n)}

    def needed(self, targets: Sequence[str]) -> set[str]:
        """Return the carried tensors that the targets are computed from through terms."""
        found: set[str] = set()
        queue = list(targets)
        while queue:
            y = queue.pop()
            if y in found:
                continue
            found.add(y)
            if self.starts.get(y) or y not in self.found:
                continue  # all of it belongs to sources, or it is an input
            _, made = self.found[y]
            if isinstance(made, RfpError):
                raise made
            queue += [t.x for t in made.terms if t.x in self.carried]
        return found

    def order(self, needed: set[str]) -> list[tuple[Node, str, Linearisation]]:
        """Return the steps in the order of the file."""
        steps = []
        for y, (node, made) in self.found.items():
            live = y in self.carried and y in needed and not self.starts.get(y)
            if live and isinstance(made, Linearisation):
                steps.append((node, y, made))
        return steps


def downstream(graph: Graph, tensors: Iterable[str]) -> set[str]:
    """Return all that is computed from some tensors, integers included, and the tensors."""
    found, queue = set(tensors), list(tensors)
    while queue:
        for node in graph.consumers(queue.pop()):
            new = {o for o in node.outputs if o} - found
            found |= new
            queue += new
    return found


def _full_name(node: Node) -> str:
    return f"{node.domain}:{node.op}" if node.domain else node.op
