"""Convert and verify every model of the folder `shared` beside the repository.

    python tools/corpus.py [--stage STAGE] [--only PATTERN] [--options "--linearisation taylor"]
    python tools/corpus.py --backward all

Each model goes forward, and backward by one of a few methods in turn (or by all of them); with
--options only by these.  The models are the corpus of architectures (one stage of it, or all) and
the trained nets.  Each is converted and verified in a process of its own, so that a crash or an
endless loop costs one line and not the run.  Exit 1 if any model fails; without the folder there
is nothing to do.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import json
import multiprocessing
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
Options = dict[str, Any]
REPEATED = ("release", "explain", "linearisation", "rule", "tap")
#: What every model has to do backward, too.
BACKWARD = (
    "--method gradient",
    "--method lrp --composite epsilon_plus",
    "--method lrp --composite epsilon_gamma_box",
    "--method lrp --composite lrp_resnet",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one model."""

    name: str
    passed: bool
    seconds: float = 0.0
    completeness: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """A model at work in a process."""

    name: str
    process: multiprocessing.process.BaseProcess
    results: Connection
    started: float


def load_corpus() -> Any:
    """Import the corpus's own module, which is no package."""
    spec = importlib.util.spec_from_file_location("corpus_data", SHARED / "corpus" / "corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(stage: str, pattern: str | None) -> list[str]:
    """List the chosen models: names of the corpus, and `models/...` for the trained nets."""
    found: list[str] = []
    if (SHARED / "corpus").is_dir():
        found += load_corpus().list_models(None if stage == "all" else stage)
    trained = sorted((SHARED / "models").rglob("*.onnx"))
    found += [path.relative_to(SHARED).as_posix() for path in trained]
    return [n for n in found if pattern is None or fnmatch.fnmatch(n, f"*{pattern}*")]


def write(name: str, folder: Path) -> Path:
    """Return a file that holds the model `name`."""
    if name.startswith("models/"):
        return SHARED / name
    return Path(load_corpus().write(name, folder / f"{name}.onnx"))


def parse_options(text: str) -> Options:
    """Turn command-line options into keywords of `rfponnx.convert`.

    `--key value` gives `key="value"`; what the program takes repeatedly becomes a tuple, and
    `--source NAME=PIECE` and `--set KEY=VALUE` become dictionaries.
    """
    options: Options = {}
    words = shlex.split(text)
    while words:
        key = words.pop(0).removeprefix("--").replace("-", "_")
        value = words.pop(0) if words else ""
        name, _, rest = value.partition("=")
        if key == "source":
            options.setdefault("sources", {})[name] = rest
        elif key == "set":
            options.setdefault("set", {})[name] = rest
        elif key in REPEATED:
            plural = "rules" if key == "rule" else key
            options[plural] = (*options.get(plural, ()), value)
        else:
            options[key] = int(value) if value.lstrip("-").isdigit() else value
    return options


def attempt(name: str, words: str) -> Outcome:
    """Convert and verify one model."""
    import rfponnx

    options = parse_options(words)
    with tempfile.TemporaryDirectory() as folder:
        original = write(name, Path(folder))
        converted = Path(folder) / "converted.onnx"
        start = time.perf_counter()
        rfponnx.convert(original, **options).save(converted)
        report = rfponnx.verify(original, converted)
        seconds = time.perf_counter() - start
    failed = [str(c.name) for c in report.checks if not c.passed]
    return Outcome(name, report.passed, seconds, worst(report.checks), ", ".join(failed))


def worst(checks: Sequence[Any]) -> float | None:
    """Return the largest value among the checks of completeness or conservation in float64."""
    laws = ("completeness", "conservation, float64", "duality")
    named = (c for c in checks if str(c.name).lower().startswith(laws))
    return max((float(c.value) for c in named if isinstance(c.value, int | float)), default=None)


def work(name: str, words: str, results: Connection) -> None:
    """Run one model in this process and send its outcome."""
    start = time.perf_counter()
    try:
        outcome = attempt(name, words)
    except Exception as error:  # whatever it is, it is this model's line
        at = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(at.filename).name}:{at.lineno}"
        text = " ".join(f"{type(error).__name__} ({place}): {error}".split())
        outcome = Outcome(name, False, time.perf_counter() - start, message=text)
    results.send(replace(outcome, name=f"{name} {words}".strip()))


