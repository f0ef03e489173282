"""ONNX Runtime, strict and silent: no other provider than asked for, every failure one line."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rfponnx.errors import InputError, ModelError, OptionError, RfpError, nearest
from rfponnx.graph.load import load
from rfponnx.runtime.ports import Array, Port, clashing_symbols, port

Provider = str | tuple[str, Mapping[str, Any]]

SHORT = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
LEVELS = {
    "all": "ORT_ENABLE_ALL", "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC", "none": "ORT_DISABLE_ALL",
}  # fmt: skip
BFLOAT16 = 16  # its number in onnx.TensorProto
NO_MEMORY = re.compile(r"bad.?alloc|allocate memory|out of memory|smaller than requested", re.I)


class NoMemory(RfpError):
    """A run needs more memory than there is; fewer samples at a time may do."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a session runs.

    Attributes
    ----------
    providers
        ``cpu``, ``cuda``, or full names, each with options where needed.
    threads
        Of one operator; ``None`` leaves it to the runtime.
    optimisation
        ``all``, ``extended``, ``basic`` or ``none``.
    spinning
        Whether idle threads wait actively, which costs CPU time and saves latency.
    """

    providers: tuple[Provider, ...] = ("cpu",)
    threads: int | None = None
    optimisation: str = "all"
    spinning: bool = True


class Engine:
    """One loaded model.

    Parameters
    ----------
    model
        A path, or the bytes of a model.
    name
        What messages call it.

    Raises
    ------
    ModelError
        It is no model, or none that ONNX Runtime runs.
    OptionError
        A provider that this installation does not have, or that does not start here.
    """

    def __init__(self, model: str | bytes, setting: Setting, name: str) -> None:
        ort = _onnxruntime()
        self.name, self._ort = name, ort
        providers = _providers(setting.providers, ort)
        options = _options(setting, ort)
        with _silent():
            if "CUDAExecutionProvider" in [p for p, _ in providers]:
                getattr(ort, "preload_dlls", lambda: None)()  # since 1.21
            try:
                self._session = ort.InferenceSession(
                    model, options, providers=providers, enable_fallback=0
                )
            except Exception as error:
                raise _load_error(error, model, name, providers) from None
        started = self._session.get_providers()
        for wanted, _ in providers:
            if wanted not in started:
                hint = "see whether its driver and libraries are installed"
                raise OptionError(f"`{_short(wanted)}` does not start here", "--provider", hint)
        self.device = "cuda" if started[0] == SHORT["cuda"] else "cpu"
        self.providers = tuple(_short(p) for p in started)
        self.inputs = tuple(port(v.name, v.type, v.shape) for v in self._session.get_inputs())
        self.outputs = tuple(port(v.name, v.type, v.shape) for v in self._session.get_outputs())

    @property
    def _kinds(self) -> set[str]:
        return {p.dtype for p in (*self.inputs, *self.outputs)}

    @property
    def _holds_text(self) -> bool:
        """Whether there is text, or something that is no tensor, which cannot be bound."""
        return bool(self._kinds & {"", "object"})

    @property
    def _plain(self) -> bool:
        """Whether arrays go in and come out by themselves, without a copy."""
        return self._holds_text or (self.device == "cpu" and "bfloat16" not in self._kinds)

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says about itself."""
        found: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        return found

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output that is a tensor, by name.

        Raises
        ------
        NoMemory
            There is too little memory for so many samples.
        InputError
            The model does not run on these inputs.
        """
        if self._plain:
            with self._failures(feeds):
                arrays = self._session.run(None, feeds)
            named = zip(self.outputs, arrays, strict=True)
            return {p.name: a for p, a in named if isinstance(a, np.ndarray)}
        binding = self._bound(feeds)
        with self._failures(feeds):
            self._session.run_with_iobinding(binding)
            values = zip(self.outputs, binding.get_outputs(), strict=True)
            return {p.name: _array(v, p) for p, v in values}

    def bind(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """Return a call that runs on inputs that are already where they are needed."""
        if self._holds_text:
            return partial(self._session.run, None, feeds)
        binding = self._bound(feeds)

        def call() -> None:
            with self._failures(feeds):
                self._session.run_with_iobinding(binding)
                binding.synchronize_outputs()

        return call

    def _bound(self, feeds: Mapping[str, Array]) -> Any:
        """Bind inputs once on the device; outputs stay there until they are read."""
        binding = self._session.io_binding()
        for p in self.inputs:
            binding.bind_ortvalue_input(p.name, self._value(feeds[p.name], p))
        for p in self.outputs:
            # what NumPy cannot hold is read byte by byte, here
            binding.bind_output(p.name, "cpu" if p.dtype == "bfloat16" else self.device)
        return binding

    def _value(self, array: Array, p: Port) -> Any:
        ort = self._ort
        if p.dtype == "bfloat16":
            return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(_to_bfloat16(array), BFLOAT16)
        return ort.OrtValue.ortvalue_from_numpy(array, self.device)

    @contextlib.contextmanager
    def _failures(self, feeds: Mapping[str, Array]) -> Iterator[None]:
        try:
            yield
        except RfpError:
            raise
        except Exception as error:
            if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
                raise NoMemory(
                    "too little memory for this many samples", self.name, "use a smaller --batch"
                ) from None
            if clash := clashing_symbols(feeds, self.inputs):
                raise InputError(f"the sizes do not agree: {clash}", self.name) from None
            reason, node = explained(str(error))
            what = f"the model does not run on these inputs: {reason}"
            raise InputError(what, node or self.name) from None


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        hint = "pip install 'rfponnx[cpu]' or 'rfponnx[gpu]'"
        raise OptionError(f"ONNX Runtime cannot be imported: {error}", hint=hint) from error
    onnxruntime.set_default_logger_severity(4)  # what it logs, it raises as well
    return onnxruntime


def _providers(wanted: Sequence[Provider], ort: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return full names with their options.

    Raises
    ------
    OptionError
        This build of ONNX Runtime lacks one; the message names what it has.
    """
    available = [p for p in ort.get_available_providers() if "Azure" not in p]  # a web service
    found = []
    for entry in wanted:
        name, options = (entry, {}) if isinstance(entry, str) else entry
        full = SHORT.get(name.lower(), name)
        if full not in available:
            short = [_short(p) for p in available]
            hint = nearest(name, short) or f"available: {', '.join(short)}"
            if full == SHORT["cuda"]:
                hint = f"available: {', '.join(short)}; install 'rfponnx[gpu]' for cuda"
            raise OptionError(f"no provider `{name}`", "--provider", hint)
        found.append((full, dict(options)))
    return found


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider").lower()


