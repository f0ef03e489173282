"""The program around the commands: options they share, and every failure in one line."""

from __future__ import annotations

import errno
import functools
import io
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

from rfponnx.errors import RfpError

DONE, FAILED, BAD, INTERRUPTED, NO_READER = 0, 1, 2, 130, 141


@dataclass(frozen=True, slots=True)
class Mode:
    """How a command talks.

    Attributes
    ----------
    json
        One JSON document on standard output and nothing else.
    verbose, quiet
        More, or as little as can be.
    """

    json: bool = False
    verbose: bool = False
    quiet: bool = False


def command(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command the options that all of them have; it gets them as a `Mode`."""

    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @click.option("-q", "--quiet", is_flag=True, help="No notes, no progress.")
    @click.option("-v", "--verbose", is_flag=True, help="Show everything.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
    @functools.wraps(function)
    def wrapped(as_json: bool, verbose: bool, quiet: bool, debug: bool, **rest: Any) -> int | None:
        return function(Mode(as_json, verbose, quiet), **rest)

    return wrapped


def running(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command the options of those that run a model."""
    threads = click.option(
        "--threads", type=int, metavar="N", help="Threads of one operator; by default all cores."
    )
    provider = click.option(
        "--provider", default="cpu", show_default=True, metavar="cpu|cuda", help="Where to run."
    )
    return provider(threads(function))


class Program(click.Group):
    """A group of commands, loaded when they are asked for, that fails in one line."""

    def __init__(self, *args: Any, where: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.where = where or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of their use."""
        return list(self.where)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in self.where:
            return None
        found: click.Command = getattr(import_module(self.where[name]), name.replace("-", "_"))
        return found

    def main(self, args: Sequence[str] | None = None, *_: Any, **more: Any) -> Any:
        """Run a command line and end the program with its exit code."""
        words = sys.argv[1:] if args is None else list(args)
        call = functools.partial(self._run, list(words))
        sys.exit(guarded(call, as_json="--json" in words, debug="--debug" in words))

    def _run(self, words: list[str]) -> Any:
        """Run the command that the words name."""
        try:
            with self.make_context("rfponnx", words) as ctx:
                return self.invoke(ctx)
        except click.exceptions.Exit as end:  # after --help and --version
            return end.exit_code


def guarded(call: Callable[[], Any], *, as_json: bool, debug: bool) -> int:
    """Return the exit code of a call; whatever it raises becomes one line and a code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default" if debug else "ignore")
            code = call()
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except BrokenPipeError:
        return _without_reader()
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            return _without_reader()
        if debug:
            traceback.print_exc()
        return _report(error, as_json)


def _report(error: BaseException, as_json: bool) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        error.show()
        return BAD
    problem = worded(error)
    stopped = isinstance(error, KeyboardInterrupt | click.Abort)
    try:
        if as_json:
            fields = {"what": problem.what, "where": problem.where, "hint": problem.hint}
            print(json.dumps({"error": fields}, indent=2), flush=True)
        else:
            print(f"error: {problem}", file=sys.stderr, flush=True)
        sys.stdout.flush()  # what is still held back would fail when the interpreter ends
    except OSError:
        _forget_stdout()
    return INTERRUPTED if stopped else BAD


def worded(error: BaseException) -> RfpError:
    """Return any failure as what is wrong, where, and what to do."""
    if isinstance(error, RfpError):
        return error
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else ""
        hint = f"see `{path or 'rfponnx'} --help`"
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            return RfpError("no command", path, hint)
        return RfpError(error.format_message().strip().rstrip("."), path, hint)
    if isinstance(error, click.ClickException):
        return RfpError(error.format_message())
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return RfpError("interrupted")
    if isinstance(error, MemoryError):
        return RfpError("out of memory", hint="run fewer samples at a time, with --batch")
    if isinstance(error, RecursionError):
        return RfpError("the model is nested too deeply")
    if isinstance(error, OSError) and error.strerror:
        return RfpError(error.strerror, str(error.filename or ""))
    what = f"unexpected {type(error).__name__}: {error}"
    return RfpError(what[:500], hint="--debug shows where; please report it")


def _without_reader() -> int:
    """End quietly: whoever read our output (`| head`) has seen enough."""
    _forget_stdout()
    return NO_READER


def _forget_stdout() -> None:
    """Keep the interpreter from flushing into a closed pipe or a full disk when it ends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        sys.stdout = io.StringIO()


def end_on_sigterm() -> None:
    """Let a terminated program remove its half-written files."""

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
