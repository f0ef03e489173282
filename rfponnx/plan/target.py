"""Which class is explained, as it is written on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rfponnx.errors import OptionError, nearest
from rfponnx.graph.graph import Graph
from rfponnx.plan.explained import Explained

WORDS = ("argmax", "input", "seed")


@dataclass(frozen=True, slots=True)
class Target:
    """One target.

    Attributes
    ----------
    kind
        ``argmax``; ``rank``: the class of this rank; ``index``, less `other` if there is one;
        ``predicted``: an index where it wins; ``input``, ``seed``: given at run time.
    """

    text: str
    kind: str
    index: int = 0
    other: int | None = None


def targets(text: str) -> tuple[Target, ...]:
    """Read ``argmax``, ``INDEX``, ``INDEX@predicted``, ``A-B``, ``topN``, ``input``, ``seed``.

    Several ones are separated by commas.

    Raises
    ------
    OptionError
        It is none of these.
    """
    found: list[Target] = []
    for word in (w.strip() for w in str(text).split(",")):
        found += _read(word)
    alone = {"seed"} & {t.kind for t in found}
    if alone and len(found) > 1:
        raise OptionError(f"`{text}`", "--target", "a seed is given alone")
    return tuple(found)


def _read(word: str) -> list[Target]:
    if word in WORDS:
        return [Target(word, word)]
    if match := re.fullmatch(r"top(\d+)", word):
        count = int(match[1])
        if count:
            return [Target(f"top{i + 1}", "rank", i) for i in range(count)]
    if match := re.fullmatch(r"(-?\d+)(@predicted)?", word):
        return [Target(word, "predicted" if match[2] else "index", int(match[1]))]
    if match := re.fullmatch(r"(\d+)-(\d+)", word):
        if int(match[1]) == int(match[2]):
            raise OptionError(f"`{word}` compares a class with itself", "--target")
        return [Target(word, "index", int(match[1]), int(match[2]))]
    hint = (
        nearest(word, WORDS) or "it can be argmax, INDEX, INDEX@predicted, A-B, top3, input, seed"
    )
    raise OptionError(f"no target `{word}`", "--target", hint)


def check_contrast(text: str, taps: Sequence[str]) -> None:
    """Refuse what has no difference between one class and all others.

    Raises
    ------
    OptionError
        Several targets, a seed, or taps.
    """
    if len(found := targets(text)) > 1 or found[0].kind == "seed":
        what = f"contrastive explains one class, not `{text}`"
        raise OptionError(what, "--seed-value", "give one class, or another seed value")
    if taps:
        raise OptionError("contrastive has maps of inputs only", "--tap", "leave it out")


def checked(graph: Graph, explained: Explained, found: tuple[Target, ...]) -> tuple[Target, ...]:
    """Return targets whose classes exist, negative ones counted from the end.

    Raises
    ------
    OptionError
        The explained tensor has no such class.
    """
    shape = graph.shape(explained.tensor) or ()
    size = shape[explained.class_axis] if shape else 1
    if not isinstance(size, int):
        if any(t.index < 0 for t in found):
            raise OptionError("the number of classes is not known", "--target")
        return found
    kept = []
    for t in found:
        for index in (t.index, t.other):
            if index is not None and not -size <= index < size:
                what = f"`{explained.tensor}` has {size} classes, no class {index}"
                raise OptionError(what, f"--target {t.text}", f"give 0 to {size - 1}")
        index = t.index % size
        kept.append(Target(t.text, t.kind, index, t.other))
    return tuple(kept)
