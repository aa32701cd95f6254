"""What is inside a graph, against the runtimes themselves and counts by hand."""

import json

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from convert.graph.ops import Graph, refuse_unsupported, supported
from edge.errors import ArtifactError
from edge.model.artifact import read_artifact
from tests.support.artifacts import DEFAULT, STEP, STEP_INT8, WINDOW
from tests.support.runtimes import run_python

CODES = {name: code for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
LOADER = """
import json, sys
from pathlib import Path
from tflite_runtime.interpreter import Interpreter
loads = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        Interpreter(model_content=path.read_bytes())
        loads[path.name] = True
    except ValueError:
        loads[path.name] = False
print(json.dumps(loads))
"""


def graph_with(name: str, version: int, *, custom: str | None = None) -> bytes:
    """Return a graph that names one operator and does nothing: a runtime looks it up when it loads."""
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = CODES[name], min(CODES[name], 127), version
    code.customCode = custom
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [], []
    subgraph = schema.SubGraphT()
    subgraph.tensors, subgraph.inputs, subgraph.outputs, subgraph.operators = [], [], [], [operator]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [subgraph], [schema.BufferT()]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_the_table_of_the_oldest_runtime_is_what_it_says_itself(tmp_path):
    for name, (low, high) in supported().items():
        for version in {low, high, high + 1}:
            (tmp_path / f"{name}-{version}").write_bytes(_without_operator(graph_with(name, version)))
    for name in set(CODES) - set(supported()) - {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}:
        (tmp_path / f"{name}-1").write_bytes(_without_operator(graph_with(name, 1)))
    done = run_python("tflite-runtime", ["-c", LOADER, str(tmp_path)])
    loads = json.loads(done.stdout)
    wrong = []
    for file, loaded in loads.items():
        name, _, version = file.rpartition("-")
        low, high = supported().get(name, (1, 0))
        if loaded != (low <= int(version) <= high):
            wrong.append(file)
    assert not wrong
    assert len(loads) > 300


def _without_operator(graph: bytes) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(graph, 0))
    model.subgraphs[0].operators = []
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (graph_with("CUSTOM", 1, custom="FlexTensorListReserve"), "FlexTensorListReserve: a TensorFlow operator"),
        (graph_with("CUSTOM", 1, custom="MyOwn"), "MyOwn: tflite-runtime 2.14.0 lacks"),
        (graph_with("VAR_HANDLE", 1), "VAR_HANDLE: keeps state"),
        (graph_with("READ_VARIABLE", 1), "READ_VARIABLE: keeps state"),
        (graph_with("FULLY_CONNECTED", 12), "FULLY_CONNECTED version 12: tflite-runtime 2.14.0 has versions 1 to 10"),
        (graph_with("STABLEHLO_ADD", 1), "STABLEHLO_ADD: tflite-runtime 2.14.0 lacks"),
    ],
)
def test_what_a_sensor_could_not_load_is_refused(graph, message):
    with pytest.raises(ArtifactError, match=message):
        refuse_unsupported(Graph(graph))


@pytest.mark.parametrize("path", [WINDOW, STEP, STEP_INT8, DEFAULT], ids=lambda path: path.stem)
def test_artifacts_pass(path):
    refuse_unsupported(Graph(read_artifact(path).graph))


def test_multiply_adds_are_those_counted_by_hand():
    # 40 frames x 40: convolutions 3x3 of 1 to 4 and, at half the size, 4 to 8; Dense 8 to 8, 8 to 7.
    assert Graph(read_artifact(WINDOW).graph).multiply_adds() == 40 * 40 * 9 * 4 + 20 * 20 * 9 * 4 * 8 + 8 * 8 + 8 * 7
    # 4 frames of an LSTM of 8 units on 40 coefficients; Dense 8 to 8, 8 to 7.
    assert Graph(read_artifact(STEP).graph).multiply_adds() == 4 * (40 + 8) * 4 * 8 + 8 * 8 + 8 * 7
    # The same for a GRU, quantized.
    assert Graph(read_artifact(STEP_INT8).graph).multiply_adds() == 4 * (40 + 8) * 3 * 8 + 8 * 8 + 8 * 7


def test_an_operator_whose_products_nobody_counts_is_refused():
    with pytest.raises(ArtifactError, match=r"TRANSPOSE_CONV: what it costs is not known: .* convert/graph/ops.py"):
        Graph(graph_with("TRANSPOSE_CONV", 1)).multiply_adds()
