"""The pages say what is true: their code runs, their generated parts are fresh."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_tour_runs(root: Path) -> None:
    page = (root / "docs" / "tour.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) >= 4
    exec(compile("\n".join(blocks), "docs/tour.md", "exec"), {})


def test_links_lead_somewhere(root: Path) -> None:
    pages = [root / "README.md", *(root / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
