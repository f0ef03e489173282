"""The pages say what is true: their code runs, their generated parts are fresh."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.demo import write_inputs


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


def test_the_commands_of_the_readme_run(root: Path, tmp_path: Path) -> None:
    page = (root / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    commands = [c for c in "\n".join(blocks).splitlines() if "fixtures/" in c]
    assert len(commands) >= 2
    shutil.copytree(root / "fixtures", tmp_path / "fixtures")
    (tmp_path / "build" / "demo").mkdir(parents=True)
    write_inputs(tmp_path / "build" / "demo")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        words = shlex.split(command)
        subprocess.run(words, cwd=tmp_path, check=True, env={**os.environ, "PATH": path})
    assert (tmp_path / "scenes.png").stat().st_size > 10_000


def test_the_python_of_the_readme_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (root / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    scenes = np.load(root / "fixtures" / "scenes_clouded.npz")["image"].astype(np.float32) / 170
    monkeypatch.chdir(root)
    seen = {"scenes": scenes}
    exec(compile(block, "README.md", "exec"), seen)
    results = seen["results"]
    total = results["logits_relevance"].sum(axis=0)
    np.testing.assert_allclose(total, results["logits"], atol=1e-4)
