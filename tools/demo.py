"""The demo: convert two trained networks, run them on real inputs, look at the sources, verify.

    python tools/demo.py [--out FOLDER]

Only commands of the program are run, and each is printed before it runs, so that it can be
repeated by hand.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DIGITS, SCENES = 8, 2


def relative(path: Path) -> str:
    """Return the path as a user in the repository would type it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def write_inputs(out: Path) -> None:
    """Write the inputs as .npy files, scaled as the networks expect them."""
    digits = np.load(ROOT / "fixtures" / "mnist_digits.npz")
    for half in ("left", "right"):
        np.save(out / f"{half}.npy", digits[half][:DIGITS].astype(np.float32) / 255)
    scenes = np.load(ROOT / "fixtures" / "scenes_clouded.npz")
    np.save(out / "scenes.npy", scenes["image"][:SCENES].astype(np.float32) / 170)
    print(f"{DIGITS} digits, of classes {digits['label'][:DIGITS].tolist()}; {SCENES} scenes")


def program(*words: str) -> None:
    """Print and run one command of the program; stop the demo if it fails."""
    print(f"\n$ rfponnx {shlex.join(words)}", flush=True)
    executable = Path(sys.executable).with_name("rfponnx")
    code = subprocess.run([str(executable), *words], cwd=ROOT, check=False).returncode
    if code != 0:
        sys.exit(code)


def show(model: str, out: Path, sources: list[str], inputs: dict[str, str]) -> None:
    """Convert one network, run it and verify it."""
    original, converted = f"fixtures/{model}.onnx", relative(out / f"{model}.rfp.onnx")
    split = [word for source in sources for word in ("--source", source)]
    program("convert", original, "-o", converted, *split, "--force")
    feeds = [f"{name}={relative(out / file)}" for name, file in inputs.items()]
    program("run", converted, *(word for feed in feeds for word in ("--input", feed)))
    program("verify", original, converted)


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "demo")
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    write_inputs(out)
    show("ms_basic_relu_ts", out, [], {"left": "left.npy", "right": "right.npy"})
    channels = ["optical=image[:,0:3]", "radar=image[:,3:4]"]
    show("seg_unet_ts", out, channels, {"image": "scenes.npy"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
