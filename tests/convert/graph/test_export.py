"""Every network, form and precision as a graph, against Keras itself; the step form against the whole sequence."""

import json

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from convert.graph import export
from convert.graph.ops import Graph, refuse_unsupported
from convert.graph.slim import slim
from edge.features.mfcc import MfccSpec, mfcc
from edge.features.normalize import Normalization
from edge.sound.recording import load_recording
from tests.support.lab import NETWORKS
from tests.support.runtimes import run_python
from tests.support.sounds import chirp, corpus_clips
from train.data.windows import standardized, windowed
from train.networks import registry
from train.sizes import Networks

FRAMES, COEFFICIENTS, LABELS = 24, 40, 7
RECURRENT = ("lstm", "gru", "rnn")
STEPS = tuple(name for name in (*registry.NAMES, "speech") if hasattr(registry.module(name), "step"))
WINDOWS = tuple(name for name in registry.NAMES if registry.step_frames(name) is None)
# How far from Keras; int8 with networks this small and untrained is far in the unit of their even probabilities.
TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "dynamic": 0.02, "int8": 0.06}
LOADER = """
import json, sys
import numpy as np
from pathlib import Path
from tflite_runtime.interpreter import Interpreter
found = {}
for path in sorted(Path(sys.argv[1]).glob("*.tflite")):
    run = Interpreter(model_content=path.read_bytes()).get_signature_runner()
    inputs = np.load(path.with_suffix(".npz"))
    found[path.stem] = run(**{name: inputs[name] for name in inputs.files})["probs"][0].tolist()
print(json.dumps(found))
"""


def network(name: str, *, frames: int | None = FRAMES, settings=None) -> keras.Model:
    keras.utils.set_random_seed(5)
    settings = settings or getattr(NETWORKS, name)
    model = registry.module(name).build(settings, frames=frames, coefficients=COEFFICIENTS, labels=LABELS)
    last = model.layers[-1]
    last.set_weights([weight * 3 for weight in last.get_weights()])
    return model


def utterances(count: int, frames: int = 60) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((frames, COEFFICIENTS)).astype(np.float32) for _ in range(count)]


def graph_of(
    model: keras.Model, name: str, form: str, precision: str, *, step_frames: int = 4, embeds: bool = False
) -> bytes:
    if form == "step":
        step = registry.module(name).step(model, frames=step_frames)
        endpoint = export.step_endpoint(model, step, frames=step_frames, embeds=embeds)
        samples = export.step_samples(*endpoint, utterances(8)) if precision == "int8" else []
    else:
        endpoint = export.window_endpoint(model, frames=FRAMES, embeds=embeds)
        samples = export.window_samples(windowed(utterances(40), FRAMES)) if precision == "int8" else []
    return slim(export.converted(model, *endpoint, precision=precision, samples=samples))


def softmaxes_of(model: keras.Model, clips: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.softmax(registry.final(model(clips, training=False))))


def softmax_of(model: keras.Model, frames: np.ndarray) -> np.ndarray:
    return softmaxes_of(model, frames[None])[0]


def rolled(graph: bytes, frames: np.ndarray, step_frames: int, output: str = "probs") -> list[np.ndarray]:
    """An output of the graph at every block's end, its states carried by hand."""
    run = Interpreter(model_content=graph).get_signature_runner()
    shapes = {name: detail["shape"] for name, detail in run.get_input_details().items() if name != "mfcc"}
    states, found = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, []
    for start in range(0, len(frames) - step_frames + 1, step_frames):
        outputs = run(mfcc=frames[None, start : start + step_frames], **states)
        states = {name: outputs[f"{name}_out"].copy() for name in states}
        found.append(outputs[output][0].copy())
    return found


CASES = [
    *((name, "window", "float32") for name in WINDOWS),
    *((name, "step", "float32") for name in STEPS),
    *(("cnn", "window", precision) for precision in ("float16", "dynamic", "int8")),
    *(("ann", "window", "int8"),),
    *((name, "step", "int8") for name in STEPS),
    *(("gru", "step", precision) for precision in ("float16", "dynamic")),
]


