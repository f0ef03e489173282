"""Damage model files: conversion must work, or give one clear error and write nothing.

    python tools/fuzz.py [--cases 2000] [--first 0] [--jobs 2] [--keep FOLDER]

Each case is a model (a trained net, or one operator out of the cases of the `onnx` package) with
up to three kinds of damage (`tools/damage.py`), converted with some options that fit and some
that do not.  It happens in a process of its own, so that a crash or an endless loop costs one
case.  Findings are

    traceback     anything raised that is no RfpError, or is more than a line
    crash, hang   the process dies, or takes longer than a minute
    left behind   an error, and yet a file
    wrong success the original runs in ONNX Runtime, the result does not, or predicts otherwise;
                  or its relevances do not sum up to what they explain, or are not finite;
                  or the original does not load, and nobody said so
    wrong refusal "broken model" or "broken program", but the original runs

The damaged file of a finding is kept; the same number makes the same case again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tools.damage import Rng, damage, pick

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60
MEMORY = 8 << 30
ENTRIES = 1 << 20
LARGEST = 20_000
NETS = 10
FINDINGS = frozenset(
    ("traceback", "crash", "hang", "left behind", "wrong success", "wrong refusal")
)


CONVERTED = "converted"
#: Limits that are stated: what other libraries cannot read, raise or declare.
LIMITS = re.compile(
    "not UTF-8|cannot be (raised to|inlined)|is also produced by|is there twice|form a cycle"
    "|a Constant has one stored value|holds [0-9]+ values"
    "|stored values cannot be read|external data is no number|is declared as"
)
#: What a library can add to ONNX Runtime, or another provider has.
ELSEWHERE = re.compile(r"not a registered function/op|NOT_IMPLEMENTED")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a case."""

    kind: str
    message: str = ""
    damage: str = ""


def models() -> list[list[tuple[str, bytes]]]:
    """Return groups of models, of which one is taken: each net, and the models of each operator."""
    from onnx.backend.test.case.node import collect_testcases

    nets = [(p.stem, p.read_bytes()) for p in sorted((ROOT / "fixtures").glob("*.onnx"))]
    with warnings.catch_warnings(action="ignore"):
        cases = [c for c in collect_testcases(None) if c.model and c.model.ByteSize() < LARGEST]
    # the softmax of a row that is all masked is NaN in the original, which hides it later
    cases = [case for case in cases if "fullymasked" not in case.name]
    groups: dict[frozenset[str], list[tuple[str, bytes]]] = {}
    for case in cases:
        if case.model and any(i.type.tensor_type.elem_type == 1 for i in case.model.graph.input):
            kinds = frozenset(node.op_type for node in case.model.graph.node)
            groups.setdefault(kinds, []).append((case.name, case.model.SerializeToString()))
    return [[net] for net in nets] * NETS + list(groups.values())


def wishes(data: bytes, rng: Rng) -> dict[str, Any]:
    """Return options of a conversion, some of which fit the model."""
    given: dict[str, Any] = {
        "layout": pick(("separate", "stacked"), rng),
        "bias": pick(("separate", "explicit", "split"), rng),
        "linearisation": pick(("weighted", "ratio", "taylor"), rng),
    }
    try:
        graph = onnx.load_model_from_string(data).graph
        names = [v.name for v in graph.input] + [t for n in graph.node for t in n.output]
        names[0].encode()
    except Exception:  # damaged bytes
        return given
    x, t = names[0], pick(names, rng)
    more: tuple[dict[str, Any], ...] = (
        *({},) * 8,
        {"sources": [f"a='{x}'[0:1]", f"b='{x}'[1:]"]},
        {"sources": [f"a='{x}'[...,::2]", f"b='{t}'"]},
        {"sources": [f"a='{x}'[:,::2]"]},
        {"sources": {"m": f"'{x}'@mask", "n": f"'{t}'"}},
        {"source_masks": t},
        {"explain": t},
        {"readout": "predicted", "class_axis": int(rng.integers(-2, 3))},
        {"release": [f"*={pick(('left', 'right', 'split', 'none'), rng)}"]},
    )
    return given | pick(more, rng)


# ---- one case, inside a worker ---------------------------------------------------------------


