"""Rules, flavors and policies in all company: what is handed down is what was given."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from rfponnx.rules.composite import COMPOSITES
from rfponnx.rules.convention import FLAVORS
from rfponnx.rules.convention import WORDS as FIELDS
from rfponnx.verify.float64 import Float64
from tests.backward.nets import BLOCKS, GATES, PIXELS, TOKENS
from tests.backward.seeds import imbalance
from tests.emit.nets import Net, run

EXACT, SINGLE = 1e-10, 1e-4
NETS = (BLOCKS, PIXELS, GATES, TOKENS)
AXES: dict[str, tuple[Any, ...]] = {
    "flavor": tuple(FLAVORS),
    "residual": FIELDS["residual"],
    "identity_skips": FIELDS["identity_skips"],
    "batchnorm": FIELDS["batchnorm"],
    "maxpool": FIELDS["maxpool"],
    "seed_value": ("logit", "one", "probability"),
    "target": ("argmax", "1", "-1", "0-2", "top2", "1@predicted", "2,0-1"),
    "eps": (None, 0, 0.125),  # float32 holds it, as it holds 1e-6 to a millionth of that
}
SET = ("identity_skips", "batchnorm", "maxpool")


def asked(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the table as words of `convert`."""
    numbers = {key: row[key] for key in SET}
    if row["eps"] is not None:
        numbers |= {"eps": row["eps"], "stabiliser": row["eps"]}
    given = {k: v for k, v in row.items() if k not in (*SET, "eps")}
    return {"method": "lrp", "account": "explicit", "set": numbers, **given}


def pairs(row: dict[str, Any]) -> set[frozenset[tuple[str, Any]]]:
    """Return all pairs of choices of a row."""
    return {frozenset(pair) for pair in combinations(row.items(), 2)}


def rows() -> Iterator[Any]:
    """Yield every net under every composite; the other choices bring new pairs."""
    rng, seen = np.random.default_rng(0), set()
    for net, name in product(NETS, COMPOSITES):
        drawn = [{k: v[rng.integers(len(v))] for k, v in AXES.items()} for _ in range(30)]
        row = max(drawn, key=lambda r: len(pairs(r) - seen))
        seen |= pairs(row)
        row |= {"composite": name}
        yield pytest.param(net, row, id=f"{net}-" + "-".join(str(v) for v in row.values()))


ROWS = tuple(rows())


def test_every_pair_of_choices_is_among_the_rows() -> None:
    seen = set().union(*(pairs(p.values[1]) for p in ROWS))
    for one, two in combinations(AXES, 2):
        for a, b in product(AXES[one], AXES[two]):
            assert frozenset([(one, a), (two, b)]) in seen


@pytest.mark.parametrize(("net", "row"), ROWS)
def test_nothing_is_lost(net: Net, row: dict[str, Any]) -> None:
    made, feeds = net.convert(**asked(row)), net.feeds()
    assert imbalance(made, Float64(made.model).run(feeds), feeds) <= EXACT
    assert imbalance(made, run(made.model, feeds), feeds) <= SINGLE


MULTIPLY = ("epsilon", "z_plus", "gamma", "alpha5_beta4", "lrp_cmp", "epsilon_plus")


@pytest.mark.parametrize("name", MULTIPLY)
@pytest.mark.parametrize("net", NETS, ids=str)
def test_both_directions_give_each_source_the_same(net: Net, name: str) -> None:
    """The sums of the maps over a source's entries are the streams of the same rules."""
    policy = {"residual": "ratio", "composite": name}
    forward = net.convert(method="rfp", **policy)
    feeds = net.feeds()
    streams = Float64(forward.model).run(feeds)["y_relevance"]  # [S+1, N, C, ...]
    classes = streams.shape[2]
    text = ",".join(str(i) for i in range(classes))
    backward = net.convert(method="lrp", readout="sources", target=text, **policy)
    assert not backward.plan.relevance
    sums = Float64(backward.model).run(feeds)["source_relevance"]  # [T, S+1, N]
    summed = streams.reshape(*streams.shape[:3], -1).sum(-1)  # of all positions
    wanted = np.moveaxis(summed, 2, 0)
    assert np.abs(wanted).max() > 0
    assert np.abs(sums - wanted).max() <= EXACT * np.abs(streams).sum(0).max()


CHAIN = {"blocks": "r3", "segments": "j", "gates": "silu", "attends": "h"}


@pytest.mark.parametrize("name", ["epsilon", "z_plus", "flat", "w_square", "epsilon_gamma_box"])
@pytest.mark.parametrize("net", NETS, ids=str)
def test_a_tap_is_where_the_rest_of_the_walk_can_start(net: Net, name: str) -> None:
    """All relevance passes there, so that the walk from it gives the same maps."""
    tap, feeds = CHAIN[net.name], net.feeds()
    whole = net.convert(method="lrp", composite=name, tap=tap, account="explicit")
    out = Float64(whole.model).run(feeds)
    given = out[f"{tap}_relevance"]
    below = net.convert(method="lrp", composite=name, seed_at=tap, account="explicit")
    rest = Float64(below.model).run({**feeds, "seed": given})
    for source in (n for n in out if n.endswith("_relevance") and n.split("_")[0] in feeds):
        scale = np.abs(given).max()
        assert np.abs(out[source] - rest[source]).max() <= 1e-9 * scale
    lost = sum(out[f"{k}_relevance"] - rest[f"{k}_relevance"] for k in ("bias", "leak"))
    above = given.reshape(len(given), -1).sum(1) + lost
    one = net.convert(method="lrp", composite=name, account="rest")
    assert imbalance_of(one.model, feeds, above) <= EXACT


def imbalance_of(model: Any, feeds: Any, total: np.ndarray[Any, Any]) -> float:
    """Return how far the maps and the rest are from a total per sample."""
    out = Float64(model).run(feeds)
    found = sum(
        v.reshape(len(v), -1).sum(1) for n, v in out.items()
        if n.endswith("_relevance") and n != "leak_relevance"
    )  # fmt: skip
    scale = sum(np.abs(v).sum() for n, v in out.items() if n.endswith("_relevance"))
    return float(np.abs(found - total).max() / scale)


@pytest.mark.parametrize("name", ["epsilon", "z_plus", "flat", "w_square", "z_box"])
def test_an_input_that_is_no_source_counts_as_bias(name: str) -> None:
    feeds, given = PIXELS.feeds(), {"method": "lrp", "composite": name, "account": "explicit"}
    both = Float64(PIXELS.convert(**given).model).run(feeds)
    made = PIXELS.convert(sources=["z=z"], **given)
    one = Float64(made.model).run(feeds)
    assert "x_relevance" not in one
    assert np.array_equal(one["z_relevance"], both["z_relevance"])
    wanted = both["bias_relevance"] + both["x_relevance"].reshape(2, -1).sum(1)
    scale = np.abs(both["x_relevance"]).sum()
    assert scale > 0
    assert np.abs(one["bias_relevance"] - wanted).max() <= EXACT * scale
    assert imbalance(made, one, feeds) <= EXACT