class Made(dict[tuple[str, str, str], tuple[keras.Model, bytes]]):
    """Networks and their graphs by case, each made when it is first asked for."""

    def __missing__(self, case: tuple[str, str, str]) -> tuple[keras.Model, bytes]:
        model = network(case[0])
        self[case] = model, graph_of(model, *case)
        return self[case]


@pytest.fixture(scope="module")
def graphs() -> Made:
    return Made()


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_it_says_what_keras_says(graphs, case):
    name, form, precision = case
    model, graph = graphs[case]
    refuse_unsupported(Graph(graph))
    whole = network(name, frames=None) if form == "step" else model
    run = Interpreter(model_content=graph).get_signature_runner() if form == "window" else None
    clips = np.stack(utterances(6, FRAMES))
    for frames, expected in zip(clips, softmaxes_of(whole, clips), strict=True):
        found = rolled(graph, frames, 4)[-1] if form == "step" else run(mfcc=frames[None])["probs"][0]
        np.testing.assert_allclose(found, expected, atol=TOLERANCE[precision])


@pytest.mark.parametrize(("name", "form"), [("cnn", "window"), ("gru", "step")])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_embedding_is_what_keras_s_last_layer_sees(name, form, precision):
    model = network(name)
    graph = graph_of(model, name, form, precision, embeds=True)
    frames = utterances(1, FRAMES)[0]
    run = Interpreter(model_content=graph).get_signature_runner()
    if form == "window":
        said = run(mfcc=frames[None])
    else:
        said = {
            "probs": rolled(graph, frames, 4)[-1][None],
            "embedding": rolled(graph, frames, 4, "embedding")[-1][None],
        }
    seen = keras.Model(model.inputs, model.layers[-1].input)(frames[None], training=False)
    reach = float(np.abs(seen).max())
    np.testing.assert_allclose(said["embedding"] / reach, seen / reach, atol=1e-4 if precision == "float32" else 0.1)
    kernel, bias = model.layers[-1].get_weights()
    logits = said["embedding"][0] @ kernel + bias
    probs = np.exp(logits - logits.max())
    np.testing.assert_allclose(said["probs"][0], probs / probs.sum(), atol=TOLERANCE[precision])


def test_the_other_runtime_says_the_same(graphs, tmp_path):
    expected = {}
    for case in CASES:
        graph = graphs[case][1]
        run = Interpreter(model_content=graph).get_signature_runner()
        rng = np.random.default_rng(2)
        shapes = {name: detail["shape"] for name, detail in run.get_input_details().items()}
        inputs = {name: rng.standard_normal(shape).astype(np.float32) * 0.5 for name, shape in shapes.items()}
        stem = "-".join(case)
        (tmp_path / f"{stem}.tflite").write_bytes(graph)
        np.savez(tmp_path / f"{stem}.npz", **inputs)
        expected[stem] = case[2], run(**inputs)["probs"][0].tolist()
    done = run_python("tflite-runtime", ["-c", LOADER, str(tmp_path)])
    assert done.returncode == 0, done.stderr[-2_000:]
    found = json.loads(done.stdout)
    assert set(found) == set(expected)
    for stem, (precision, probs) in expected.items():
        np.testing.assert_allclose(found[stem], probs, atol=TOLERANCE[precision], err_msg=stem)


@pytest.mark.parametrize("case", [case for case in CASES if case[2] == "int8"], ids="-".join)
def test_int8_means_every_product(graphs, case):
    graph = Graph(graphs[case][1])
    for name in ("CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL"):
        assert graph.operator_types(name) <= {"INT8"}, name
    run = Interpreter(model_content=graphs[case][1]).get_signature_runner()
    for detail in (*run.get_input_details().values(), *run.get_output_details().values()):
        assert detail["dtype"] == np.float32


def test_unrolled_steps_share_their_weights(graphs):
    model = network("lstm")
    one, eight = (Graph(graph_of(model, "lstm", "step", "int8", step_frames=frames)) for frames in (1, 8))
    assert eight.weight_bytes() - one.weight_bytes() < 0.2 * one.weight_bytes()


