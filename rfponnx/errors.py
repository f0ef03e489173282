"""Errors that a user can act on: what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

#: Characters of a part of a message.
LONGEST = 500


class RfpError(Exception):
    """One problem in one line.

    Parameters
    ----------
    what
        What is wrong, in a short clause ("no tensor `imgae`").
    where
        The place: file, node name and operator, option.  May be empty.
    hint
        What to do about it.  May be empty.
    """

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = _line(what), _line(where), _line(hint)
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.hint}" if self.hint else text

    def at(self, where: str) -> RfpError:
        """Return the same error with its place filled in, if it had none."""
        return self if self.where else type(self)(self.what, where, self.hint)


class ModelError(RfpError):
    """The model file cannot be read, or is not a model that ONNX Runtime runs."""


class Unsupported(RfpError):
    """A node on the relevance path has no linearisation."""


class OptionError(RfpError):
    """An option, or a combination of options, does not fit the model."""


class InputError(RfpError):
    """Data given to a converted graph has a wrong name, shape or type."""


class OutputError(RfpError):
    """A result cannot be written."""


class InternalError(RfpError):
    """A mistake of this program: a model that it should have converted, or refused by name."""


@contextmanager
def guarded(where: str = "") -> Iterator[None]:
    """Turn what nobody foresaw into one line; the traceback stays with its cause.

    Serves as a decorator too.  The innermost place wins.
    """
    try:
        yield
    except RfpError:
        raise
    except RecursionError as error:
        raise ModelError("the model is nested too deeply", where) from error
    except MemoryError as error:
        raise ModelError("takes more memory than there is", where) from error
    except Exception as error:
        what = f"unexpected {type(error).__name__}: {error}"
        raise InternalError(what, where, "--debug shows where; please report it") from error


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint that names the closest of `names`, or an empty string."""
    match = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean `{match[0]}`?" if match else ""


def _line(text: str) -> str:
    """Return text as one line that a terminal shows as it is: names in a file may hold anything."""
    words = " ".join(str(text).split())
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 20]} ... {shown[-14:]}"
