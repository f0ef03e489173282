"""ONNX Runtime as the checks need it: plain or optimised, on files or protos, one-line errors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from rfponnx.errors import InputError, ModelError, OptionError
from rfponnx.graph.load import Loaded

Array = npt.NDArray[Any]
Values = Mapping[str, Array]

PROVIDERS = {
    "cpu": ("CPUExecutionProvider", {}),
    # one algorithm per convolution and full precision: two sessions have to agree in every bit
    "cuda": ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}),
}
# where a model given as bytes has its external data
_FOLDER = "session.model_external_initializers_file_folder_path"


class Runner:
    """One session."""

    def __init__(self, session: Any, name: str) -> None:
        self._session, self._name = session, name
        self.inputs = tuple(i.name for i in session.get_inputs())
        self.outputs = tuple(o.name for o in session.get_outputs())

    def run(self, feeds: Values, names: Sequence[str] | None = None) -> dict[str, Array]:
        """Return the named outputs, by default all.  Feeds of no input are left out.

        Raises
        ------
        InputError
            ONNX Runtime refuses the values, or cannot compute with them.
        """
        wanted = list(self.outputs if names is None else names)
        given = {n: np.asarray(feeds[n], order="C") for n in self.inputs if n in feeds}
        try:
            found = self._session.run(wanted, given)
        except Exception as error:  # its error types are not exported
            raise InputError(f"ONNX Runtime cannot run it: {_reason(error)}", self._name) from error
        return dict(zip(wanted, found, strict=True))


class Engine:
    """Opens sessions of one provider.

    Parameters
    ----------
    provider
        ``cpu`` or ``cuda``.
    threads
        Of one operator; ``None`` leaves it to ONNX Runtime.

    Raises
    ------
    OptionError
        The installed ONNX Runtime does not have the provider.
    """

    def __init__(self, provider: str = "cpu", threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            hint = "pip install 'rfponnx[cpu]' or 'rfponnx[gpu]'"
            raise OptionError("ONNX Runtime is not installed", "", hint) from error
        name = PROVIDERS.get(provider, ("", {}))[0]
        if name not in onnxruntime.get_available_providers():
            has = [
                k for k, (n, _) in PROVIDERS.items() if n in onnxruntime.get_available_providers()
            ]
            raise OptionError(f"no provider `{provider}` here", "--provider", f"use {has[0]}")
        self._provider, self._threads = provider, threads

    def open(self, model: Loaded, *, optimise: bool = False) -> Runner:
        """Return a session of a model as it was read."""
        if model.path is not None:
            return self._session(str(model.path), model.name, None, optimise)
        return self.of_proto(model.proto, model.folder, model.name, optimise=optimise)

    def of_proto(
        self, proto: ModelProto, folder: Path | None, name: str, *, optimise: bool = False
    ) -> Runner:
        """Return a session of a model in memory whose external data lies in `folder`."""
        return self._session(proto.SerializeToString(), name, folder, optimise)

    def _session(self, model: str | bytes, name: str, folder: Path | None, on: bool) -> Runner:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if on else level.ORT_DISABLE_ALL
        options.use_deterministic_compute = True
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        if folder is not None:
            options.add_session_config_entry(_FOLDER, os.path.abspath(folder))
        cpu = PROVIDERS["cpu"]
        chosen = [PROVIDERS[self._provider], *([cpu] if self._provider != "cpu" else [])]
        try:
            session = ort.InferenceSession(model, options, providers=chosen)
        except Exception as error:  # its error types are not exported
            raise ModelError(f"ONNX Runtime refuses it: {_reason(error)}", name) from error
        if PROVIDERS[self._provider][0] not in session.get_providers():
            raise OptionError(f"the provider `{self._provider}` does not start", "--provider")
        return Runner(session, name)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.rsplit("] : ", 1)[-1][:300] or type(error).__name__
