"""Axes brought into order, and what is counted over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfponnx.runtime.summary import parts, probabilities, shares, view

Rng = np.random.Generator

#: Shape of the explained tensor, class axis, samples, positions.
LAYOUTS = (
    ((4, 3), 1, 4, ()),
    ((4, 3, 5, 6), 1, 4, (5, 6)),
    ((4, 5, 6, 3), 3, 4, (5, 6)),
    ((4, 7, 3), 2, 4, (7,)),
    ((4, 3, 1, 1), 1, 4, (1, 1)),
    ((3,), 0, 1, ()),
    ((3, 5, 6), 0, 1, (5, 6)),
    ((), 0, 1, ()),
)


@pytest.mark.parametrize(("shape", "axis", "samples", "positions"), LAYOUTS, ids=str)
def test_the_winner_and_its_streams(
    shape: tuple[int, ...], axis: int, samples: int, positions: tuple[int, ...], rng: Rng
) -> None:
    relevance = np.asarray(rng.standard_normal((3, *shape)))
    values = np.asarray(relevance.sum(axis=0))
    v = view(values, relevance, axis, predicted=False)
    assert v.positions == positions
    assert v.winner.shape == (samples, int(np.prod(positions)))
    assert v.streams.shape == (3, samples, int(np.prod(positions)))
    best = values.max(axis=axis) if shape else values
    np.testing.assert_allclose(v.streams.sum(axis=0).ravel(), np.ravel(best))
    assert v.maps.shape == (3, samples, *positions)
    if shape:
        index = np.expand_dims(values.argmax(axis=axis), axis)[np.newaxis]
        won = np.take_along_axis(relevance, index, axis=axis + 1)
        same = view(values, np.squeeze(won, axis + 1), axis, predicted=True)
        assert np.array_equal(same.streams, v.streams)


@pytest.mark.parametrize(("shape", "axis", "samples", "positions"), LAYOUTS, ids=str)
def test_the_parts_of_a_sample_cover_it(
    shape: tuple[int, ...], axis: int, samples: int, positions: tuple[int, ...], rng: Rng
) -> None:
    relevance = np.asarray(rng.standard_normal((3, *shape)))
    values = np.asarray(relevance.sum(axis=0))
    v = view(values, relevance, axis, predicted=False)
    found = parts(v, None)
    count = int(np.prod(positions))
    for n in range(samples):
        mine = [p for p in found if p.sample == n]
        assert sum(p.positions for p in mine) == count
        assert sum(p.fraction for p in mine) == pytest.approx(1)
        assert [p.positions for p in mine] == sorted((p.positions for p in mine), reverse=True)
        total = sum(p.value * p.positions for p in mine)
        assert total == pytest.approx(v.values.max(axis=1)[n].sum())
    for p in found:
        assert sum(p.contributions) == pytest.approx(p.value)
        assert sum(p.shares) == pytest.approx(1)
        assert p.probability is None


@given(st.lists(st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3), min_size=1, max_size=5))
def test_shares_are_fractions_of_one(rows: list[list[float]]) -> None:
    found = shares(np.array(rows, np.float32))
    total = found.sum(axis=0)
    assert ((found >= 0) & (found <= 1)).all()
    assert all(t == pytest.approx(1) or t == 0 for t in total)
    nothing = ~np.abs(np.array(rows, np.float32)).any(axis=0)
    assert np.array_equal(total == 0, nothing)


def test_the_first_maximum_wins() -> None:
    v = view(np.array([[1.0, 2.0, 2.0]]), np.zeros((1, 1, 3)), 1, predicted=False)
    assert v.winner.tolist() == [[1]]


def test_only_probabilities_are_called_so(rng: Rng) -> None:
    values = rng.standard_normal((4, 3))
    softmax = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    sigmoid = 1 / (1 + np.exp(-values))
    stored = np.round(softmax * 255) / 255
    for output, expected in (
        (softmax, softmax), (np.log(softmax), softmax), (sigmoid, sigmoid), (stored, stored),
    ):  # fmt: skip
        found = probabilities(output, values, 1)
        assert found is not None
        np.testing.assert_allclose(found[..., 0], expected)
    for other in (None, values, values + 0.01, softmax[:, :2], softmax.argmax(1), softmax / 2):
        assert probabilities(other, values, 1) is None
