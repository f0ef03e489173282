"""What an op declares, and the vocabulary it declares it in.

An op is a function from a node (`At`) to the affine identity ``y = sum_k A_k x_k + o`` at the
primal's values: a `Linearisation`.  Both directions, both layouts, the bias and the checks
follow from it, so an op is a few lines that say what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from rfponnx.errors import Unsupported
from rfponnx.graph.graph import Graph, Node
from rfponnx.maps.base import Identity, Map
from rfponnx.maps.expr import Expr, tensor
from rfponnx.maps.gain import Gain, spread

Kind = Literal["weighted", "ratio", "taylor"]
Release = Literal["auto", "left", "right", "split", "none"]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a user can set for the linearisation of one node.

    Attributes
    ----------
    kind
        How a smooth function is linearised (METHODS 2).
    release
        Which factor of a product is a constant (METHODS 3).
    eps
        Below this ``|z|`` the `ratio` gain is 0.
    shift
        The constant c of ``(rho(z) + c) / z`` under `ratio`.
    """

    kind: Kind = "weighted"
    release: Release = "auto"
    eps: float = 1e-6
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Term:
    """One summand ``A x``: the tensor x that carries relevance, and the map A."""

    x: str
    map: Map


@dataclass(frozen=True, slots=True)
class Linearisation:
    """``y = sum of terms + o`` at the primal's values.

    A float tensor that no source reaches may be a term too: all of it counts as bias.

    Attributes
    ----------
    terms
        The summands; none means that y does not follow its inputs (A = 0).
    offset
        ``None``: there is none.  An expression: o itself, broadcast to y.  ``"rest"``: y minus
        the terms, whatever that is (the accuracy of a gain then never shows in completeness).
    affine
        Whether o is a constant of an affine node, which `--bias split` divides among sources.
    joint
        Whether the terms are the parts of a concatenation.
    tangent
        Whether every A is the derivative of y by x at this point, with what is released held
        constant.  False for the secant of a smooth function.
    frozen
        Whether something inside the node is released (a variance, half of a product), so that
        y is not the node's own function of its terms, only ``y + A (x' - x)`` is.
    through
        Tensors between the terms and y that are recomputed when x moves (a written-out SiLU).
    note
        What was decided, for the report ("released `gate`").
    leak
        A second offset: what a denominator is kept from zero with, y = terms + o + leak.
    """

    terms: tuple[Term, ...] = ()
    offset: Expr | Literal["rest"] | None = None
    affine: bool = False
    joint: bool = False
    tangent: bool = True
    frozen: bool = False
    through: tuple[str, ...] = ()
    note: str = ""
    leak: Expr | None = None


