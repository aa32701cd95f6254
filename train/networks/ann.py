"""ANN: Dense layers on the time mean of the coefficients; padding does not count in the mean.

Noise on the mean in training is ours: 40 numbers a clip are soon known by heart. Measured on TESS `random`, two seeds,
validation: cross-entropy .05 without it, .005 with a deviation of 0.2.
"""

import keras
from keras import layers, ops

from train.networks.registry import StepNetwork
from train.sizes import Ann


def build(settings: Ann, *, frames: int | None, coefficients: int, labels: int) -> keras.Model:
    """Return a model of (batch, frames, coefficients) to logits."""
    inputs = keras.Input((frames, coefficients), name="mfcc")
    hidden = layers.GlobalAveragePooling1D(name="mean")(layers.Masking()(inputs))
    if settings.noise:
        hidden = layers.GaussianNoise(settings.noise, name="noise")(hidden)
    for number, units in enumerate(settings.units, start=1):
        hidden = layers.Dense(units, activation="relu", name=f"dense_{number}")(hidden)
        if settings.dropout:
            hidden = layers.Dropout(settings.dropout, name=f"dropout_{number}")(hidden)
    return keras.Model(inputs, layers.Dense(labels, name="logits")(hidden), name="ann")


def step(model: keras.Model, *, frames: int) -> StepNetwork:
    """Return the network with the sum and the number of frames as its state."""
    coefficients = model.input_shape[-1]
    head = [layer for layer in model.layers[:-1] if isinstance(layer, layers.Dense)]

    def call(mfcc, total, count):
        total = total + ops.sum(mfcc, axis=1)
        count = count + float(frames)
        hidden = total / count
        for layer in head:
            hidden = layer(hidden)
        return hidden, {"total_out": total, "count_out": count}

    return StepNetwork(states={"total": (1, coefficients), "count": (1, 1)}, call=call)
