"""What LSTM, GRU and RNN have in common: layers over masked frames, Dense ReLU, and the same weights step by step.

The padding in front is masked, so the state is still zero when speech begins: a window and the frames one after
the other are the same function.
"""

from collections.abc import Callable

import keras
from keras import layers, ops

from train.networks.registry import StepNetwork
from train.sizes import Recurrent


def build(
    kind: type[layers.Layer], name: str, settings: Recurrent, *, frames: int | None, coefficients: int, labels: int
) -> keras.Model:
    """Return a model of (batch, frames, coefficients) to logits, with recurrent layers of `kind`."""
    inputs = keras.Input((frames, coefficients), name="mfcc")
    hidden = layers.Masking(name="mask")(inputs)
    for number, units in enumerate(settings.units, start=1):
        last = number == len(settings.units)
        hidden = kind(units, return_sequences=not last, name=f"{name}_{number}")(hidden)
        if settings.dropout:
            hidden = layers.Dropout(settings.dropout, name=f"dropout_{number}")(hidden)
    if settings.relu:
        hidden = layers.ReLU(name="relu")(hidden)
    hidden = layers.Dense(settings.dense, activation="relu", name="dense")(hidden)
    if settings.dropout:
        hidden = layers.Dropout(settings.dropout, name="dropout")(hidden)
    return keras.Model(inputs, layers.Dense(labels, name="logits")(hidden), name=name)


def advance(cell: layers.Layer, inputs, states):
    return cell(inputs, states, training=False)


def step(model: keras.Model, *, frames: int, advance: Callable = advance) -> StepNetwork:
    """Return the network `frames` unrolled, its states (one to three of them per layer) outside.

    `advance` is (cell, inputs, states) to the cell's outputs and next states.
    """
    recurrent = [layer for layer in model.layers if hasattr(layer, "cell")]
    dense = model.get_layer("dense")
    relu = any(layer.name == "relu" for layer in model.layers)
    states = {
        f"{layer.name}_{number}": (1, size) for layer in recurrent for number, size in enumerate(_sizes(layer), start=1)
    }

    def call(mfcc, **carried):
        for frame in range(frames):
            hidden = mfcc[:, frame]
            following = {}
            for layer in recurrent:
                names = [f"{layer.name}_{number}" for number in range(1, len(_sizes(layer)) + 1)]
                hidden, after = advance(layer.cell, hidden, [carried[name] for name in names])
                following.update(zip(names, after, strict=True))
            carried = following
        following = {f"{name}_out": state for name, state in carried.items()}
        return dense(ops.relu(hidden) if relu else hidden), following

    return StepNetwork(states=states, call=call)


def _sizes(layer: layers.Layer) -> list[int]:
    size = layer.cell.state_size
    return list(size) if isinstance(size, (list, tuple)) else [size]
