"""What the page docs/meaning.md claims, on what lies in the repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def printed(root: Path, *words: str) -> list[float]:
    """Return the shares that the experiment prints, in order."""
    script = [sys.executable, str(root / "tools" / "meaning.py"), *words]
    run = subprocess.run(script, cwd=root, capture_output=True, text=True, check=True)
    column = r"share of radar (0\.\d+)|_ts +0\.\d+ +(0\.\d+)"
    return [float(a or b) for a, b in re.findall(column, run.stdout)]


def test_an_unreliable_half_gets_a_smaller_share(root: Path) -> None:
    nets = [f"fixtures/ms_{kind}_relu_ts.onnx" for kind in ("basic", "labelnoise")]
    basic, noisy = printed(root, "digits", *nets)
    assert noisy < basic - 0.1


def test_radar_counts_more_where_clouds_hide_the_optical_channels(
    root: Path, tmp_path: Path
) -> None:
    plot = tmp_path / "scenes.png"
    clear, clouded = printed(root, "scenes", "fixtures/seg_unet_ts.onnx", "--plot", str(plot))
    assert clouded > clear + 0.02
    assert plot.stat().st_size > 10_000