def work(pipe: Connection, folder: Path) -> None:
    """Try the cases that come in, tell what is being done and what came out."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(folder)
    warnings.simplefilter("ignore")
    known = models()
    pipe.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(attempt(int(pipe.recv()), known, folder, pipe))


def attempt(
    number: int, known: list[list[tuple[str, bytes]]], folder: Path, pipe: Connection
) -> Verdict:
    """Convert one damaged file and judge the answer."""
    rng = np.random.default_rng(number)
    name, data = pick(pick(known, rng), rng)
    broken, done = damage(data, rng)
    story = f"{name}: {', '.join(done)}"
    for old in folder.iterdir():
        old.unlink()
    path = folder / "current.onnx"
    path.write_bytes(broken)
    pipe.send("convert")
    kind, message = convert(path, wishes(broken, rng))
    left = [p.name for p in folder.iterdir() if p not in (path, path.with_suffix(".out"))]
    if left or (kind != CONVERTED and path.with_suffix(".out").exists()):
        kind, message = "left behind", f"{left} after {kind}: {message}"
    if kind not in FINDINGS:
        kind, message = judge(kind, message, path, pipe)
    return Verdict(kind, message, story)


def convert(path: Path, options: dict[str, Any]) -> tuple[str, str]:
    """Convert and save one file; return the kind of answer."""
    import rfponnx
    from rfponnx.errors import RfpError

    try:
        rfponnx.convert(path, **options).save(path.with_suffix(".out"))
    except RfpError as error:
        if not error.what or "\n" in str(error) or len(str(error)) > 1500:
            return "traceback", f"not one line: {str(error)!r}"
        cause = f" <- {error.__cause__!r}" if error.__cause__ is not None else ""
        return type(error).__name__, f"{error}{cause}"
    except BaseException as error:  # this is what we are looking for
        return "traceback", f"{type(error).__name__}: {error}"
    return CONVERTED, ""


def judge(kind: str, message: str, path: Path, pipe: Connection) -> tuple[str, str]:
    """Compare the answer with what ONNX Runtime says of the original and the result."""
    pipe.send("load original")
    original, refusal = session(str(path))
    if original is None:
        if kind == CONVERTED and not ELSEWHERE.search(refusal):
            return "wrong success", f"ONNX Runtime refuses the original: {refusal}"
        return kind, message
    pipe.send("run original")
    feeds, expected = runs(original)
    if kind in ("ModelError", "InternalError") and expected and not LIMITS.search(message):
        return "wrong refusal", message
    if kind != CONVERTED:
        return kind, message
    pipe.send("load result")
    result, refusal = session(str(path.with_suffix(".out")))
    if result is None:
        return "wrong success", f"ONNX Runtime refuses the result: {refusal}"
    pipe.send("run result")
    return compare(original, result, feeds, expected)


def runs(original: Any) -> tuple[dict[str, Any], list[Any]]:
    """Return random inputs on which a model runs, and what it says; nothing if there are none."""
    for size in (2, 3, 5, 1):  # 1 last: a free size is none that broadcasts
        with contextlib.suppress(Exception):
            feeds = {i.name: drawn(i, size) for i in original.get_inputs()}
            found = original.run(None, feeds)
            if all(not isinstance(value, np.ndarray) or value.size for value in found):
                return feeds, found
    return {}, []


def compare(
    original: Any, result: Any, feeds: dict[str, Any], expected: list[Any]
) -> tuple[str, str]:
    """Tell whether the result predicts what the original does."""
    if not expected:
        return f"{CONVERTED}, though the original does not run", ""
    names = [o.name for o in original.get_outputs()]
    try:
        masks = {i.name: drawn(i, 1) for i in result.get_inputs() if i.name not in feeds}
        found = result.run(names, feeds | masks)
    except Exception as error:
        return "wrong success", f"the result does not run: {error}"
    again = original.run(names, feeds)
    for name, a, b, c in zip(names, expected, again, found, strict=True):
        if same(a, b) and not same(a, c):
            return "wrong success", f"another prediction: {name}"
    return incomplete(result, feeds | masks) or (f"{CONVERTED}, same prediction", "")


def incomplete(result: Any, feeds: dict[str, Any]) -> tuple[str, str] | None:
    """Say where relevances do not sum up to what they explain; nothing where they do."""
    described = json.loads(result.get_modelmeta().custom_metadata_map["rfponnx"])
    if described["options"]["bias"] != "explicit" or described["options"]["readout"] != "all":
        return None
    outputs = {o.name: o.type for o in result.get_outputs()}
    for name, of in described["explained"].items():
        value = of["tensor"] if of["tensor"] in outputs else f"{of['output']}_explained"
        if outputs[name] not in ("tensor(float)", "tensor(double)"):
            continue
        y, r = result.run([value, name], feeds)
        if not np.all(np.isfinite(y)):
            continue
        if not np.all(np.isfinite(r)):
            return "wrong success", f"{name} is not finite"
        scale = max(np.abs(y).max(initial=0), np.abs(r).sum(axis=0).max(initial=0), 1e-30)
        if (error := np.abs(y - r.sum(axis=0)).max(initial=0) / scale) > 1e-4:
            return "wrong success", f"{name} is not complete, {error}"
    return None


def same(a: Any, b: Any) -> bool:
    """Tell whether two results are the same bits."""
    return not isinstance(a, np.ndarray) or (a.dtype == b.dtype and a.tobytes() == b.tobytes())


def session(model: str | bytes) -> tuple[Any, str]:
    """Open a model without optimisation; without success say why not."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        found = ort.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        return found, ""
    except Exception as error:  # its error types are not exported
        return None, " ".join(str(error).split())[:300]


