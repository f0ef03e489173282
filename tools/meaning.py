"""Do the numbers mean something? Two experiments whose outcome is known beforehand.

    python tools/meaning.py digits MODEL... [--count N] [--plot PNG]
    python tools/meaning.py scenes MODEL [--plot PNG]

`digits`: networks that read the left and the right half of a digit.  One was trained on clean
halves; the others on data that makes the left half less reliable.  Its share of the relevance
has to fall.

`scenes`: a segmenter with three optical channels and one radar channel.  Clouds hide the digits
from the optical channels only.  Radar's share at digit pixels has to rise under clouds.

A share is |r^s| / (sum over sources |r^s|) for the predicted class, averaged over digits or
pixels; bias is left out.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import rfponnx

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CHANNELS = {"optical": "image[:,0:3]", "radar": "image[:,3:4]"}
CLEAR, CLOUDED = 25, 230  # cloud opacity, of 255

Array = np.ndarray[Any, Any]


def halves(count: int) -> tuple[dict[str, Array], Array]:
    """Return the halves of test digits and their labels: all of them, or the fixture's."""
    folder = SHARED / "mnist"
    if not folder.exists():
        data = np.load(ROOT / "fixtures" / "mnist_digits.npz")
        found = {k: data[k][:count].astype(np.float32) / 255 for k in ("left", "right")}
        return found, data["label"][:count]
    images = _idx(folder / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:count] / 255
    labels = _idx(folder / "t10k-labels-idx1-ubyte.gz", 8)[:count]
    left, right = np.split(images.astype(np.float32), 2, axis=3)
    return {"left": left, "right": right}, labels


def shuffled(left: Array) -> Array:
    """Return left halves with the pixels permuted as one of the networks was trained on."""
    order = np.load(SHARED / "mnist" / "shuffle_permutation.npy")
    return left.reshape(len(left), -1)[:, order].reshape(left.shape)


def predicted(model: Path, sources: Mapping[str, str] | None, feeds: Mapping[str, Array]) -> Any:
    """Return the relevance of every source to the predicted class, and the prediction."""
    converted = rfponnx.convert(model, sources=sources)
    session = rfponnx.Session(converted.model)
    results = session.run(dict(feeds))
    (name,) = (n for n in results if n.endswith("_relevance"))
    scores = results[name.removesuffix("_relevance")]
    winner = scores.argmax(axis=1)
    index = np.broadcast_to(winner[None, :, None], (len(results[name]), *winner[:, None].shape))
    rows = np.take_along_axis(results[name], index, axis=2)[:, :, 0]
    return rows[:-1], winner  # the last row is bias


def shares(rows: Array) -> Array:
    """Return |r^s| / sum over s of |r^s|."""
    size = np.abs(rows)
    share: Array = size / np.maximum(size.sum(axis=0), np.finfo(np.float32).tiny)
    return share


def digits(models: list[Path], count: int, plot: Path | None) -> None:
    """Print, and draw, the share of the left half for every network."""
    feeds, labels = halves(count)
    table = []
    for model in models:
        seen = dict(feeds)
        if "shuffle" in model.stem:
            seen["left"] = shuffled(feeds["left"])
        rows, winner = predicted(model, None, seen)
        share = shares(rows)[0]
        half = 1.96 * share.std() / np.sqrt(len(share))
        table.append((model.stem, float((winner == labels).mean()), share.mean(), half))
    print(
        f"{'network':24s} {'accuracy':>8s} {'share of left':>14s} {'95 %':>8s}   n = {len(labels)}"
    )
    for name, accuracy, mean, half in table:
        print(f"{name:24s} {accuracy:8.3f} {mean:14.3f} {half:8.3f}")
    if plot is not None:
        _bars([t[0] for t in table], [t[2] for t in table], [t[3] for t in table], plot)


def scenes(model: Path, plot: Path | None) -> None:
    """Print, and draw, the share of radar at digit pixels under clear sky and under clouds."""
    full = SHARED / "segmentation" / "scenes_test.npz"
    data = np.load(full if full.exists() else ROOT / "fixtures" / "scenes_clouded.npz")
    image = data["image"].astype(np.float32) / 170
    rows, winner = predicted(model, CHANNELS, {"image": image})
    radar = shares(rows)[1]
    digit = (data["label"] > 0) & (winner == data["label"])
    for name, where in (
        ("clear", data["cloud"] < CLEAR),
        ("under cloud", data["cloud"] > CLOUDED),
    ):
        chosen = radar[digit & where]
        print(f"{name:12s} share of radar {chosen.mean():.3f}   n = {chosen.size} pixels")
    if plot is not None:
        hidden = (digit & (data["cloud"] > CLOUDED)).sum(axis=(1, 2))
        most = np.argsort(-hidden)[:4]  # the scenes with most digit under cloud
        _maps(image[most], data["cloud"][most], winner[most], radar[most], plot)


def _bars(names: list[str], means: list[float], halves_: list[float], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 0.5 * len(names) + 1.2), layout="constrained")
    axes.barh(names[::-1], means[::-1], xerr=halves_[::-1], color="#4477aa")
    axes.axvline(0.5, color="0.6", linewidth=1)
    axes.set(xlim=(0, 1), xlabel="share of the left half in the predicted class")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _maps(image: Array, cloud: Array, winner: Array, radar: Array, path: Path) -> None:
    import matplotlib.pyplot as plt

    titles = ("optical", "radar", "cloud", "prediction", "share of radar at digits")
    figure, grid = plt.subplots(4, 5, figsize=(9, 7.4), layout="constrained")
    for row, axes in enumerate(grid):
        optical = np.clip(image[row, :3].transpose(1, 2, 0), 0, 1)
        shown = np.ma.masked_where(winner[row] == 0, radar[row])
        axes[0].imshow(optical)
        axes[1].imshow(image[row, 3], cmap="gray")
        axes[2].imshow(cloud[row], cmap="gray", vmin=0, vmax=255)
        axes[3].imshow(winner[row], cmap="tab10", vmin=0, vmax=9)
        drawn = axes[4].imshow(shown, cmap="viridis", vmin=0, vmax=1)
        for one, title in zip(axes, titles, strict=True):
            one.set_axis_off()
            if row == 0:
                one.set_title(title, fontsize=9)
    figure.colorbar(drawn, ax=grid[:, 4], shrink=0.5)
    figure.savefig(path, dpi=120)


def _idx(path: Path, header: int) -> Array:
    return np.frombuffer(gzip.decompress(path.read_bytes())[header:], np.uint8)


def main() -> int:
    """Run one of the experiments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("experiment", choices=("digits", "scenes"))
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    if given.experiment == "digits":
        digits(given.models, given.count, given.plot)
    else:
        scenes(given.models[0], given.plot)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
