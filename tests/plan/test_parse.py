"""How sources are written: ``NAME=PIECE[+PIECE...]``, and read back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfponnx.errors import OptionError
from rfponnx.graph.graph import Graph
from rfponnx.plan.spec import Piece, Slice, Source, parse
from tests.plan.small import graph_of, summed

ALL = (None, None, None)
NAMES = (
    "x", "x:0", "scope/x.1", "x.1", "a+b", "a", "b", "a[0]", "v w", "x@mask2", "it's", "'q'",
    'say "hi"', "k=v", "[", "@", "1", "(u, v)", "ü",
)  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of(summed(NAMES))


def cut(start: int | None = None, stop: int | None = None, step: int | None = None) -> Slice:
    return (start, stop, step)


#: What is written, and the pieces that it means.
SPECS: tuple[tuple[str, tuple[Piece, ...]], ...] = (
    ("x", (Piece("x"),)),
    ("x:0", (Piece("x:0"),)),
    ("scope/x.1", (Piece("scope/x.1"),)),
    ("x.1", (Piece("x.1"),)),
    ("x[:,0:4]", (Piece("x", (ALL, cut(0, 4))),)),
    ("x:0[:,0:4]", (Piece("x:0", (ALL, cut(0, 4))),)),
    ("x[ : , 0 : 4 ]", (Piece("x", (ALL, cut(0, 4))),)),
    ("x[:, 2]", (Piece("x", (ALL, cut(2, 3))),)),
    ("x[:,-1]", (Piece("x", (ALL, cut(-1, None))),)),
    ("x[:,-2]", (Piece("x", (ALL, cut(-2, -1))),)),
    ("x[:,-3:]", (Piece("x", (ALL, cut(-3, None))),)),
    ("x[:,:-3]", (Piece("x", (ALL, cut(None, -3))),)),
    ("x[:,::2]", (Piece("x", (ALL, cut(None, None, 2))),)),
    ("x[:,4:0:-2]", (Piece("x", (ALL, cut(4, 0, -2))),)),
    ("x[:,1:,:3]", (Piece("x", (ALL, cut(1), cut(None, 3))),)),
    ("x[0]", (Piece("x", (cut(0, 1),)),)),
    ("x[:,0]+x[:,2]", (Piece("x", (ALL, cut(0, 1))), Piece("x", (ALL, cut(2, 3))))),
    ("x+x:0", (Piece("x"), Piece("x:0"))),
    ("x + x:0 [:,1]", (Piece("x"), Piece("x:0", (ALL, cut(1, 2))))),
    ("a+b", (Piece("a+b"),)),  # the longest name that there is
    ("a + b", (Piece("a"), Piece("b"))),
    ("'a'+b", (Piece("a"), Piece("b"))),
    ("a+b+a", (Piece("a+b"), Piece("a"))),
    ("a[0]", (Piece("a[0]"),)),
    ("a[0][:,1]", (Piece("a[0]", (ALL, cut(1, 2))),)),
    ("'a'[0]", (Piece("a", (cut(0, 1),)),)),
    ("a[1]", (Piece("a", (cut(1, 2),)),)),
    ("v w[:,1]", (Piece("v w", (ALL, cut(1, 2))),)),
    ('"v w"[:,1]', (Piece("v w", (ALL, cut(1, 2))),)),
    ("x@mask", (Piece("x", masked=True),)),
    ("x@mask2", (Piece("x@mask2"),)),
    ("x@mask2@mask", (Piece("x@mask2", masked=True),)),
    ("x@mask+b[:,1]", (Piece("x", masked=True), Piece("b", (ALL, cut(1, 2))))),
    ("it's", (Piece("it's"),)),
    ('"it\'s"', (Piece("it's"),)),
    ("'q'", (Piece("'q'"),)),
    ("\"'q'\"[0]", (Piece("'q'", (cut(0, 1),)),)),
    ("k=v", (Piece("k=v"),)),
    ("[[0]", (Piece("[", (cut(0, 1),)),)),
    ("@", (Piece("@"),)),
    ("1", (Piece("1"),)),
    ("(u, v)[0]", (Piece("(u, v)", (cut(0, 1),)),)),
    ("ü", (Piece("ü"),)),
)


@pytest.mark.parametrize(("text", "pieces"), SPECS)
def test_a_source_is_what_is_written(text: str, pieces: tuple[Piece, ...], graph: Graph) -> None:
    assert parse(f"name={text}", graph) == Source("name", pieces)


@pytest.mark.parametrize("name", ["s", " s ", "s/1", "a b", "x", "ü", "s,t", "0"])
def test_any_text_without_an_equals_sign_is_a_name(name: str, graph: Graph) -> None:
    assert parse(f"{name}=x", graph).name == name.strip()


#: What is written, and what the error says.
WRONG: tuple[tuple[str, str], ...] = (
    ("x", "`x` is not NAME=TENSOR"),
    ("=x", "`=x` is not NAME=TENSOR"),
    ("s=", "`s=` is not NAME=TENSOR"),
    ("s= ", "is not NAME=TENSOR"),
    ("s=scope/x.2", "no tensor `scope/x.2` in model; did you mean `scope/x.1`?"),
    ("s=scope/x.2[:,0]", "no tensor `scope/x.2` in model"),
    ("s=imgae", "no tensor `imgae` in model; inputs are: x, x:0"),
    ("s='imgae'", "no tensor `imgae` in model"),
    ("s='x", "no tensor `x` in model"),
    ("s=x[", r"a `\[` is not closed"),
    ("s=x[:,0", r"a `\[` is not closed"),
    ("s=x[]", re.escape("`[]` is not a list of slices; write [:,0:10]")),
    ("s=x[:,]", "is not a list of slices"),
    ("s=x[:,a]", "is not a list of slices"),
    ("s=x[:,1.5]", "is not a list of slices"),
    ("s=x[::::]", "is not a list of slices"),
    ("s=x[...,0]", "is not a list of slices"),
    ("s=x+", r"nothing stands behind the last \+"),
    ("s=x[:,0]+", r"nothing stands behind the last \+"),
    ("s=x++b", "no tensor"),
    ("s=x[:,0]b", r"`b` is left over; join pieces with \+"),
    ("s=x[:,0][:,1]", r"left over"),
    ("s=x@mask[:,1]", r"left over"),
    ("s=x@mas", "no tensor|left over"),
)


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_what_cannot_be_read_says_why_and_where(text: str, says: str, graph: Graph) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        parse(text, graph)
    assert caught.value.where.startswith("--source")
    assert "\n" not in str(caught.value)


numbers = st.none() | st.integers(-9, 9)
slices = st.lists(
    st.tuples(numbers, numbers, st.none() | st.sampled_from([-2, -1, 1, 2])), max_size=3
)
pieces = st.builds(Piece, st.sampled_from(NAMES), slices.map(tuple)) | st.builds(
    Piece, st.sampled_from(NAMES), masked=st.just(True)
)


@given(st.lists(pieces, min_size=1, max_size=4))
def test_a_source_prints_as_it_is_written(graph: Graph, several: list[Piece]) -> None:
    source = Source("s", tuple(several))
    assert parse(str(source), graph) == source