def drawn(port: Any, size: int) -> Any:
    """Return a random value for an input; free dimensions get `size`."""
    shape = [d if isinstance(d, int) and d >= 0 else size for d in port.shape]
    if np.prod(np.array(shape, float)) > ENTRIES:
        raise ValueError("too large")
    kind = port.type.removeprefix("tensor(").removesuffix(")")
    dtype = np.dtype({"float": "float32", "double": "float64"}.get(kind, kind))
    values = np.random.default_rng(0).standard_normal(shape)
    return values.astype(dtype) if dtype.kind == "f" else (values > 0).astype(dtype)


# ---- many cases, outside ---------------------------------------------------------------------


@dataclass(slots=True)
class Worker:
    """A process that tries cases, replaced when it dies."""

    folder: Path
    phase: str = ""
    process: Any = None
    pipe: Any = None

    def attempt(self, number: int) -> Verdict:
        """Return the verdict on one case."""
        if self.process is None:
            self.start()
        self.pipe.send(number)
        end, self.phase = time.monotonic() + SECONDS, ""
        while self.pipe.poll(max(0.0, end - time.monotonic())):
            try:
                answer = self.pipe.recv()
            except EOFError:
                self.process.join()
                return self.lost("crash", f"exit code {self.process.exitcode}")
            if isinstance(answer, Verdict):
                return answer
            self.phase = answer
        return self.lost("hang", f"more than {SECONDS} s")

    def start(self) -> None:
        """Start a process and wait until it is ready."""
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, self.folder), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def lost(self, kind: str, how: str) -> Verdict:
        """End the process; what ONNX Runtime does to itself is no finding."""
        self.process.kill()
        self.process.join()
        self.process = None
        theirs = self.phase in ("load original", "run original")
        return Verdict(f"{kind} of ONNX Runtime alone" if theirs else kind, f"{self.phase}, {how}")


@dataclass(slots=True)
class Tally:
    """All verdicts so far, and the numbers still to come."""

    numbers: Iterator[int]
    keep: Path
    answers: Counter[str] = field(default_factory=Counter)
    lock: Any = field(default_factory=threading.Lock)

    def run(self, worker: Worker) -> None:
        """Let a worker try case after case."""
        while True:
            with self.lock:
                number = next(self.numbers, None)
            if number is None:
                return
            verdict = worker.attempt(number)
            with self.lock:
                self.note(number, verdict, worker.folder / "current.onnx")

    def note(self, number: int, verdict: Verdict, path: Path) -> None:
        """Count a verdict; print and keep a finding."""
        self.answers[verdict.kind] += 1
        if verdict.kind in FINDINGS:
            path.replace(self.keep / f"{number}.onnx")
            print(f"case {number}, {verdict.kind}: {verdict.message[:400]} [{verdict.damage}]")
        if (count := self.answers.total()) % 200 == 0:
            found = sum(self.answers[kind] for kind in FINDINGS)
            print(f"{count} cases, {found} findings", flush=True)


def main() -> int:
    """Try all cases; exit 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    tally = Tally(iter(range(args.first, args.first + args.cases)), args.keep.resolve())
    with contextlib.ExitStack() as stack:
        folders = [stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(args.jobs)]
        threads = [threading.Thread(target=tally.run, args=(Worker(Path(f)),)) for f in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = sum(tally.answers[kind] for kind in FINDINGS)
    answers = ", ".join(f"{count} {answer}" for answer, count in tally.answers.most_common())
    print(f"{args.cases} cases in {time.monotonic() - start:.0f} s, {found} findings: {answers}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
