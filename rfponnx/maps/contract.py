"""Maps that multiply by a matrix or a tensor: Gemm, MatMul, Einsum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters

from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Map, Value, Window, batched
from rfponnx.maps.expr import Expr, call, ints


@dataclass(frozen=True, slots=True)
class Gemm(Map):
    """``y = alpha x W`` on a matrix x, spelled as the Gemm that the primal has."""

    weight: Expr
    trans_b: bool
    alpha: float
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        return batched(b, r, self.y, lambda v: self._gemm(b, v, self.trans_b), self.x)

    def pull(self, b: Builder, m: Value) -> Value:
        return batched(b, m, self.x, lambda v: self._gemm(b, v, not self.trans_b), self.y)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        if window.axis != 1:
            return None
        part = rows(self.weight, window, 1 if self.trans_b else 0)
        return Gemm(part, self.trans_b, self.alpha, self.x, self.y), None

    def _gemm(self, b: Builder, v: str, trans: bool) -> str:
        w = self.weight.emit(b, b.dtype(self.x))
        alpha = self.alpha if self.alpha != 1 else None
        return b.op("Gemm", v, w, transB=int(trans) or None, alpha=alpha)


@dataclass(frozen=True, slots=True)
class MatMul(Map):
    """``y = x W`` (or ``W x`` with `left`) over the last two axes; x and W have rank >= 2."""

    weight: Expr
    left: bool
    rank: int  # of W
    last: int  # axis of x
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        return self._product(b, r, self.weight.emit(b, b.dtype(self.x)), self.x)

    def pull(self, b: Builder, m: Value) -> Value:
        w = self.weight.emit(b, b.dtype(self.x))
        perm = [*range(self.rank - 2), self.rank - 1, self.rank - 2]
        product = self._product(b, m, b.op("Transpose", w, perm=perm), self.y)
        return self._gathered(b, product)

    def narrowed(self, window: Window) -> tuple[Map, Window | None] | None:
        if self.left or self.rank != 2 or window.axis != self.last:
            return None
        return MatMul(rows(self.weight, window, 0), False, 2, self.last, self.x, self.y), None

    def _gathered(self, b: Builder, product: Value) -> Value:
        """Sum what broadcast over the batch axes back; the last two axes never broadcast."""
        shape_x, shape_y = b.graph.shape(self.x) or (), b.graph.shape(self.y) or ()
        extra = len(shape_y) - len(shape_x)
        pairs = enumerate(shape_y[:-2])
        axes = [i for i, d in pairs if i < extra or (shape_x[i - extra] == 1 and d != 1)]
        if not axes:
            return product
        lead = int(product.stack)
        name = b.reduce("ReduceSum", product.name, [a + lead for a in axes])
        gone = b.ints([lead + i for i in range(extra)])
        return Value(b.op("Squeeze", name, gone) if extra else name, product.stack)

    def _product(self, b: Builder, v: Value, w: str, of: str) -> Value:
        rank = len(b.graph.shape(of) or ())
        name = v.name
        if v.stack and self.rank > rank:
            name = b.op("Unsqueeze", name, b.ints(range(1, 1 + self.rank - rank)))
        pair = (w, name) if self.left else (name, w)
        return Value(b.op("MatMul", *pair), v.stack)


@dataclass(frozen=True, slots=True)
class Einsum(Map):
    """A sum of products of the entries of x and of other tensors, as an equation says it.

    Attributes
    ----------
    operands
        The letters of every factor, no ellipsis; those of x, at `place`, are all different.
    result
        The letters of y.
    others
        The factors without x, in order.
    """

    operands: tuple[str, ...]
    result: str
    place: int
    others: tuple[Expr, ...]
    x: str
    y: str

    def push(self, b: Builder, r: Value) -> Value:
        s = self._fresh() if r.stack else ""
        return Value(self._sum(b, r.name, s + self.operands[self.place], s + self.result), r.stack)

    def pull(self, b: Builder, m: Value) -> Value:
        s, mine = self._fresh() if m.stack else "", self.operands[self.place]
        known = set(self.result).union(*self._letters())
        alone = [i for i, letter in enumerate(mine) if letter not in known]
        extra = [(mine[i], self._ones(b, i)) for i in alone]
        name = self._sum(b, m.name, s + self.result, s + mine, extra)
        axes = [i + int(m.stack) for i in self._broadcast(b)]
        return Value(b.reduce("ReduceSum", name, axes) if axes else name, m.stack)

    def _letters(self) -> list[str]:
        return [t for i, t in enumerate(self.operands) if i != self.place]

    def _sum(
        self, b: Builder, v: str, letters: str, result: str, extra: Sequence[tuple[str, str]] = ()
    ) -> str:
        """Return the product with the given factor in the place of x, and some more factors."""
        dtype = b.dtype(self.x)
        names = [e.emit(b, dtype) for e in self.others]
        left = self._letters()
        names.insert(self.place, v)
        left.insert(self.place, letters)
        equation = ",".join([*left, *(e for e, _ in extra)]) + "->" + result
        return b.op("Einsum", *names, *(n for _, n in extra), equation=equation)

    def _broadcast(self, b: Builder) -> list[int]:
        """Return the axes of x of length 1 that are longer in y."""
        shape_x, shape_y = b.graph.shape(self.x) or (), b.graph.shape(self.y) or ()
        mine = enumerate(self.operands[self.place])
        shared = [(i, self.result.index(letter)) for i, letter in mine if letter in self.result]
        return [i for i, j in shared if shape_x[i] == 1 and shape_y[j] != 1]

    def _ones(self, b: Builder, axis: int) -> str:
        return b.op("Expand", b.floats(1.0, b.dtype(self.x)), b.dim(self.x, axis))

    def _fresh(self) -> str:
        used = set("".join(self.operands))
        return next(letter for letter in ascii_letters if letter not in used)


def rows(weight: Expr, window: Window, axis: int) -> Expr:
    """Return the part of a matrix that multiplies the stored part of x."""
    return call("Slice", weight, ints([window.start]), ints([window.stop]), ints([axis]))
