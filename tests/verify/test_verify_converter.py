"""A converter that is wrong in the same way both times: only the laws can tell.

The op table is broken before the conversion and stays broken while `verify` converts afresh, so
the file agrees with the fresh conversion; completeness and derivatives have to notice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

import rfponnx
from rfponnx.emit import forward
from rfponnx.graph.builder import Builder
from rfponnx.maps.base import Value
from rfponnx.maps.expr import number
from rfponnx.ops.op import At, Linearisation, Op
from rfponnx.ops.registry import Registry
from rfponnx.plan.plan import Group, Plan
from rfponnx.verify.report import Check
from rfponnx.verify.verify import verify
from tests.verify import nets

SINGLE, DOUBLE = "completeness, float32", "completeness, float64"
DERIVATIVE = "streams are derivatives"

By = Callable[[At], Linearisation]


def without_offset(by: By) -> By:
    return lambda at: replace(by(at), offset=None)


def with_rest(by: By) -> By:
    """Half of every map; the offset takes what is missing, so that all still adds up."""

    def half(at: At) -> Linearisation:
        made = by(at)
        gain = at.gated(number(0.5), at.x).terms[0]
        same = at.graph.shape(at.x) == at.graph.shape(at.y)
        return replace(made, terms=(gain,) if same else made.terms, offset="rest")

    return half


def constant_gain(value: float) -> Callable[[By], By]:
    return lambda by: lambda at: replace(by(at), terms=at.gated(number(value)).terms, offset="rest")


def first_term_only(by: By) -> By:
    def one(at: At) -> Linearisation:
        made = by(at)
        return replace(made, terms=made.terms[:1])

    return one


def exchanged(by: By) -> By:
    """Two operands of the same shape change places."""

    def other(at: At) -> Linearisation:
        made = by(at)
        names = [t.x for t in made.terms][::-1]
        terms = tuple(replace(t, x=x) for t, x in zip(made.terms, names, strict=True))
        return replace(made, terms=terms, offset="rest")

    return other


# operator, how its row is broken, what notices, whether the node is named
BROKEN: tuple[tuple[str, Callable[[By], By], tuple[str, ...], bool], ...] = (
    ("Conv", without_offset, (SINGLE, DOUBLE), True),
    ("Gemm", without_offset, (SINGLE, DOUBLE), True),
    ("BatchNormalization", without_offset, (SINGLE, DOUBLE), True),
    ("BatchNormalization", with_rest, (DERIVATIVE,), False),
    ("Add", first_term_only, (SINGLE, DOUBLE), True),
    ("Relu", constant_gain(1.0), (DERIVATIVE,), False),
    ("Relu", constant_gain(0.5), (DERIVATIVE,), False),
    ("Relu", constant_gain(1.001), (DERIVATIVE,), False),
    ("Sub", exchanged, (DERIVATIVE,), False),
)
NET = (
    """
net (float[N, 4, 8, 8] image, float[N, 3] other) => (float[N, 3] y) {
  a = Conv<pads = [1, 1, 1, 1]>(image, wa, ba)
  n = BatchNormalization(a, scale, shift, mean, variance)
  r = Relu(n)
  s = Add(a, r)
  d = Sub(s, n)
  pooled = GlobalAveragePool(d)
  flat = Flatten(pooled)
  scores = Gemm(flat, wc, bc)
  y = Add(scores, other)
}
""",
    {
        "wa": (5, 4, 3, 3), "ba": (5,), "scale": (5,), "shift": (5,), "mean": (5,),
        "variance": (5,), "wc": (5, 3), "bc": (3,),
    },
)  # fmt: skip
SOURCES = {"optical": "image[:,0:3]", "radar": "image[:,3]", "other": "other"}


def checks(model: onnx.ModelProto, **options: Any) -> dict[str, Check]:
    report = verify(model, rfponnx.convert(model, **options))
    return {c.name: c for c in report.checks}


@pytest.mark.parametrize(("op", "how", "notices", "named"), BROKEN)
def test_a_wrong_row_of_the_op_table_is_noticed(
    op: str, how: Callable[[By], By], notices: tuple[str, ...], named: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    find = Registry.find

    def wrong(self: Registry, domain: str, name: str, opset: int) -> Op | None:
        row = find(self, domain, name, opset)
        return replace(row, by=how(row.by)) if row is not None and name == op else row

    assert all(c.passed for c in checks(nets.net(NET), sources=SOURCES).values())
    monkeypatch.setattr(Registry, "find", wrong)
    found = checks(nets.net(NET), sources=SOURCES)
    failed = {name for name, check in found.items() if not check.passed}
    assert failed >= set(notices), found
    if named:
        assert all(f"({op})" in found[name].note for name in (SINGLE, DOUBLE)), found


def test_sources_that_take_other_entries_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The streams start with one another's entries: complete, but of the wrong source."""
    start = forward.start_of

    def turned(b: Builder, plan: Plan, group: Group, tensor: str) -> Value:
        turn = {0: 1, 1: 0}
        members = tuple(turn.get(m, m) for m in group.members)
        return start(b, plan, replace(group, members=members), tensor)

    monkeypatch.setattr(forward, "start_of", turned)
    sources = {"a": "x[:,0:3]", "b": "x[:,3:]"}
    found = checks(nets.net(nets.DENSE), sources=sources)
    assert not found[DERIVATIVE].passed
    assert found[DOUBLE].passed


def test_a_kink_in_every_entry_is_not_judged_and_said() -> None:
    """At x = 0 the derivative of Relu does not exist: neither pass nor fail would be honest."""
    text = "net (float[N, 3] x) => (float[N, 3] y) { s = Sub(x, x0)\n y = Relu(s) }"
    model = nets.net((text, {"x0": (3,)}))
    x0 = onnx.numpy_helper.to_array(model.graph.initializer[0])
    converted = rfponnx.convert(model)
    report = verify(model, converted, inputs={"x": np.broadcast_to(x0, (2, 3)).copy()})
    check = next(c for c in report.checks if c.name == DERIVATIVE)
    assert report.passed
    assert (check.value, check.bound) == ("not judged", "reported")
