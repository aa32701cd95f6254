"""The network of utterances: functionals against a room, through several small networks side by side.

Networks that begin otherwise err otherwise; the mean of what they say is right more often than any of them.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from train.sizes import Utterance


def build(settings: Utterance, *, inputs: int, labels: int) -> keras.Model:
    """Return the networks for training: (batch, inputs) to the logits of each (batch, members, labels)."""
    given = keras.Input((inputs,), name="utterance")
    said = []
    for member in range(1, settings.members + 1):
        hidden = layers.Dropout(settings.dropout_inputs, name=f"dropout_inputs_{member}")(given)
        hidden = layers.Dense(settings.units, activation="relu", name=f"dense_{member}")(hidden)
        hidden = layers.Dropout(settings.dropout, name=f"dropout_{member}")(hidden)
        said.append(layers.Dense(labels, name=f"logits_{member}")(hidden))
    return keras.Model(given, ops.stack(said, axis=1), name="utterance")


def together(model: keras.Model, settings: Utterance) -> keras.Model:
    """Return what is put to use: (batch, inputs) to the mean of the networks' logits (batch, labels), as one."""
    members = range(1, settings.members + 1)
    inputs = keras.Input(model.input_shape[1:], name="utterance")
    hidden = layers.Dense(settings.members * settings.units, activation="relu", name="dense")
    logits = layers.Dense(model.output_shape[-1], name="logits")
    one = keras.Model(inputs, logits(hidden(inputs)), name="utterance")
    kernels, biases = _weights(model, [f"dense_{member}" for member in members])
    hidden.set_weights([np.concatenate(kernels, axis=1), np.concatenate(biases)])
    kernels, biases = _weights(model, [f"logits_{member}" for member in members])
    logits.set_weights([np.concatenate(kernels) / settings.members, np.mean(biases, axis=0)])
    return one


def _weights(model: keras.Model, names: Sequence[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    kernels, biases = zip(*(model.get_layer(name).get_weights() for name in names), strict=True)
    return list(kernels), list(biases)
