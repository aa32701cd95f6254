"""The speech gate's network: a block of frames at a time through Dense and a small GRU, an answer for every block."""

import keras
from keras import layers, ops

from train.networks import recurrent
from train.networks.registry import StepNetwork
from train.sizes import Speech

STEP_FRAMES = 4  # a block of the sensor: no other step fits its weights


def build(settings: Speech, *, frames: int | None, coefficients: int, labels: int) -> keras.Model:
    """Return a model of (batch, frames, coefficients) to logits (batch, frames // STEP_FRAMES, labels)."""
    inputs = keras.Input((frames, coefficients), name="mfcc")
    hidden = layers.Reshape((-1, STEP_FRAMES * coefficients), name="blocks")(inputs)
    hidden = layers.Dense(settings.dense, activation="relu", name="dense")(hidden)
    hidden = layers.GRU(settings.units, return_sequences=True, name="gru")(hidden)
    return keras.Model(inputs, layers.Dense(labels, name="logits")(hidden), name="speech")


def step(model: keras.Model, *, frames: int) -> StepNetwork:
    """Return the network for one block, its state outside. Raises ValueError for another number of frames."""
    if frames != STEP_FRAMES:
        raise ValueError(f"a step of {frames} frames, the network takes {STEP_FRAMES}")
    dense, gru = model.get_layer("dense"), model.get_layer("gru")

    def call(mfcc, state):
        hidden = dense(ops.reshape(mfcc, (1, frames * mfcc.shape[-1])))
        hidden, (state,) = recurrent.advance(gru.cell, hidden, [state])
        return hidden, {"state_out": state}

    return StepNetwork(states={"state": (1, gru.units)}, call=call)
