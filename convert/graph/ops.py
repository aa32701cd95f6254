"""What is inside a graph: its operators and their versions, its multiply-adds; and what the sensor could not load.

The oldest supported runtime is tflite-runtime 2.14.0. tflite_runtime_2_14.json holds, for each of its operators, the
lowest and highest version it accepts, found by asking it (tests/convert/graph/test_ops.py asks again).
"""

import functools
import json
from collections import Counter
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.errors import ArtifactError

OLDEST_RUNTIME = "tflite-runtime 2.14.0"

# Loaded by the runtimes, but they keep state between calls, so that one utterance would leak into the next; or they
# are the trace of a conversion that lost its weights.
STATEFUL = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE", "HASHTABLE", "RANDOM_UNIFORM"}

# Operators that multiply and add, and whose products are not counted here: no graph of ours has them.
_UNCOUNTED = {
    "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "CONV_3D", "CONV_3D_TRANSPOSE", "IF", "LSTM", "RNN",
    "STABLEHLO_CONVOLUTION", "STABLEHLO_DOT_GENERAL", "SVDF", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
}  # fmt: skip

_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


@functools.cache
def supported() -> dict[str, tuple[int, int]]:
    """Return the lowest and highest version of every operator that the oldest supported runtime has."""
    table = json.loads((Path(__file__).parent / "tflite_runtime_2_14.json").read_text())
    return {name: (low, high) for name, (low, high) in table.items()}


class Graph:
    """A parsed flatbuffer."""

    def __init__(self, data: bytes) -> None:
        self._model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))

    def operators(self) -> Counter[tuple[str, int]]:
        """Return how often each (operator, version) occurs, in all subgraphs; a custom operator by its own name."""
        return Counter(self._named(op) for subgraph in self._model.subgraphs for op in subgraph.operators)

    def multiply_adds(self, *, loop_trips: int = 1) -> int:
        """Return the multiply-adds of one inference: those of convolutions and matrix products, by their shapes.

        The body of a WHILE counts `loop_trips` times: the recurrent networks loop once a frame. Raises ArtifactError
        for an operator whose products are not counted here.
        """
        return self._count(self._model.subgraphs[0], loop_trips)

    def weight_bytes(self) -> int:
        """Return the bytes of all constants, shared ones once."""
        return sum(len(buffer.data) for buffer in self._model.buffers if buffer.data is not None)

    def operator_types(self, name: str) -> set[str]:
        """Return the element types of the outputs of all operators of that name."""
        types = {code: kind for kind, code in vars(schema.TensorType).items() if isinstance(code, int)}
        return {
            types[subgraph.tensors[index].type]
            for subgraph in self._model.subgraphs
            for op in subgraph.operators
            if self._named(op)[0] == name
            for index in op.outputs
        }

    def _named(self, op: schema.OperatorT) -> tuple[str, int]:
        code = self._model.operatorCodes[op.opcodeIndex]
        if code.customCode:
            return code.customCode.decode(), code.version
        # Old writers fill the first field only, and new ones cap it at 127.
        return _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)], code.version

    def _count(self, subgraph: schema.SubGraphT, loop_trips: int) -> int:
        total = 0
        for op in subgraph.operators:
            name, _ = self._named(op)
            if name == "WHILE":
                body = self._model.subgraphs[op.builtinOptions.bodySubgraphIndex]
                total += loop_trips * self._count(body, 1)
            elif name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL"):
                shapes = [subgraph.tensors[index].shape for index in (op.inputs[0], op.inputs[1], op.outputs[0])]
                total += _products(name, *(np.array(shape, np.int64) for shape in shapes))
            elif name in _UNCOUNTED:
                raise ArtifactError(f"graph: {name}: what it costs is not known: count it in convert/graph/ops.py")
        return total


def _products(name: str, data: np.ndarray, weights: np.ndarray, output: np.ndarray) -> int:
    per_output = {
        "CONV_2D": lambda: weights[1:].prod(),  # (out, height, width, in)
        "DEPTHWISE_CONV_2D": lambda: weights[1:3].prod(),  # (1, height, width, out)
        "FULLY_CONNECTED": lambda: weights[-1],  # (out, in)
        "BATCH_MATMUL": lambda: data[-1],
    }[name]()
    return int(output.prod() * per_output)


def refuse_unsupported(graph: Graph) -> None:
    """Raise ArtifactError where a graph holds an operator that a supported runtime lacks, or that keeps state."""
    table = supported()
    for name, version in sorted(graph.operators()):
        if name in STATEFUL:
            raise ArtifactError(f"graph: {name}: keeps state or lost its weights; export through a signature instead")
        if name.startswith("Flex"):
            raise ArtifactError(f"graph: {name}: a TensorFlow operator, which no runtime of the sensor has")
        if name not in table:
            raise ArtifactError(f"graph: {name}: {OLDEST_RUNTIME} lacks this operator")
        low, high = table[name]
        if not low <= version <= high:
            raise ArtifactError(f"graph: {name} version {version}: {OLDEST_RUNTIME} has versions {low} to {high}")
