"""CNN: convolutions with BatchNorm, MaxPool and Dropout, global pooling, Dense ReLU."""

import keras
import numpy as np
from keras import layers, ops

from edge.features.mfcc import dct_matrix
from train.sizes import Cnn


def build(settings: Cnn, *, frames: int | None, coefficients: int, labels: int) -> keras.Model:
    """Return a model of (batch, frames, coefficients) to logits."""
    inputs = keras.Input((frames, coefficients), name="mfcc")
    hidden = inputs
    if settings.spectral:
        # The orthonormal DCT undone: neighbours in frequency are neighbours again.
        back = layers.Dense(coefficients, use_bias=False, kernel_initializer="identity", name="log_mel")
        hidden = back(hidden)
        back.set_weights([dct_matrix(coefficients, coefficients)])
    hidden = ops.expand_dims(hidden, -1)
    for number, filters in enumerate(settings.filters, start=1):
        first = number == 1
        hidden = layers.Conv2D(
            filters,
            settings.kernel + 2 * (first and settings.stem_stride > 1),
            strides=settings.stem_stride if first else 1,
            padding="same",
            use_bias=False,
            name=f"conv_{number}",
        )(hidden)
        hidden = layers.BatchNormalization(momentum=settings.momentum, name=f"norm_{number}")(hidden)
        hidden = layers.ReLU(name=f"relu_{number}")(hidden)
        if not (first and settings.stem_stride > 1):
            hidden = layers.MaxPooling2D(2, padding="same", name=f"pool_{number}")(hidden)
        hidden = layers.Dropout(settings.dropout, name=f"dropout_{number}")(hidden)
    hidden = _statistics(hidden) if settings.statistics else layers.GlobalAveragePooling2D(name="pool")(hidden)
    hidden = layers.Dense(settings.dense, activation="relu", name="dense")(hidden)
    hidden = layers.Dropout(settings.dropout, name="dropout")(hidden)
    return keras.Model(inputs, layers.Dense(labels, name="logits")(hidden), name="cnn")


def _statistics(hidden):
    """Mean over frequency, then mean and standard deviation over time: (batch, 2 * filters)."""
    hidden = ops.mean(hidden, axis=2)
    mean = ops.mean(hidden, axis=1, keepdims=True)
    spread = ops.sqrt(ops.mean(ops.square(hidden - mean), axis=1) + np.float32(1e-4))
    return ops.concatenate([mean[:, 0], spread], axis=-1)
