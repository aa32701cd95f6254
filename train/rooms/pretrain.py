"""Before its labels: a network of utterances learns to give back functionals of which some are missing.

How a voice's numbers go together is much alike whatever it feels, and so need not be learned from labels. (P. Vincent
and others, "Extracting and composing robust features with denoising autoencoders", 2008.)
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

_RATE = 1e-3
_MISSING = 0.3  # of what is given, besides what the network's own dropout takes
_TURNS = 5  # what is drawn is learned from so often, each time with others missing


def pretrain(
    model: keras.Model, drawn: Callable[[], np.ndarray], *, epochs: int, batch_size: int, rng: np.random.Generator,
    tell: Callable[[int, int, str], None],
) -> list[float]:  # fmt: skip
    """Train all layers but the last ones of the networks side by side (train/networks/utterance.py), and return the
    mean square of what they gave back wrongly, by epoch; 1 is about that of a network that gives back zeros.

    drawn: returns what the network is given, float32 (n, inputs), anew at each call.
    """
    restoring = _restoring(model)
    restoring.compile(keras.optimizers.Adam(_RATE), loss=_wrong)
    found = []
    for epoch in range(epochs):
        if epoch % _TURNS == 0:
            whole = drawn()
        fewer = np.where(rng.random(whole.shape) < _MISSING, np.float32(0), whole)
        history = restoring.fit(fewer, whole, batch_size=batch_size, verbose=0).history
        found.append(round(float(history["loss"][-1]), 7))
        tell(epoch + 1, epochs, f"before its labels: wrong by {found[-1]:.3f}")
    return found


def _restoring(model: keras.Model) -> keras.Model:
    """Return a network that has the hidden layers of `model` and gives back its inputs: (batch, members, inputs)."""
    inputs = model.input_shape[-1]
    ends = [layer for layer in model.layers if layer.name.startswith("logits_")]
    given_back = [layers.Dense(inputs, name=f"given_back_{end.name}")(end.input) for end in ends]
    return keras.Model(model.input, ops.stack(given_back, axis=1))


def _wrong(whole, given_back):
    return ops.mean(ops.square(given_back - whole[:, None]), axis=(-1, -2))