def start(name: str, words: str, context: Any) -> Running:
    """Start the process of one model."""
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(name, words, send), daemon=True)
    process.start()
    send.close()
    return Running(f"{name} {words}".strip(), process, receive, time.perf_counter())


def finish(running: Running, limit: float) -> Outcome | None:
    """Return the outcome if there is one; end what is over time."""
    seconds = time.perf_counter() - running.started
    if running.results.poll():
        try:
            outcome: Outcome = running.results.recv()
        except EOFError:  # the process died without a word
            running.process.join()
            code = running.process.exitcode
            outcome = Outcome(running.name, False, seconds, message=f"crashed (exit {code})")
    elif seconds > limit:
        running.process.kill()
        outcome = Outcome(running.name, False, seconds, message=f"over {limit:.0f} s")
    else:
        return None
    running.process.join()
    running.results.close()
    return outcome


def runs(chosen: Sequence[str], options: str | None, backward: str) -> list[tuple[str, str]]:
    """Return every model with the options of each of its runs."""
    if options is not None:
        return [(name, options) for name in chosen]
    found = [(name, "") for name in chosen]
    if backward == "rotate":
        found += [(name, BACKWARD[i % len(BACKWARD)]) for i, name in enumerate(chosen)]
    if backward == "all":
        found += [(name, words) for words in BACKWARD for name in chosen]
    return found


def run(queue: Sequence[tuple[str, str]], jobs: int, limit: float) -> Iterator[Outcome]:
    """Yield outcomes as they come, `jobs` processes at a time."""
    context = make_context()
    active: list[Running] = []
    waiting = list(queue)
    while waiting or active:
        while waiting and len(active) < jobs:
            active.append(start(*waiting.pop(0), context))
        wait([r.results for r in active], timeout=1.0)
        for running in list(active):
            outcome = finish(running, limit)
            if outcome is not None:
                active.remove(running)
                yield outcome


def make_context() -> Any:
    """Prefer a fork server that has loaded the libraries once: two seconds a model less."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["onnx", "onnxruntime", "onnx_graphsurgeon", "rfponnx"])
    return context


def line(outcome: Outcome, done: int, total: int) -> str:
    """Return the line of one model."""
    value = "-" if outcome.completeness is None else f"{outcome.completeness:.1e}"
    verdict = "ok  " if outcome.passed else "FAIL"
    text = f"[{done:>3}/{total}] {verdict} {outcome.seconds:6.1f} s  {value:>7}  {outcome.name}"
    return f"{text}: {outcome.message}" if outcome.message else text


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stage", default="foundation", help="a stage of the corpus, or all")
    parser.add_argument("--only", metavar="PATTERN", help="models whose name matches this")
    parser.add_argument("--options", help="options of convert, as on its command line")
    parser.add_argument("--backward", choices=("none", "rotate", "all"), default="rotate")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds a model may take")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(words)


def main() -> int:
    """Run the chosen models and print the summary."""
    args = arguments()
    if not SHARED.is_dir():
        print("nothing to do: the folder ../shared is absent")
        return 0
    chosen = runs(names(args.stage, args.only), args.options, args.backward)
    outcomes: list[Outcome] = []
    for outcome in run(chosen, args.jobs, args.limit):
        outcomes.append(outcome)
        print(line(outcome, len(outcomes), len(chosen)), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=2), encoding="utf-8")
    failed = sorted((o for o in outcomes if not o.passed), key=lambda o: o.name)
    values = [(o.completeness, o.name) for o in outcomes if o.completeness is not None]
    if values:
        print("worst completeness: {:.1e} in {}".format(*max(values)))
    if failed and len(outcomes) > 1:
        print("failed:", *(o.name for o in failed))
    print(f"{len(outcomes) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
