"""What a run gave: arrays by name, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from rfponnx.errors import InputError, nearest
from rfponnx.runtime.backward import Relevance
from rfponnx.runtime.description import Description, Readout
from rfponnx.runtime.ports import Array
from rfponnx.runtime.summary import Part, View, parts, probabilities, view


class Results(Mapping[str, Array]):
    """The outputs of a run by name; for a converted model also what they mean.

    Parameters
    ----------
    extras
        What a backward file was given, or drew, beside the inputs of the original, by name.

    Attributes
    ----------
    description
        What the file says of itself; ``None`` for a model that was not converted.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        description: Description | None,
        model: str,
        extras: Mapping[str, Array] | None = None,
    ) -> None:
        self.description = description
        self.extras: Mapping[str, Array] = dict(extras or {})
        self.model = model
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def described(self) -> Description:
        """What the file says of itself.

        Raises
        ------
        InputError
            The model was not converted.
        """
        if self.description is None:
            what = "is not converted, so there is no relevance"
            raise InputError(what, self.model, f"rfponnx convert {self.model}")
        return self.description

    def given(self, kind: str) -> Array | None:
        """Return the first additional input of a kind: ``target``, ``seed``, ..."""
        names = (e.name for e in self.described.extras if e.kind == kind)
        return next((self.extras[n] for n in names if n in self.extras), None)

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the rows of every relevance by source, ``bias`` last."""
        d = self.described
        if d.backward:
            one = self._of_kind("sources", "source relevance", "--readout sources")
            return d.rows(self._arrays[one.output].shape[int(one.several)])
        return d.rows(len(self._arrays[d.readouts[0].relevance]))

    @property
    def targets(self) -> tuple[str, ...]:
        """The labels of what a backward file explains: ``argmax``, ``top2``, ``3``, ..."""
        self._need("backward", "the targets")
        return self.described.targets

    @property
    def prediction(self) -> Array:
        """The predicted class of what is explained first: [N], or [N, *positions]."""
        v = self.values_view() if self.described.backward else self.view()
        return v.winner.reshape(len(v.winner), *v.positions)

    def relevance(self, name: str | None = None) -> Array:
        """Return a relevance.

        Parameters
        ----------
        name
            Forward: an output or an explained tensor, by default the first; [R, *E].
            Backward: an input, a tap or the output that holds it; by default the only input.
            Of the shape of the input (read-outs: [N, *positions]), behind an axis of targets
            where there are several.

        Raises
        ------
        InputError
            There is none of that name, or several and no name.
        """
        if self.described.backward:
            return self._arrays[self._relevance(name).output]
        return self._arrays[self._readout(name).relevance]

    @property
    def bias(self) -> Array:
        """What biases took [N] ([1]: of all samples together), behind an axis of targets."""
        return self._arrays[self._of_kind("bias", "bias").output]

    @property
    def leak(self) -> Array:
        """What was lost on the way, as `bias`."""
        return self._arrays[self._of_kind("leak", "leak", "--account explicit").output]

    @property
    def source_relevance(self) -> Array:
        """The relevance of each source and, last, of the rest: [S+1, N], behind targets."""
        one = self._of_kind("sources", "source relevance", "--readout sources")
        return self._arrays[one.output]

    def explained(self, name: str | None = None) -> Array:
        """Return an explained tensor [*E].

        Raises
        ------
        InputError
            The file does not hold it.
        """
        one = self._readout(name)
        if one.values:
            return self._arrays[one.values]
        if self.described.backward:
            raise InputError(f"`{one.tensor}` is not among the outputs", self.model)
        return np.asarray(self.relevance(name).sum(axis=0))

    def shares(self, name: str | None = None) -> Array:
        """Return ``|r^s| / sum |r|`` for the predicted class: [R, N], or [R, N, *positions]."""
        v = self.view(name)
        return v.shares.reshape(v.maps.shape)

    def view(self, name: str | None = None) -> View:
        """Return a relevance of the forward direction with its axes in a fixed order."""
        self._need("forward", "the contributions of sources to classes")
        one = self._readout(name)
        values, relevance = self.explained(name), self.relevance(name)
        return view(values, relevance, one.class_axis, self.described.predicted)

    def values_view(self, name: str | None = None) -> View:
        """Return an explained tensor with its axes in a fixed order, and no relevance."""
        one, values = self._readout(name), self.explained(name)
        return view(values, values.reshape(-1)[:0], one.class_axis, True)

    def parts(self, name: str | None = None) -> tuple[Part, ...]:
        """Return the numbers of each sample, for each class that is predicted in it."""
        v = self.view(name)
        return parts(v, self.probabilities(name))

    def probabilities(self, name: str | None = None) -> Array | None:
        """Return the probabilities [N, C, P] that the model gives itself, if it does."""
        one = self._readout(name)
        output = None if one.output in (one.values, one.tensor) else self._arrays.get(one.output)
        return probabilities(output, self.explained(name), one.class_axis)

    def _readout(self, name: str | None) -> Readout:
        return self.described.readout(name, self.model)

    def _relevance(self, name: str | None) -> Relevance:
        """Return the relevance of an input or tap."""
        d = self.described
        inputs, every = d.of_kind("input"), d.of_kind("input", "tap")
        known = ", ".join(r.tensor for r in every)
        if name is None and len(inputs) == 1:
            return inputs[0]
        if not every:
            hint = f"it holds: {', '.join(r.output for r in d.relevances)}"
            raise InputError("holds no relevance of an input", self.model, hint)
        if name is None:
            raise InputError("does not say of which input", self.model, f"name one of {known}")
        for one in every:
            if name in (one.tensor, one.output):
                return one
        hint = nearest(name, [r.tensor for r in every]) or f"there is: {known}"
        raise InputError(f"no relevance of `{name}`", self.model, hint)

    def _of_kind(self, kind: str, what: str, option: str = "") -> Relevance:
        self._need("backward", what)
        d = self.described
        for one in d.of_kind(kind):
            return one
        if option:
            hint = f"convert with {option}"
        else:
            hint = "" if d.conserves else f"{d.method} gives none"
        raise InputError(f"holds no {what}", self.model, hint)

    def _need(self, direction: str, what: str) -> None:
        d = self.described
        if d.direction != direction:
            text = f"{what}: only files of the {direction} direction hold that"
            raise InputError(text, self.model, f"this one is {d.method}, {d.direction}")
