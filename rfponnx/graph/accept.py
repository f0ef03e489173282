"""What ONNX Runtime and the checker say of a model, asked about a copy without its weights.

Loading such an outline costs milliseconds whatever the size of the weights, so it is done for
every model: a broken file is refused in the words of the runtime that would refuse it later, and
an overlay that would not load is never written.  Only if the outline is refused is the file
itself loaded, since a few kernels insist on weights that are stored; its word is the last.
"""

from __future__ import annotations

import re

import onnx
from onnx import ModelProto

from rfponnx.errors import InternalError, ModelError, RfpError
from rfponnx.graph.graph import Graph
from rfponnx.graph.load import Loaded
from rfponnx.graph.prepare import check_opset, outline
from rfponnx.graph.shapes import Shape
from rfponnx.graph.skeleton import read_dims

#: What a library can add to ONNX Runtime, or another provider has: no fault of the model.
_ELSEWHERE = re.compile(r"not a registered function/op|NOT_IMPLEMENTED|Could not find an impl")


def check_loads(loaded: Loaded) -> None:
    """Refuse a model that ONNX Runtime does not load.

    Models with operators that neither ONNX nor ONNX Runtime defines pass: where they are needed
    they are refused by name, and elsewhere they are left alone.

    Raises
    ------
    ModelError
        In the words of ONNX Runtime.
    """
    reason = refusal(outline(loaded.proto).SerializeToString())
    if reason and loaded.path is not None:
        reason = refusal(str(loaded.path))
    elif reason and loaded.folder is None:
        reason = refusal(loaded.proto.SerializeToString())
    if reason:
        check_opset(loaded)  # says it better
    if reason and not _ELSEWHERE.search(reason):
        hint = "export the model again"
        raise ModelError(f"ONNX Runtime does not load it: {_words(reason)}", loaded.name, hint)


def check_overlay(model: ModelProto, graph: Graph) -> None:
    """Refuse to hand out an overlay that the checker or ONNX Runtime minds, but not its primal.

    Parameters
    ----------
    model
        The primal with its overlay.
    graph
        The primal.

    Raises
    ------
    ModelError
        There is such a complaint, and the primal declares an output as what it is not.
    InternalError
        There is such a complaint.
    """
    name = graph.prepared.loaded.name
    light = outline(model)
    primals = outline(graph.prepared.loaded.proto), outline(graph.proto)
    complaint = _complaint(light)
    # a size of an output that is declared wrongly shows only beside what is made of it
    if complaint and not any(map(_complaint, primals)) and _complaint(_without_sizes(light, graph)):
        raise _fault(f"the checker refuses the result: {_words(complaint)}", graph, name)
    reason = refusal(light.SerializeToString())
    if reason and not any(refusal(primal.SerializeToString()) for primal in primals):
        raise _fault(f"ONNX Runtime does not load the result: {_words(reason)}", graph, name)


def refusal(model: str | bytes) -> str:
    """Return why ONNX Runtime does not load a model; empty where it does, or is not installed."""
    try:
        import onnxruntime as ort
    except ImportError:
        return ""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        # without the fallback, whose messages go to standard output
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except UnicodeDecodeError:
        return "a name in it is not UTF-8 text"
    except Exception as error:  # its error types are not exported
        return str(error) or type(error).__name__
    return ""


def _without_sizes(light: ModelProto, graph: Graph) -> ModelProto:
    """Return an outline in which the original's outputs declare no more than their ranks."""
    result = ModelProto()
    result.CopyFrom(light)
    outputs = (value for value in result.graph.output if value.name in graph.outputs)
    for value in (*outputs, *result.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    return result


def _complaint(light: ModelProto) -> str:
    try:
        onnx.checker.check_model(light, full_check=True)
    except Exception as error:  # the C++ side raises whatever it likes
        return str(error) or type(error).__name__
    return ""


def _fault(what: str, graph: Graph, name: str) -> RfpError:
    for value in graph.proto.graph.output:
        known, dims = graph.shape(value.name), read_dims(value.type.tensor_type)
        pairs = zip(known or (), dims or (), strict=False)
        if any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs):
            shown = f"output `{value.name}` is declared as {_shape(dims)} but is {_shape(known)}"
            return ModelError(shown, name, "correct the declaration")
    return InternalError(what, name, "if the model itself runs, please report it")


def _shape(dims: Shape | None) -> str:
    return f"[{', '.join('?' if d is None else str(d) for d in dims or ())}]"


def _words(message: str) -> str:
    """Return what a message says, without codes and places in foreign sources."""
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", message)
    text = re.sub(r"^(Load model from .*? failed:|Exception during \w+: )", "", text)
    text = re.sub(r"/?\S+\.(cc|h):\d+:? ?", "", text)
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:297]}..."
