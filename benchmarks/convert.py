"""What conversion itself costs: its time, its memory, and the start of the program.

    python -m benchmarks.convert [--only CASE] [--json FILE]

The large model is a chain of MatMuls whose 2 GB of weights lie in a sparse file beside it: it
takes no disk, but anything that reads the weights into memory shows.  Exit 1 above a bound.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from benchmarks import models

WIDTH, LAYERS = 8192, 8
"""Eight square float32 matrices of 256 MB."""

CONVERT = """
import sys, time, rfponnx
source, target, warm_up = sys.argv[1:]
rfponnx.convert(warm_up).save(warm_up + ".out", force=True)
def peak():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 1024
before, start = peak(), time.perf_counter()
rfponnx.convert(source).save(target)
print(time.perf_counter() - start, peak() - before)
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One measured number and its bound."""

    case: str
    value: float
    unit: str
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the bound is kept."""
        return self.value <= self.bound


def large_model(folder: Path) -> Path:
    """Write the chain of MatMuls; its weights are a hole in a sparse file."""
    size = WIDTH * WIDTH * 4
    with open(folder / "large.data", "wb") as data:
        data.truncate(size * LAYERS)
    nodes, weights, x = [], [], "input"
    for layer in range(LAYERS):
        weights.append(_external(f"w{layer}", layer * size, size))
        nodes.append(helper.make_node("MatMul", [x, f"w{layer}"], [f"y{layer}"]))
        nodes.append(helper.make_node("Relu", [f"y{layer}"], [f"h{layer}"]))
        x = f"h{layer}"
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", WIDTH]) for n in ("input", x)]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "large.onnx")
    return folder / "large.onnx"


def _external(name: str, offset: int, length: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "large.data"), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def tiny_model(folder: Path) -> Path:
    """Write a one-node model: converting it first loads every module."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "tiny.onnx")
    return folder / "tiny.onnx"


def convert(source: Path, target: Path) -> tuple[float, float]:
    """Convert in a fresh process; return seconds and the growth of peak memory in MB."""
    warm_up = tiny_model(source.parent)
    command = [sys.executable, "-c", CONVERT, str(source), str(target), str(warm_up)]
    out = subprocess.run(command, check=False, capture_output=True, text=True)
    if out.returncode != 0:
        raise RuntimeError((out.stderr.strip() or "no word").splitlines()[-1])
    seconds, megabytes = map(float, out.stdout.split())
    return seconds, megabytes


def convert_time(folder: Path) -> Result:
    """Time ResNet-50, load and save included."""
    source = folder / "resnet50.onnx"
    onnx.save(models.resnet50(), source)
    best = min(convert(source, folder / f"out{i}.onnx")[0] for i in range(3))
    return Result("convert ResNet-50", best, "s", 2.0)


def large_growth(source: Path, target: Path) -> float:
    """Return the growth of peak memory, once the weights are found beside the output."""
    growth = convert(source, target)[1]
    tensors = onnx.load(target, load_external_data=False).graph.initializer
    places = [{e.key: e.value for e in t.external_data} for t in tensors if t.external_data]
    if len(places) < LAYERS:
        raise RuntimeError(f"{len(places)} of {LAYERS} external weights in the output")
    for place in places:
        data = target.parent / place["location"]
        end = int(place.get("offset", 0)) + WIDTH * WIDTH * 4
        if not data.is_file() or data.stat().st_size < end:
            raise RuntimeError(f"the output refers to {data.name}, which is not all beside it")
    return growth


def large_memory(folder: Path) -> Result:
    """Growth of peak memory for 2 GB of external data, output in the same folder."""
    growth = large_growth(large_model(folder), folder / "large.rfp.onnx")
    return Result("convert 2 GB, peak growth", growth, "MB", 300.0)


def large_copy_memory(folder: Path) -> Result:
    """Measure the same with the output in another folder: the data is copied there."""
    (folder / "elsewhere").mkdir()
    growth = large_growth(large_model(folder), folder / "elsewhere" / "large.rfp.onnx")
    return Result("the same, data copied", growth, "MB", 300.0)


def start(*command: str, rounds: int = 7) -> float:
    """Return the fastest wall time of a whole process."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        best = min(best, time.perf_counter() - begin)
    return best


def import_time(_: Path) -> Result:
    """Time `import rfponnx`, interpreter included."""
    return Result("import rfponnx", start(sys.executable, "-c", "import rfponnx"), "s", 0.3)


def help_time(_: Path) -> Result:
    """Time the help page."""
    program = Path(sys.executable).with_name("rfponnx")
    return Result("rfponnx --help", start(str(program), "--help"), "s", 0.3)


CASES: dict[str, Callable[[Path], Result]] = {
    "import": import_time,
    "help": help_time,
    "resnet50": convert_time,
    "large": large_memory,
    "copied": large_copy_memory,
}


def main(arguments: list[str]) -> int:
    """Measure the chosen cases and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.convert", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    results, broken = [], 0
    for name, case in CASES.items():
        if args.only not in (None, name):
            continue
        try:
            with tempfile.TemporaryDirectory() as folder:
                result = case(Path(folder))
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            broken += 1  # the other numbers are still worth having
            print(f"{name:<28} FAILED: {error}", flush=True)
            continue
        results.append(result)
        verdict = "ok" if result.passed else "OVER"
        value = f"{result.value:>10.2f} {result.unit:<3}"
        print(f"{result.case:<28}{value} bound {result.bound:>7.2f}  {verdict}", flush=True)
    if args.json is not None:
        data = [asdict(r) | {"passed": r.passed} for r in results]
        args.json.write_text(json.dumps(data, indent=2), encoding="utf-8")
    return 1 if broken or not all(r.passed for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
