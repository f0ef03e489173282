"""Run the commands of docs/maps.md and put the pictures they make into docs/img.

    python tools/gallery.py [--publish]

The photographs and the ImageNet model lie in ../shared; without them this stops with a message.
With `--publish` nothing is run: what lies in build/maps is taken.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from rfponnx.runtime.canvas import DIVERGING

ROOT = Path(__file__).resolve().parent.parent
SHARED = "../shared/"
WIDTHS = (1700, 1400, 1200)  # pixels of a committed picture, the first that makes it small enough
LARGEST = 300_000  # bytes
SHADES = 65  # of a map; the middle one is the color of 0


def blocks() -> list[str]:
    """Return the commands of the page, block by block."""
    page = (ROOT / "docs" / "maps.md").read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)


def execute(block: str, folder: Path) -> None:
    """Run a block as it stands on the page, in a folder that stands for the repository.

    Raises
    ------
    CalledProcessError
        One of its commands fails.
    """
    (folder / "build" / "maps").mkdir(parents=True, exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = f"set -euo pipefail\n{block}"
    subprocess.run(["bash", "-c", script], cwd=folder, check=True, env={**os.environ, "PATH": path})


def publish() -> None:
    """Make the pictures smaller, and put them where the page looks for them."""
    for picture in sorted((ROOT / "build" / "maps").glob("*.png")):
        target = ROOT / "docs" / "img" / f"maps_{picture.stem}.png"
        with Image.open(picture) as opened:
            whole = opened.convert("RGB")
        for width in WIDTHS:
            size = (min(width, whole.width), whole.height * min(width, whole.width) // whole.width)
            image = whole if size == whole.size else whole.resize(size, Image.Resampling.LANCZOS)
            fewer(image).save(target, optimize=True)
            if target.stat().st_size <= LARGEST:
                break
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1000:.0f} kB")


def fewer(image: Image.Image) -> Image.Image:
    """Return a picture in 256 colors: white, the shades of the maps, and others."""
    shades = mpl.colormaps[DIVERGING](np.linspace(0, 1, SHADES))[:, :3]
    first = np.vstack([np.ones(3), shades]) * 255
    pixels = np.asarray(image).reshape(-1, 3)
    colors, which = np.unique(pixels, axis=0, return_inverse=True)
    far = distances(colors, first).min(axis=1) > 50
    others = Image.fromarray(pixels[far[which.ravel()]][np.newaxis]).quantize(255 - SHADES)
    rest = np.array(others.getpalette()).reshape(-1, 3)[: 255 - SHADES]
    palette = np.vstack([first.round(), rest]).astype(np.uint8)
    index = distances(colors, palette).argmin(axis=1).astype(np.uint8)[which.ravel()]
    found = Image.fromarray(index.reshape(image.height, image.width), "P")
    found.putpalette(palette.tobytes())
    return found


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared distances of colors [A, 3] and [B, 3] as [A, B]."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    found: np.ndarray = (a**2).sum(axis=1)[:, np.newaxis] - 2 * a @ b.T + (b**2).sum(axis=1)
    return found


def main() -> int:
    """Run the page."""
    if "--publish" in sys.argv[1:]:
        publish()
        return 0
    if not (ROOT / SHARED).is_dir():
        print(f"{SHARED} is missing: no photographs, no ImageNet model", file=sys.stderr)
        return 2
    for block in blocks():
        execute(block, ROOT)
    publish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
