"""Other tools on the same networks: PyTorch, Zennit and Captum beside ONNX Runtime.

    python -m benchmarks.peers [--only BLOCK] [--rounds N] [--json FILE]

Opt-in: needs torch, zennit and captum, which nothing else here does.  Every line of the table is
a process of its own that times one tool, its own plain forward next to it: the pool of OpenMP
threads that torch uses collapses where other work shares the cores (ONNX Runtime's does not), so
run it on a quiet machine.  No bound; exit 1 if a block breaks, or explains another network.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from benchmarks import backward
from benchmarks.measure import THREADS, Timing, alternate, random_feeds, resident, session

ROOT = Path(__file__).resolve().parent.parent
LIKE = 1e-3
"""Largest difference of the logits that counts as the same network, relative to the largest."""

#: What each tool offers of the methods of `benchmarks.backward`.
TOOLS: Mapping[str, tuple[str, ...]] = {
    "rfponnx": tuple(backward.BOUNDS),
    "torch": ("gradient",),
    "zennit": ("epsilon", "epsilon_plus", "epsilon_gamma_box", "epsilon_alpha2_beta1"),
    "captum": ("epsilon",),
}
NEEDED = ("torch", "zennit", "captum")

Array = npt.NDArray[Any]
Call = Callable[[], Array]


@dataclass(frozen=True, slots=True)
class Block:
    """One line of the table.

    Parameters
    ----------
    method
        A key of `benchmarks.backward.BOUNDS`.
    """

    network: str
    method: str
    tool: str

    @property
    def name(self) -> str:
        """Network, method and tool."""
        return f"{self.network}-{self.method}-{self.tool}"


BLOCKS = tuple(
    Block(network, method, tool)
    for network in backward.NETWORKS
    for method in backward.BOUNDS
    for tool, methods in TOOLS.items()
    if method in methods
)


@dataclass(frozen=True, slots=True)
class Line:
    """What one block measured.

    Parameters
    ----------
    forward, explain
        Of the tool: plain inference, and inference with its explanation.
    peak
        Resident megabytes at most while both run, over those of the bare tool.
    cosine
        Between the relevance of the tool and that of rfponnx.
    """

    block: Block
    forward: Timing
    explain: Timing
    peak: float
    cosine: float


def peak() -> float:
    """Return the largest resident megabytes of this process since `forget_peak` (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def forget_peak() -> None:
    """Let the present resident memory be the largest: what loading took for a while is gone."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def files(block: Block, folder: Path) -> tuple[Path, Path]:
    """Return the plain and the converted file of a block."""
    return folder / f"{block.network}.onnx", folder / f"{block.network}-{block.method}.onnx"


def of_files(block: Block, folder: Path, x: Array) -> tuple[Call, Call]:
    """Return inference and explanation by the files in ONNX Runtime."""
    plain, converted = (session(path) for path in files(block, folder))
    return (
        lambda: np.asarray(plain.run(None, {"input": x})[0]),
        lambda: np.asarray(converted.run(["input_relevance"], {"input": x})[0]),
    )


def of_torch(block: Block, folder: Path, x: Array) -> tuple[Call, Call]:
    """Return inference in torch and explanation by one of its tools."""
    torch, peers = import_module("torch"), import_module("benchmarks.peers_torch")
    torch.set_num_threads(THREADS)
    model, data = onnx.load(files(block, folder)[0]), torch.from_numpy(x)
    explain = peers.explainer(block.tool, block.method, model, data)
    net = peers.Twin(model).eval()

    def forward() -> Array:
        with torch.no_grad():
            return np.asarray(net(data))

    return forward, lambda: np.asarray(explain().detach())


def measure(block: Block, folder: Path, rounds: int) -> Line:
    """Measure one block in this process, then compare it with the files."""
    mine = block.tool == "rfponnx"
    import_module("onnxruntime" if mine else block.tool)  # its own size is not the network's
    x = np.load(folder / f"{block.network}.npy")
    before = resident()
    forward, explain = (of_files if mine else of_torch)(block, folder, x)
    forget_peak()
    times = alternate([("forward", forward), ("explain", explain)], rounds)
    grown = max(0.0, peak() - before)  # what was freed before is used again
    logits, relevance = (call() for call in of_files(block, folder, x))
    if np.abs(logits - forward()).max() > LIKE * np.abs(logits).max():
        raise ValueError(f"{block.tool} computes something else")
    a, b = (v.ravel().astype(np.float64) for v in (relevance, explain()))
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    return Line(block, times["forward"], times["explain"], grown, cosine)


def written(network: str, blocks: list[Block], folder: Path) -> None:
    """Write a network, its input, and what the blocks need converted."""
    plain = folder / f"{network}.onnx"
    onnx.save(backward.NETWORKS[network](), plain)
    np.save(folder / f"{network}.npy", random_feeds(session(plain), 1)["input"])
    for method in {b.method for b in blocks}:
        case = next(c for c in backward.CASES if (c.network, c.method) == (network, method))
        backward.convert(case, plain, folder / f"{network}-{method}.onnx")


def lines(chosen: list[Block], rounds: int) -> Iterator[tuple[Block, dict[str, Any] | str]]:
    """Yield what each block measured, in a process of its own, or why it broke."""
    for network in backward.NETWORKS:
        blocks = [b for b in chosen if b.network == network]
        if not blocks:
            continue
        with tempfile.TemporaryDirectory() as folder:
            written(network, blocks, Path(folder))
            for block in blocks:
                command = [sys.executable, "-m", "benchmarks.peers", "--block", block.name]
                out = subprocess.run(
                    [*command, "--folder", folder, "--rounds", str(rounds)],
                    check=False, capture_output=True, text=True, cwd=ROOT,
                )  # fmt: skip
                if out.returncode:
                    yield block, (out.stderr.strip().splitlines() or ["no message"])[-1]
                else:
                    yield block, json.loads(out.stdout.splitlines()[-1])


def head() -> str:
    """Return the heading of the table (80 columns)."""
    return (
        f"{'':<37}{'CPU ms':>12}{'':>6}{'wall ms':>12}\n"
        f"{'block':<37}{'plain':>6}{'with':>6}{'ratio':>6}{'with':>6}{'ratio':>6}"
        f"{'MB':>6}{'cosine':>7}"
    )


def row(line: Mapping[str, Any]) -> str:
    """Return one line of the table; ratios are multiples of the tool's own forward."""
    forward, explain = line["forward"], line["explain"]
    cpu, wall = (explain[clock] / forward[clock] for clock in ("cpu", "wall"))
    name = Block(**line["block"]).name
    return (
        f"{name:<37}{1e3 * forward['cpu']:>6.0f}{1e3 * explain['cpu']:>6.0f}{cpu:>6.1f}"
        f"{1e3 * explain['wall']:>6.0f}{wall:>6.1f}{line['peak']:>6.0f}{line['cosine']:>7.3f}"
    )


def main(arguments: list[str]) -> int:
    """Measure the chosen blocks and print the table."""
    described = str(__doc__).splitlines()[0]
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=described)
    parser.add_argument("--only", metavar="BLOCK", help="blocks whose name contains this")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--block", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.block is not None:
        block = next(b for b in BLOCKS if b.name == args.block)
        print(json.dumps(asdict(measure(block, args.folder, args.rounds))))
        return 0
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        parser.error(f"{' and '.join(missing)} not installed; this comparison is opt-in")
    chosen = [b for b in BLOCKS if args.only is None or args.only in b.name]
    if not chosen:
        parser.error(f"no block contains {args.only!r}; there are {[b.name for b in BLOCKS]}")
    print(head(), flush=True)
    found, broken = [], 0
    for block, line in lines(chosen, args.rounds):
        if isinstance(line, str):
            broken += 1
            print(f"{block.name:<37} FAILED: {line}", flush=True)
            continue
        found.append(line)
        print(row(line), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
