"""Supervised contrastive loss: the same emotion said by other voices draws together, whatever the corpus.

Khosla et al., Supervised contrastive learning (2020), over the last answer's hidden layer, with a voice's own clips
left out of what it is drawn to. The head is needed in training only.
"""

from typing import Any

import keras
from keras import layers, ops

SIZE = 48
TEMPERATURE = 0.2
_HIDDEN = "dense"  # the layer it looks at, in networks that answer all along


def with_head(model: keras.Model) -> keras.Model:
    """Return the network with a second output, a vector (batch, SIZE) of each utterance. It shares all weights."""
    first = keras.initializers.GlorotUniform(seed=0)  # Keras would draw it from a generator that others use, too
    vectors = layers.Dense(SIZE, kernel_initializer=first, dtype="float32", name="contrast")(
        model.get_layer(_HIDDEN).output[:, -1]
    )
    return keras.Model(model.input, [model.output, vectors])


def loss(keys: Any, vectors: Any) -> Any:
    """Return the loss of each utterance (batch,) from keys (batch, 2), its label and its voice, and vectors.

    0 for one whose emotion nobody else in the batch has.
    """
    unit = vectors * ops.rsqrt(ops.sum(vectors * vectors, axis=-1, keepdims=True) + 1e-6)
    likeness = ops.matmul(unit, ops.transpose(unit)) / TEMPERATURE
    same_label, same_voice = (ops.equal(keys[:, None, part], keys[None, :, part]) for part in (0, 1))
    drawn = ops.cast(ops.logical_and(same_label, ops.logical_not(same_voice)), "float32")
    others = 1.0 - ops.eye(ops.shape(vectors)[0])
    shares = likeness - ops.logsumexp(likeness - 1e9 * (1.0 - others), axis=-1, keepdims=True)
    return -ops.sum(shares * drawn, axis=-1) / ops.maximum(ops.sum(drawn, axis=-1), 1.0)