def _options(setting: Setting, ort: Any) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if setting.threads is not None:
        if setting.threads < 1:
            raise OptionError(f"{setting.threads} threads", "--threads", "give 1 or more")
        options.intra_op_num_threads = setting.threads
    if not setting.spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if setting.optimisation not in LEVELS:
        hint = f"it can be {', '.join(LEVELS)}"
        raise OptionError(f"no level `{setting.optimisation}`", "optimisation", hint)
    level = getattr(ort.GraphOptimizationLevel, LEVELS[setting.optimisation])
    options.graph_optimization_level = level
    return options


def _load_error(
    error: Exception, model: str | bytes, name: str, providers: Sequence[tuple[str, Any]]
) -> RfpError:
    """Say what is wrong with a file, in our own words where we know them."""
    try:
        load(model)
    except RfpError as known:
        return known
    reason, node = explained(str(error))
    if NO_MEMORY.search(str(error)):
        return ModelError("too little memory to load it", name)
    where = f"{name}: {node}" if node else name
    on = ", ".join(_short(p) for p, _ in providers)
    return ModelError(f"ONNX Runtime ({on}) does not load it: {reason}", where)


def explained(message: str) -> tuple[str, str]:
    """Return what a message of ONNX Runtime says, and the node it names."""
    node = re.search(r"running (\w+) node\. Name:'([^']*)'", message)
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", message)
    text = text.rsplit("Status Message: ", 1)[-1]
    text = re.sub(r"^Load model from .*? failed:", "", text)
    text = re.sub(r"^Exception during (loading|initialization): ", "", text)
    text = re.sub(r"/\S+\.(cc|h|cu|cuh):\d+ ", "", text)  # where in the runtime's own sources
    text = " ".join(text.split()) or "it gives no reason"
    short = text if len(text) < 240 else text[:237] + "..."
    return short.rstrip("."), f"node `{node[2]}` ({node[1]})" if node else ""


def _array(value: Any, p: Port) -> Array:
    if p.dtype != "bfloat16":
        found: Array = value.numpy()
        return found
    # NumPy has no bfloat16: read the two bytes of each and widen them, which is exact
    shape = value.shape()
    count = int(np.prod(shape, dtype=np.int64))
    raw = (ctypes.c_uint16 * count).from_address(value.data_ptr()) if count else ()
    upper = np.array(raw, np.uint16).astype(np.uint32) << 16
    return upper.view(np.float32).reshape(shape)


def _to_bfloat16(array: Array) -> Array:
    """Return the upper halves of float32 numbers, rounded to nearest even."""
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what the runtime's Python layer prints off our own output."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(action="ignore"),
    ):
        yield
