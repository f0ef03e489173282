"""Errors that a user can act on: what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint that names the closest of `names`, or an empty string."""
    match = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean `{match[0]}`?" if match else ""


def _line(text: str) -> str:
    return " ".join(str(text).split())