class At:
    """One output of a node, as an op sees it: names, attributes, shapes, constants, settings.

    `made` holds the linearisations of the carried tensors before it, for functions that an
    exporter wrote out in several nodes.
    """

    def __init__(
        self,
        graph: Graph,
        node: Node,
        y: str,
        carried: frozenset[str] | set[str],
        numbers: Numbers,
        made: Mapping[str, Linearisation] = MappingProxyType({}),
    ) -> None:
        self.graph, self.node, self.y, self.numbers = graph, node, y, numbers
        self._carried, self.made = carried, made

    @property
    def x(self) -> str:
        """The first input."""
        return self.node.inputs[0]

    @property
    def which(self) -> int:
        """Which output of the node this is."""
        return self.node.outputs.index(self.y)

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default`."""
        return self.node.attr(name, default)

    def input(self, index: int) -> str:
        """Return an input's name; empty where it is absent."""
        return self.node.inputs[index] if index < len(self.node.inputs) else ""

    def carries(self, name: str) -> bool:
        """Tell whether a source reaches this tensor."""
        return name in self._carried

    @property
    def full(self) -> bool:
        """Whether every A has to be the whole derivative: `taylor`, and nothing is released."""
        return self.numbers.kind == "taylor" and self.numbers.release == "none"

    @property
    def carriers(self) -> tuple[str, ...]:
        """The float inputs that a source reaches, in order, each once."""
        return tuple(dict.fromkeys(i for i in self.node.inputs if self.carries(i)))

    def rank(self, name: str) -> int:
        """Return the rank of a tensor."""
        rank = self.graph.rank(name)
        if rank is None:
            raise self.refuse(f"the rank of `{name}` is not known")
        return rank

    def shape(self, name: str) -> tuple[int | str | None, ...]:
        """Return the shape of a tensor whose rank is known."""
        self.rank(name)
        return self.graph.shape(name) or ()

    def axes(self, given: Sequence[int] | None, name: str) -> tuple[int, ...]:
        """Return axes as non-negative numbers; all of them for ``None``."""
        rank = self.rank(name)
        axes = range(rank) if given is None else given
        return tuple(sorted(int(a) % rank for a in axes)) if rank else ()

    def axis(self, default: int, of: str) -> int:
        """Return the attribute `axis` as a non-negative number."""
        return int(self.attr("axis", default)) % max(self.rank(of), 1)

    def constant(self, name: str, what: str) -> np.ndarray[Any, Any]:
        """Return the value of an input that has to be known when converting."""
        value = self.graph.constant(name) if name else None
        if value is None:
            raise self.refuse(f"its {what} `{name}` is computed at run time")
        return value

    def list_input(self, index: int, attribute: str) -> tuple[int, ...] | None:
        """Return integers given as an attribute in old opsets and as an input in newer ones."""
        if self.input(index):
            return tuple(int(v) for v in self.constant(self.input(index), attribute).ravel())
        given = self.attr(attribute)
        return None if given is None else tuple(int(v) for v in given)

    def refuse(self, why: str) -> Unsupported:
        """Return the error that names this node."""
        return refused(self.node, f"{self.node.op}: {why}")

    # ---- the four ways to declare -------------------------------------------------------

    def linear(self, a: Map, x: str | None = None, **more: Any) -> Linearisation:
        """``y = A x``, with what else a `Linearisation` takes."""
        return Linearisation((Term(self.x if x is None else x, a),), **more)

    def gated(self, gain: Expr, x: str | None = None, **more: Any) -> Linearisation:
        """``y = g x + o`` entry by entry; o is the rest unless given."""
        more.setdefault("offset", "rest")
        name = self.x if x is None else x
        return Linearisation((Term(name, Gain(gain, name, self.y)),), **more)

    def added(self, *names: str, **more: Any) -> Linearisation:
        """``y`` = the sum of operands, each broadcast to y."""
        counted = [Term(n, spread(self.graph, n, self.y)) for n in names]
        return Linearisation(tuple(counted), **more)

    def with_operands(self, made: Linearisation, by: Mapping[int, Map]) -> Linearisation:
        """Add the terms of scales, bounds and the like, or say that they are released.

        Parameters
        ----------
        by
            Their maps, by the place of the input; an input that carries nothing is left out.
        """
        carried = {self.input(i): form for i, form in by.items() if self.carries(self.input(i))}
        if not carried:
            return made
        if self.full:
            terms = (*made.terms, *(Term(name, form) for name, form in carried.items()))
            note = "nothing is released"
            return replace(made, terms=terms, offset="rest", affine=False, note=note)
        names = f"released {' and '.join(f'`{name}`' for name in carried)}"
        return replace(made, note=", ".join(filter(None, (made.note, names))))

    @property
    def vx(self) -> Expr:
        """The first input, as an expression."""
        return tensor(self.x)

    @property
    def vy(self) -> Expr:
        """The output, as an expression."""
        return tensor(self.y)


def refused(node: Node, why: str) -> Unsupported:
    """Return the error for a node that has no linearisation, with the way around it."""
    hint = f"--release '{node.label}=left' counts its result as bias"
    return Unsupported(why, f"node `{node.label}`", hint)


def passed(at: At) -> Linearisation:
    """``y = x``."""
    return at.linear(Identity())


def stopped(at: At) -> Linearisation:
    """A = 0: y is piecewise constant in its inputs, all of it is bias."""
    return Linearisation(note="piecewise constant: all of it counts as bias")


@dataclass(frozen=True, slots=True)
class Op:
    """A row of the op table.

    Attributes
    ----------
    name
        The ONNX operator.
    group
        The class of METHODS 3 that it belongs to.
    by
        Its linearisation.
    equation
        What it is, in a line of mathematics.
    since
        The first opset for which this row holds; it holds until the next row of this name.
    domain
        The operator set; empty for ``ai.onnx``.
    inputs
        Which inputs may carry relevance; ``None`` for all float ones.
    """

    name: str
    group: str
    by: Callable[[At], Linearisation]
    equation: str
    since: int = 1
    domain: str = ""
    inputs: tuple[int, ...] | None = field(default=None)


def ops(
    group: str, by: Callable[[At], Linearisation], equation: str, *names: str
) -> tuple[Op, ...]:
    """Return rows for operators that share one linearisation."""
    return tuple(Op(name, group, by, equation) for name in names)
