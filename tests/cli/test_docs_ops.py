"""docs/ops.md is what `rfponnx ops --markdown` prints today."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Call


def test_the_page_of_operators_is_fresh(root: Path, call: Call) -> None:
    page = (root / "docs" / "ops.md").read_text(encoding="utf-8")
    assert page == call("ops", "--markdown").out, "stale: run `make docs`"
