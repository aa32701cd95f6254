"""Keras to TFLite: a network as one named signature, at a precision. Runs in the child process (worker.py).

What is set here and why, measured with TensorFlow 2.21:
- `ExportArchive` and `from_saved_model(signature_keys=...)` keep names; other ways give unstable ones or no weights.
- Batch 1 and fixed shapes: a batch of None needs Flex operators, which no runtime of the sensor has.
- Per-channel quantization of Dense layers needs FULLY_CONNECTED version 12 in dynamic range, which tflite-runtime 2.14
  lacks.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize

from train.networks.registry import StepNetwork

SIGNATURE = "serve"

# What stays float32 in int8, where every convolution and matrix product has int8 weights, inputs and outputs:
# the statistics of pooling, whose squares would need more than 8 bits (and tflite-runtime 2.14 has no int8 SQRT), and
# the softmax, whose steps of 1/256 would make ties.
FLOAT_OPERATORS = ["MEAN", "SUM", "DIV", "SQUARE", "SQUARED_DIFFERENCE", "SQRT", "RSQRT", "SOFTMAX"]
# In a step network also the arithmetic between the products, which is the carried state's: in int8 the rounding of each
# frame adds up over the utterance. Measured on an LSTM: up to .34 from Keras and .23 between the runtimes, against
# .03 and .02 this way, at the same size and speed.
STATE_OPERATORS = [
    "ADD", "MUL", "SUB", "LOGISTIC", "TANH", "SPLIT", "SPLIT_V", "STRIDED_SLICE", "RESHAPE", "CONCATENATION"
]  # fmt: skip


def fold_temperature(model: keras.Model, temperature: float) -> None:
    """Divide the logits by `temperature`, in the weights of the last layer. Raises ValueError where it has none."""
    last = model.layers[-1]
    if not isinstance(last, keras.layers.Dense) or last.activation is not keras.activations.linear:
        raise ValueError(f"the network ends in {type(last).__name__} {last.name!r}, expected a linear Dense of logits")
    last.set_weights([weight / np.float32(temperature) for weight in last.get_weights()])


def window_endpoint(
    model: keras.Model, *, frames: int, embeds: bool = False
) -> tuple[Callable, list[tf.TensorSpec]]:
    """Return a function of `mfcc` (1, frames, coefficients) to `probs`, and its signature; with `embeds` also to
    `embedding` (1, n), what the last layer makes logits of."""
    hidden = keras.Model(model.inputs, model.layers[-1].input)

    def serve(mfcc):
        return _said(model, hidden(mfcc, training=False), embeds)

    return serve, [tf.TensorSpec((1, frames, model.input_shape[-1]), tf.float32, name="mfcc")]


def step_endpoint(
    model: keras.Model, network: StepNetwork, *, frames: int, embeds: bool = False
) -> tuple[Callable, list[tf.TensorSpec]]:
    """Return a function of `mfcc` (1, frames, coefficients) and the states to `probs` and the next states; with
    `embeds` as above."""

    def serve(mfcc, *states):
        hidden, following = network.call(mfcc, **dict(zip(network.states, states, strict=True)))
        return {**_said(model, hidden, embeds), **following}

    signature = [tf.TensorSpec((1, frames, model.input_shape[-1]), tf.float32, name="mfcc")]
    return serve, signature + [tf.TensorSpec(shape, tf.float32, name=name) for name, shape in network.states.items()]


def utterance_endpoint(model: keras.Model) -> tuple[Callable, list[tf.TensorSpec]]:
    """Return a function of `utterance` (1, functionals + 1) to `probs`, and its signature."""

    def serve(utterance):
        return {"probs": tf.nn.softmax(model(utterance, training=False))}

    return serve, [tf.TensorSpec((1, model.input_shape[-1]), tf.float32, name="utterance")]


def _said(model: keras.Model, hidden: tf.Tensor, embeds: bool) -> dict[str, tf.Tensor]:
    probs = tf.nn.softmax(model.layers[-1](hidden))
    return {"probs": probs, "embedding": hidden} if embeds else {"probs": probs}


def converted(
    model: keras.Model,
    serve: Callable,
    signature: list[tf.TensorSpec],
    *,
    precision: str,
    samples: Sequence[dict[str, np.ndarray]] = (),
) -> bytes:
    """Return the TFLite graph of an endpoint. `samples` (inputs by name) calibrate the ranges of int8."""
    with tempfile.TemporaryDirectory(prefix="roomtone-export-") as folder:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(SIGNATURE, serve, input_signature=signature)
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return _quantized(converter, precision, samples, carries_state=len(signature) > 1)


def _quantized(
    converter: Any, precision: str, samples: Sequence[dict[str, np.ndarray]], *, carries_state: bool
) -> bytes:
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision != "int8":
        return converter.convert()

    def dataset() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        return ((SIGNATURE, sample) for sample in samples)

    converter.representative_dataset = dataset
    converter._experimental_calibrate_only = True
    # The converter's own second half, called by name: only so can operators be named that stay float32.
    return mlir_quantize(
        converter.convert(),
        denylisted_ops=FLOAT_OPERATORS + (STATE_OPERATORS if carries_state else []),
        disable_per_channel_for_dense_layers=True,
    )


def window_samples(windows: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return calibration inputs of a window network from standardized windows (n, frames, coefficients)."""
    return [{"mfcc": window[None]} for window in windows]


def utterance_samples(inputs: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return calibration inputs of a network of utterances from what it is given (n, functionals + 1)."""
    return [{"utterance": given[None]} for given in inputs]


def step_samples(
    serve: Callable, signature: list[tf.TensorSpec], utterances: Sequence[np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Return calibration inputs of a step network: each utterance's blocks with the states the network had there."""
    return [sample for frames in utterances for sample in _rolled(tf.function(serve, signature), signature, frames)]


def _rolled(step: Callable, signature: list[tf.TensorSpec], frames: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    size = signature[0].shape[1]
    states = {spec.name: np.zeros(spec.shape, np.float32) for spec in signature[1:]}
    for start in range(0, len(frames) - size + 1, size):
        block = frames[None, start : start + size]
        yield {"mfcc": block, **states}
        following = step(tf.constant(block), *(tf.constant(state) for state in states.values()))
        states = {name: following[f"{name}_out"].numpy() for name in states}
