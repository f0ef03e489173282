"""Sums, matrix products, and other operators that are linear in what carries relevance."""

from __future__ import annotations

from itertools import product

from tests.ops.harness import Case, N, W, X

CASES = (
    *(
        Case(
            "Gemm",
            f"A{'T' * a} B{'T' * b}{', C scaled' if c else ''}",
            [X((3, 2) if a else (2, 3)), W((4, 3) if b else (3, 4)), *([W((4,))] if c else [])],
            {"transA": a, "transB": b, "alpha": 0.5, **({"beta": 2.0} if c else {})},
        )
        for a, b, c in product((0, 1), repeat=3)
    ),
    *(
        Case(
            "Gemm",
            f"A{'T' * a} constant, B{'T' * b}",
            [W((3, 2) if a else (2, 3)), X((4, 3) if b else (3, 4)), W((2, 1))],
            {"transA": a, "transB": b, "alpha": -1.5},
        )
        for a, b in product((0, 1), repeat=2)
    ),
    Case("Gemm", "C is a source too", [X((2, 3)), W((3, 4)), X((2, 1))], {"beta": 0.5}),
    Case("Gemm", "C is known at run time", [X((2, 3)), W((3, 4)), N((4,))]),
    Case("Gemm", "C counts nothing", [X((2, 3)), W((3, 4)), W((4,))], {"beta": 0.0}),
    Case("Gemm", "B is known at run time", [X((2, 3)), N((3, 4))]),
    Case("MatMul", "matrices", [X((2, 3)), W((3, 4))]),
    Case("MatMul", "a batch of rows", [X((2, 5, 3)), W((3, 4))]),
    Case("MatMul", "a batch of both", [X((2, 5, 3)), W((2, 3, 4))]),
    Case("MatMul", "a batch of the weights only", [X((5, 3)), W((2, 3, 4))]),
    Case("MatMul", "a batch that is broadcast", [X((1, 5, 3)), W((2, 3, 4))]),
    Case("MatMul", "batches that broadcast each other", [X((2, 1, 5, 3)), W((4, 3, 2))]),
    Case("MatMul", "the second carries", [W((4, 3)), X((3, 5))]),
    Case("MatMul", "the second carries, in a batch", [W((4, 3)), X((2, 3, 5))]),
    Case("MatMul", "the second carries, broadcast", [W((2, 4, 3)), X((1, 3, 5))]),
    Case("MatMul", "known at run time", [X((2, 5, 3)), N((2, 3, 4))]),
    Case("MatMul", "a vector of weights", [X((2, 5, 3)), W((3,))]),
    Case("MatMul", "a vector by a matrix", [X((3,)), W((3, 4))]),
    Case("MatMul", "a vector by matrices", [X((3,)), W((2, 3, 4))]),
    Case("MatMul", "matrices by a vector", [W((2, 4, 3)), X((3,))]),
    Case("MatMul", "a vector of weights in front", [W((3,)), X((2, 3, 4))]),
    Case("MatMul", "vectors", [X((3,)), W((3,))]),
    Case("Einsum", "a matrix product", [X((2, 3)), W((3, 4))], {"equation": "ij,jk->ik"}),
    Case("Einsum", "the second carries", [W((3, 4)), X((2, 3))], {"equation": "jk, ij -> ik"}),
    Case("Einsum", "heads", [X((2, 5, 3, 4)), N((2, 6, 3, 4))], {"equation": "bqhd,bkhd->bhqk"}),
    Case("Einsum", "an ellipsis", [X((2, 5, 3)), W((3, 4))], {"equation": "...c,cd->...d"}),
    Case(
        "Einsum",
        "an ellipsis in the other only",
        [X((3, 4)), W((2, 5, 3))],
        {"equation": "cd,...c->...d"},
    ),
    Case("Einsum", "no arrow", [X((2, 3)), W((3, 4))], {"equation": "zb,ba"}),
    Case("Einsum", "an ellipsis and no arrow", [X((2, 5, 3)), W((3, 4))], {"equation": "...b,ba"}),
    Case("Einsum", "a letter summed alone", [X((2, 3, 5)), W((3,))], {"equation": "ijk,j->i"}),
    Case("Einsum", "an outer product", [X((2,)), W((3,))], {"equation": "i,j->ij"}),
    Case("Einsum", "one operand, a sum", [X((2, 3))], {"equation": "ij->j"}),
    Case("Einsum", "one operand, turned", [X((2, 3))], {"equation": "ij->ji"}),
    Case(
        "Einsum", "three operands", [W((2, 3)), X((3, 4)), W((4, 5))], {"equation": "ij,jk,kl->il"}
    ),
    Case("Einsum", "a diagonal of the other", [X((2, 3)), W((3, 3))], {"equation": "ij,jj->ij"}),
    Case("Einsum", "to a scalar", [X((3,)), W((3,))], {"equation": "i,i->"}),
    Case("Einsum", "a diagonal", [X((3, 3))], {"equation": "ii->i"}, free=()),
    Case("Einsum", "diagonals of a batch", [X((2, 3, 3))], {"equation": "...ii->...i"}, free=(0,)),
    Case("Einsum", "traces", [X((2, 3, 3)), W((2, 4))], {"equation": "bii,bj->bj"}, free=(0,)),
    Case("Add", "two sources", [X((2, 3)), X((2, 3))]),
    Case("Add", "one source twice", [X((2, 3)), W((2, 3))], nodes=None),
    Case("Add", "a smaller one", [X((2, 3, 4)), X((3, 1))]),
    Case("Add", "each is the smaller one", [X((2, 1, 4)), X((3, 1))]),
    Case("Add", "known at run time", [X((2, 3)), N((3,))]),
    Case("Add", "a constant in front", [W((4, 1)), X((3,))]),
    Case("Sum", "three", [X((2, 3)), X((3,)), W((2, 1))]),
    Case("Sum", "one", [X((2, 3))]),
    Case("Sub", "two sources", [X((2, 3)), X((2, 3))]),
    Case("Sub", "from a constant", [W((2, 3, 4)), X((3, 1))]),
    Case("Mean", "three", [X((2, 3)), X((3,)), W((2, 1))]),
    Case("Neg", "of anything", [X((2, 3))]),
)