def test_the_temperature_is_folded_into_the_last_layer():
    model = network("cnn")
    frames = utterances(1, FRAMES)[0]
    logits = keras.ops.convert_to_numpy(model(frames[None]))[0]
    export.fold_temperature(model, 2.5)
    expected = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum()
    np.testing.assert_allclose(softmax_of(model, frames), expected, rtol=1e-5)


def test_a_network_that_does_not_end_in_logits_is_refused():
    model = keras.Sequential([keras.Input((FRAMES, COEFFICIENTS)), keras.layers.GlobalAveragePooling1D()])
    with pytest.raises(ValueError, match="expected a linear Dense of logits"):
        export.fold_temperature(model, 2.0)


@pytest.mark.parametrize("step_frames", [1, 4, 8])
@pytest.mark.parametrize("name", RECURRENT)
def test_steps_equal_the_whole_sequence_at_block_ends(name, step_frames):
    _assert_steps_equal_whole(name, getattr(NETWORKS, name), step_frames, utterances(2, 45))


@pytest.mark.slow
@pytest.mark.parametrize("step_frames", [1, 4, 8])
@pytest.mark.parametrize("name", RECURRENT)
def test_steps_equal_the_whole_sequence_on_real_clips(name, step_frames):
    spec = MfccSpec()
    frames = [mfcc(load_recording(path), spec) for path in corpus_clips(100)]
    together = np.concatenate(frames)
    normalization = Normalization(kind="global", mean=together.mean(axis=0).tolist(), std=together.std(axis=0).tolist())
    _assert_steps_equal_whole(name, getattr(Networks(), name), step_frames, standardized(frames, normalization))


def _assert_steps_equal_whole(name: str, settings, step_frames: int, clips: list[np.ndarray]) -> None:
    every_prefix = _every_prefix(network(name, frames=None, settings=settings))
    graph = graph_of(network(name, settings=settings), name, "step", "float32", step_frames=step_frames)
    for frames in clips:
        found = rolled(graph, frames, step_frames)
        assert len(found) == len(frames) // step_frames
        expected = every_prefix(frames)[step_frames - 1 :: step_frames]
        np.testing.assert_allclose(found, expected[: len(found)], atol=1e-5)


def _every_prefix(whole: keras.Model):
    """Return a function of frames to the whole-sequence answer at each of them.

    Keras's own layers on the whole sequence, with the last recurrent layer asked for all its outputs: what it says of a
    prefix is its output at the prefix's end (tested below).
    """
    import tensorflow as tf

    recurrent = [layer for layer in whole.layers if hasattr(layer, "cell")]
    recurrent[-1].return_sequences = True
    inputs = keras.Input((None, COEFFICIENTS))
    hidden = inputs
    for layer in whole.layers[1:]:
        if not isinstance(layer, keras.layers.Masking):
            hidden = layer(hidden)
    sequence = tf.function(keras.Model(inputs, keras.ops.softmax(hidden)), reduce_retracing=True)
    return lambda frames: sequence(frames[None]).numpy()[0]


def test_the_oracle_of_prefixes_is_keras_on_prefixes():
    frames = utterances(1, 20)[0]
    every = _every_prefix(network("gru", frames=None))(frames)
    whole = network("gru", frames=None)
    for end in (1, 7, 20):
        np.testing.assert_allclose(every[end - 1], softmax_of(whole, frames[:end]), atol=1e-6)


def test_real_speech_like_sound_goes_through(graphs):
    _, graph = graphs["gru", "step", "float32"]
    frames = mfcc(chirp(seconds=1.0), MfccSpec())
    normalization = Normalization(kind="running", mean=frames.mean(axis=0).tolist(), std=[20.0] * COEFFICIENTS)
    frames = standardized([frames], normalization)[0]
    np.testing.assert_allclose(
        rolled(graph, frames, 4)[-1], softmax_of(network("gru", frames=None), frames[: len(frames) // 4 * 4]), atol=1e-5
    )
