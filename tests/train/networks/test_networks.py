"""The networks: the study's shapes, and the same function window by window and step by step."""

import numpy as np
import pytest

from tests.support.lab import NETWORKS
from tests.train.networks.by_hand import MULTIPLY_ADDS, PARAMETERS
from train.fitting.costs import multiply_adds
from train.networks import registry
from train.sizes import Networks

STEPPED = [
    *((name, frames) for name in ("ann", "lstm", "gru", "rnn") for frames in (1, 4)),
    ("causal_cnn", 4),
    ("speech", 4),
]
FULL = Networks()


def built(name: str, settings: Networks = NETWORKS, frames: int | None = 24):
    import keras

    keras.utils.set_random_seed(1)
    return registry.module(name).build(getattr(settings, name), frames=frames, coefficients=40, labels=7)


def built_like(model, name: str):
    """Return the network for sounds of any length, with the same weights."""
    unpadded = built(name, frames=None)
    unpadded.set_weights(model.get_weights())
    return unpadded


def padded(frames: np.ndarray, window: int) -> np.ndarray:
    return np.pad(frames, ((window - len(frames), 0), (0, 0)))[None]


@pytest.mark.parametrize("name", registry.NAMES)
def test_sizes_and_costs_counted_by_hand(name):
    model = built(name, FULL, frames=100)
    assert model.output_shape == ((None, 25, 7) if name == "causal_cnn" else (None, 7))
    assert model.count_params() == PARAMETERS[name], "count by hand anew, in by_hand.py"
    assert multiply_adds(model) == MULTIPLY_ADDS[name], "train/fitting/costs.py counts it otherwise than by_hand.py"


@pytest.mark.parametrize(("name", "frames"), STEPPED)
def test_steps_give_what_the_window_gives(name, frames):
    model = built(name)
    sound = np.random.default_rng(0).normal(size=(16, 40)).astype(np.float32)
    step = registry.module(name).step(model, frames=frames)
    state = {key: np.zeros(shape, np.float32) for key, shape in step.states.items()}
    for start in range(0, len(sound), frames):
        hidden, after = step.call(sound[None, start : start + frames], **state)
        logits = model.layers[-1](hidden)
        assert {key.removesuffix("_out") for key in after} == set(step.states)
        state = {key: after[f"{key}_out"] for key in state}
        # Whole-sequence Keras on as much of the clip as has been heard, without padding and with it.
        heard = sound[: start + frames]
        # ... but for the speech gate, which is never given padding.
        whole = built_like(model, name)(heard[None]) if name == "speech" else model(padded(heard, 24))
        assert np.allclose(logits, registry.final(whole), atol=1e-5)
    assert np.allclose(logits, registry.final(built_like(model, name)(sound[None])), atol=1e-5)


def test_ann_hears_the_mean_of_the_frames():
    import keras

    model = built("ann")
    sound = np.random.default_rng(0).normal(size=(10, 40)).astype(np.float32)
    hidden = sound.mean(axis=0, keepdims=True)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            kernel, bias = layer.get_weights()
            hidden = hidden @ kernel + bias
            hidden = hidden if layer.name == "logits" else np.maximum(hidden, 0)
    assert np.allclose(model(padded(sound, 24)), hidden, atol=1e-5)


def test_spectral_cnn_begins_with_log_mel():
    """The inverse of scipy's orthonormal DCT is the oracle."""
    import keras
    from scipy.fft import idct

    from train.sizes import Cnn

    settings = Cnn(filters=(4, 8), dense=8, spectral=True, statistics=True, stem_stride=2)
    model = registry.module("cnn").build(settings, frames=24, coefficients=40, labels=7)
    frames = np.random.default_rng(0).normal(size=(1, 24, 40)).astype(np.float32)
    bands = keras.Model(model.input, model.get_layer("log_mel").output)(frames)
    assert np.allclose(bands, idct(frames, norm="ortho", axis=-1), atol=1e-5)
    assert model(frames).shape == (1, 7)
