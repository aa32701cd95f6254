"""The TFLite interpreter, whichever package brings it: ai-edge-litert, or its predecessor tflite-runtime."""

from typing import Any

from edge.chatter import unheard

try:
    from ai_edge_litert.interpreter import Interpreter

    NAME = "ai-edge-litert"
except ImportError:
    from tflite_runtime.interpreter import Interpreter

    NAME = "tflite-runtime"


def interpreter(graph: bytes) -> Any:
    """Return an allocated interpreter over a graph's bytes (one thread: two measured slower on these small graphs).

    Raises ValueError or RuntimeError if the graph is not one. Only verified bytes may come here: tflite-runtime
    crashes the process on most damaged ones.
    """
    with unheard():  # the runtime's own greeting
        made = Interpreter(model_content=graph, num_threads=1)
        made.allocate_tensors()
    return made
