"""docs/ops.md is what `rfponnx ops --markdown` prints today; the other tables hold all records."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from rfponnx.plan.method import METHODS
from rfponnx.rules.composite import ALIASES, COMPOSITES
from rfponnx.rules.convention import FLAVORS, Convention
from rfponnx.rules.rule import RULES
from rfponnx_cli.tables import KINDS, meanings
from tests.cli.conftest import Call


def test_the_page_of_operators_is_fresh(root: Path, call: Call) -> None:
    page = (root / "docs" / "ops.md").read_text(encoding="utf-8")
    assert page == call("ops", "--markdown").out, "stale: run `make docs`"


@pytest.mark.parametrize(
    ("kind", "names"),
    [("methods", METHODS), ("rules", RULES), ("composites", COMPOSITES), ("flavors", FLAVORS)],
)
def test_a_table_holds_all_records(kind: str, names: dict[str, object], call: Call) -> None:
    assert kind in KINDS
    done = call("ops", f"--{kind}")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    listed = [line.split()[0] for line in done.out.splitlines() if line[:1].strip()]
    shown = [n for n in names if kind != "composites" or n not in RULES]
    assert listed[1:] == shown
    records = call("ops", f"--{kind}", "--json").json[kind]
    assert [record["name"] for record in records] == list(names)
    page = call("ops", f"--{kind}", "--markdown").out
    assert all(f"| {name} |" in page for name in shown)


def test_methods_say_their_keys(call: Call) -> None:
    records = {r["name"]: r for r in call("ops", "--methods", "--json").json["methods"]}
    assert records["integrated_gradients"]["keys"] == {
        "steps": 50, "quadrature": "gauss_legendre", "reference": 0.0,
    }  # fmt: skip
    assert records["lrp"]["conserves"]
    assert not records["gradient"]["conserves"]
    page = call("ops", "--methods", "--markdown").out
    assert "steps=50, quadrature=gauss_legendre, reference=0 |" in page
    assert "| patterns=FILE, mask=relu |" in page


def test_rules_say_what_they_hand_out(call: Call) -> None:
    """The table of METHODS 4, with the conventions of zennit."""
    records = {r["name"]: r for r in call("ops", "--rules", "--json").json["rules"]}
    assert [list(g.values()) for g in records["alpha_beta"]["groups"]] == [
        ["alpha", "w+ x+ + w- x-", "sum c + b+"],
        ["-beta", "w- x+ + w+ x-", "sum c + b-"],
    ]
    (box,) = records["z_box"]["groups"]
    assert box["contribution"] == "w+ (x - low) + w- (x - high)"
    assert list(records["gamma"]["groups"][0].values()) == [
        "1 where z > 0", "(w + g w+) x+ + (w + g w-) x-", "sum c + b + g b+",
    ]  # fmt: skip
    eps = {name: record["stabilised_by"] for name, record in records.items()}
    assert (eps["epsilon"], eps["lrp_0"], eps["z_plus"]) == ("eps", "", "stabiliser")
    assert not records["w_square"]["multiplies"]


def test_other_names_are_listed(call: Call) -> None:
    records = call("ops", "--composites", "--json").json["composites"]
    assert {alias: r["name"] for r in records for alias in r["aliases"]} == dict(ALIASES)


def test_every_field_of_a_flavor_is_explained() -> None:
    named = [name for names, _ in meanings().rows for name in names.split(", ")]
    assert named == [f.name for f in fields(Convention)]
