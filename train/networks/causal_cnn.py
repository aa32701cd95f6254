"""Causal CNN, which hears frames as they come, and no room.

Convolutions over log-mel bands look back only; statistics go from the onset on.

They see each band and how it changes. What they find is averaged over the bands, so that it counts wherever in
frequency a voice has it; a bias for each band lets them know where they are.

It answers for every block, at the same cost however long the utterance, because what it looks back at is kept: the last
rows of each convolution's input, and the running sums of the statistics. A block that is all zeros (the padding in
front of an utterance) leaves no trace, so that a padded window and the blocks one after the other are the same
function.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from edge.features.mfcc import dct_matrix
from edge.features.normalize import Normalization
from edge.model.embedding import MOMENTS
from train.networks.registry import StepNetwork
from train.sizes import CausalCnn

STEP_FRAMES = 4  # a block of the sensor: no other step fits the strides
_DELTA_FRAMES = 2  # over which a band's change is taken: 40 ms
_VARIANCE_FLOOR = 1e-4
_CEILING = 6.0  # of ReLU: few values are above it, and int8 halves its steps; half as far from Keras


def build(settings: CausalCnn, *, frames: int | None, coefficients: int, labels: int) -> keras.Model:
    """Return a model of (batch, frames, coefficients) to logits (batch, frames // STEP_FRAMES, labels)."""
    inputs = keras.Input((frames, coefficients), name="mfcc")
    back = layers.Dense(coefficients, use_bias=False, trainable=False, dtype="float32", name="log_mel")
    hidden = _WithDeltas(dtype="float32", name="deltas")(ops.expand_dims(back(inputs), -1))
    back.set_weights([dct_matrix(coefficients, coefficients)])
    heard = _Heard(dtype="float32", name="heard")(
        layers.Reshape((-1, STEP_FRAMES * coefficients), dtype="float32", name="blocks")(inputs)
    )
    rows = STEP_FRAMES
    for number, (filters, kernel, strides) in enumerate(_shapes(settings), start=1):
        hidden = layers.ZeroPadding2D(((kernel - strides[0], 0), _sides(kernel)), name=f"past_{number}")(hidden)
        hidden = layers.Conv2D(filters, kernel, strides=strides, use_bias=False, name=f"conv_{number}")(hidden)
        hidden = layers.BatchNormalization(momentum=settings.momentum, name=f"norm_{number}")(hidden)
        hidden = _BandBias(name=f"bands_{number}")(hidden)
        hidden = layers.ReLU(_CEILING, name=f"relu_{number}")(hidden)
        rows //= strides[0]
        hidden = _Silence(rows, name=f"silence_{number}")([hidden, heard])
    hidden = ops.mean(hidden, axis=2)
    hidden = _Statistics(dtype="float32", name="statistics")([hidden, heard])  # sums over seconds
    hidden = layers.Dropout(settings.dropout, name="dropout_1")(hidden)
    hidden = layers.Dense(settings.dense, activation="relu", name="dense")(hidden)
    hidden = layers.Dropout(settings.dropout, name="dropout_2")(hidden)
    return keras.Model(inputs, layers.Dense(labels, dtype="float32", name="logits")(hidden), name="causal_cnn")


def adapt(model: keras.Model, normalization: Normalization) -> None:
    """Let the network undo the standardization of each coefficient, too, so that it sees log-mel bands as they are.

    All of them together have variance 1.
    """
    std = np.array(normalization.std, np.float32)
    back = dct_matrix(len(std), len(std)) * std[:, None] / np.sqrt(np.mean(std**2))
    model.get_layer("log_mel").set_weights([back])


def step(model: keras.Model, *, frames: int) -> StepNetwork:
    """Return the network for one block, its state outside. Raises ValueError for another number of frames."""
    if frames != STEP_FRAMES:
        raise ValueError(f"a step of {frames} frames, the network takes {STEP_FRAMES}")
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    kernels = [ops.convert_to_numpy(layer.kernel) for layer in convolutions]
    kernels[0] = _without_deltas(kernels[0])
    biases = [ops.convert_to_numpy(model.get_layer(f"bands_{number + 1}").bias) for number in range(len(convolutions))]
    bands, channels = model.input_shape[-1], 1
    states: dict[str, tuple[int, ...]] = {}
    for number, (layer, kernel) in enumerate(zip(convolutions, kernels, strict=True), start=1):
        states[f"past_{number}"] = (1, len(kernel) - layer.strides[0], bands, channels)
        bands, channels = -(-bands // layer.strides[1]), layer.filters
    # How many blocks, their sum and the sum of their squares: one state, as each costs time to hand in and out. The
    # pasts are states of their own, because int8 would give parts of one tensor one scale.
    states[MOMENTS] = (1, 1 + 2 * channels)

    def call(mfcc, **carried):
        following: dict[str, Any] = {}
        hidden = ops.expand_dims(model.get_layer("log_mel")(mfcc), -1)
        for number, (layer, kernel, bias) in enumerate(zip(convolutions, kernels, biases, strict=True), start=1):
            past = carried[f"past_{number}"]
            whole = ops.concatenate([past, hidden], axis=1)
            following[f"past_{number}_out"] = whole[:, whole.shape[1] - past.shape[1] :]
            padded = ops.pad(whole, ((0, 0), (0, 0), _sides(layer.kernel_size[1]), (0, 0)))
            hidden = ops.conv(padded, kernel, strides=layer.strides)
            hidden = _biased(model.get_layer(f"norm_{number}")(hidden, training=False), bias)
        hidden = ops.mean(hidden, axis=2)[:, 0]
        moments = carried[MOMENTS] + ops.concatenate([ops.ones((1, 1)), hidden, hidden * hidden], axis=1)
        blocks, total, squares = ops.split(moments, [1, 1 + channels], axis=1)
        hidden = model.get_layer("dense")(_mean_and_spread(blocks, total, squares))
        return hidden, following | {f"{MOMENTS}_out": moments}

    return StepNetwork(states=states, call=call)


def _shapes(settings: CausalCnn) -> list[tuple[int, int, tuple[int, int]]]:
    """Return filters, kernel and strides (time, frequency) of each convolution: together one row per block."""
    time = [2, 2] + [1] * (len(settings.filters) - 2)
    kernels = [5] + [3] * (len(settings.filters) - 1)
    return [
        (filters, kernel, (stride, 2 if number < settings.halvings else 1))
        for number, (filters, kernel, stride) in enumerate(zip(settings.filters, kernels, time, strict=True))
    ]


def _sides(kernel: int) -> tuple[int, int]:
    """Padding in frequency that keeps the bands, or half of them."""
    return (kernel - 1) // 2, (kernel - 1) // 2


def _without_deltas(kernel: np.ndarray) -> np.ndarray:
    """Return the kernel that makes of bands alone what this one makes of bands and deltas: longer by _DELTA_FRAMES."""
    bands, deltas = np.split(kernel, 2, axis=2)
    earlier = ((_DELTA_FRAMES, 0), (0, 0), (0, 0), (0, 0))
    return np.pad(bands + deltas, earlier) - np.pad(deltas, (earlier[0][::-1], *earlier[1:]))


def _biased(hidden, bias: np.ndarray):
    """Return relu6(hidden + bias), cut before as far as no bias reaches: int8 then spends no steps on what ReLU drops.

    relu6 is what a converter lets a convolution do itself, so the cut is one at 0 and 6 of a scaled value.
    """
    reach = float(np.abs(bias).max())
    scale = _CEILING / (_CEILING + 2 * reach)
    return ops.relu6(ops.relu6((hidden + reach) * scale) * (1 / scale) + (bias - reach))


def _mean_and_spread(blocks, total, squares):
    mean = total / blocks
    return ops.concatenate([mean, ops.sqrt(ops.relu(squares / blocks - mean * mean) + _VARIANCE_FLOOR)], axis=-1)


@keras.saving.register_keras_serializable("roomtone")
class _Heard(layers.Layer):
    """1.0 for each block (batch, blocks, n) that holds anything: (batch, blocks, 1)."""

    def call(self, blocks):
        return ops.cast(ops.any(ops.not_equal(blocks, 0.0), axis=-1, keepdims=True), "float32")


@keras.saving.register_keras_serializable("roomtone")
class _WithDeltas(layers.Layer):
    """Bands (batch, frames, bands, 1), and beside each its change: (batch, frames, bands, 2)."""

    def call(self, rows):
        before = ops.pad(rows, ((0, 0), (_DELTA_FRAMES, 0), (0, 0), (0, 0)))[:, :-_DELTA_FRAMES]
        return ops.concatenate([rows, rows - before], axis=-1)


@keras.saving.register_keras_serializable("roomtone")
class _BandBias(layers.Layer):
    """A learned bias for each band and channel of (batch, rows, bands, channels)."""

    multiply_adds = 0  # see train/fitting/costs.py

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.bias = self.add_weight(name="bias", shape=shape[2:], initializer="zeros")

    def call(self, rows):
        return rows + ops.cast(self.bias, rows.dtype)


@keras.saving.register_keras_serializable("roomtone")
class _Silence(layers.Layer):
    """Rows (so many per block) of blocks in which nothing is heard, set to zero."""

    def __init__(self, rows_per_block: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.rows_per_block = rows_per_block

    def call(self, inputs):
        rows, heard = inputs
        return rows * ops.cast(ops.repeat(heard, self.rows_per_block, axis=1)[..., None], rows.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"rows_per_block": self.rows_per_block}


@keras.saving.register_keras_serializable("roomtone")
class _Statistics(layers.Layer):
    """Mean and standard deviation over all blocks heard so far: (batch, blocks, 2 * channels)."""

    def call(self, inputs):
        rows, heard = inputs
        blocks = ops.maximum(ops.cumsum(heard, axis=1), 1.0)
        return _mean_and_spread(blocks, ops.cumsum(rows * heard, axis=1), ops.cumsum(ops.square(rows) * heard, axis=1))
