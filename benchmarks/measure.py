"""Time and memory of ONNX models in ONNX Runtime, measured side by side.

    python -m benchmarks.measure MODEL.onnx [BATCH]     memory of one model, as JSON

Candidates are interleaved in one process, so that a slow minute of the machine hits all of them.
The minimum over many rounds is the cost of the work itself; process CPU time repeats better than
wall time where cores are shared, and is what the bounds are about.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

THREADS = 2
MEGABYTE = 2**20
DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}

Feeds = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model and the batch size it runs with."""

    name: str
    path: Path
    batch: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one run; CPU time counts all threads of the process.

    Minimum and median over the rounds, and the CPU time of every round.
    """

    cpu: float
    cpu_median: float
    wall: float
    wall_median: float
    rounds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident megabytes over those of the process before it loaded the model."""

    loaded: float
    run: float


def session(path: Path, threads: int = THREADS) -> Any:
    """Return a session on the CPU provider whose idle threads do not burn CPU time."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def random_feeds(model: Any, batch: int, seed: int = 0) -> Feeds:
    """Draw standard normal inputs; free leading dimensions become `batch`, others 1."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, npt.NDArray[Any]] = {}
    for info in model.get_inputs():
        shape = [_size(d, batch if axis == 0 else 1) for axis, d in enumerate(info.shape)]
        feeds[info.name] = rng.standard_normal(shape).astype(DTYPES[info.type])
    return feeds


def _size(dimension: object, free: int) -> int:
    return dimension if isinstance(dimension, int) else free


def interleave(
    candidates: Sequence[Candidate], rounds: int = 12, warm_up: int = 2
) -> dict[str, Timing]:
    """Time all candidates, one run of each a round."""
    return alternate([(c.name, _runner(c)) for c in candidates], rounds, warm_up)


def alternate(
    runs: Sequence[tuple[str, Callable[[], object]]], rounds: int = 12, warm_up: int = 2
) -> dict[str, Timing]:
    """Time what is called, each once a round."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name, _ in runs}
    for index in range(warm_up + rounds):
        for name, run in runs:
            sample = _clock(run)
            if index >= warm_up:
                samples[name].append(sample)
    return {name: _summary(values) for name, values in samples.items()}


def _runner(candidate: Candidate) -> Callable[[], object]:
    model = session(candidate.path)
    feeds = random_feeds(model, candidate.batch)
    return lambda: model.run(None, feeds)


def _clock(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def _summary(values: Sequence[tuple[float, float]]) -> Timing:
    cpu, wall = zip(*values, strict=True)
    medians = statistics.median(cpu), statistics.median(wall)
    return Timing(min(cpu), medians[0], min(wall), medians[1], cpu)


def resident() -> float:
    """Return the resident megabytes of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def memory(candidate: Candidate) -> Memory:
    """Measure one candidate in a process of its own, since memory is never all given back."""
    command = [sys.executable, "-m", "benchmarks.measure", str(candidate.path)]
    root = Path(__file__).resolve().parent.parent
    out = subprocess.run(
        [*command, str(candidate.batch)], check=True, capture_output=True, text=True, cwd=root
    )
    return Memory(**json.loads(out.stdout))


def main(arguments: list[str]) -> int:
    """Print the memory of one model."""
    import onnxruntime  # noqa: F401 - its own size is not the model's

    path, batch = Path(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 1
    bare = resident()
    model = session(path)
    loaded = resident()
    feeds = random_feeds(model, batch)
    for _ in range(2):
        model.run(None, feeds)
    print(json.dumps({"loaded": loaded - bare, "run": resident() - bare}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
