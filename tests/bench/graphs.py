"""Graphs of other systems' shapes, with random weights: what they cost, not what they know. Kept in runs/bench."""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from convert.graph import export
from tests.bench.peers import GRAPHS
from train.networks import registry
from train.sizes import Cnn


def yamnet_shaped() -> keras.Model:
    """MobileNet-v1 as YAMNet has it: 96 x 64 log-mel patches, 14 convolutions up to 1,024 channels, 521 classes."""
    inputs = keras.Input((96, 64, 1), name="mfcc")
    hidden = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(32, 3, 2, padding="same", use_bias=False)(inputs)))
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for filters, stride in blocks:
        hidden = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(hidden)
        hidden = layers.ReLU()(layers.BatchNormalization()(hidden))
        hidden = layers.Conv2D(filters, 1, use_bias=False)(hidden)
        hidden = layers.ReLU()(layers.BatchNormalization()(hidden))
    return keras.Model(inputs, layers.Dense(521)(layers.GlobalAveragePooling2D()(hidden)))


def light_sernet_shaped() -> keras.Model:
    """Light-SERNet's body: three parallel stems, then convolutions of 64 to 320 channels, pooled, 4 classes."""
    inputs = keras.Input((184, 40, 1), name="mfcc")
    stems = [layers.Conv2D(32, size, padding="same", use_bias=False)(inputs) for size in ((11, 1), (1, 9), (3, 3))]
    hidden = layers.Concatenate()(
        [layers.AveragePooling2D(2)(layers.ReLU()(layers.BatchNormalization()(s))) for s in stems]
    )
    for filters, pool in ((64, 2), (96, 2), (128, (2, 1)), (160, (2, 1))):
        hidden = layers.Conv2D(filters, 3, padding="same", use_bias=False)(hidden)
        hidden = layers.AveragePooling2D(pool)(layers.ReLU()(layers.BatchNormalization()(hidden)))
    hidden = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(320, 1, use_bias=False)(hidden)))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(hidden)))


def study_cnn() -> keras.Model:
    return registry.module("cnn").build(Cnn(), frames=100, coefficients=40, labels=7)


SHAPES = {"yamnet-shaped": yamnet_shaped, "light-sernet-shaped": light_sernet_shaped, "study-cnn": study_cnn}
WANTED = (
    ("study-cnn", "float32"),
    ("yamnet-shaped", "float32"),
    ("yamnet-shaped", "int8"),
    ("light-sernet-shaped", "int8"),
)


def make(name: str, precision: str, folder: Path = GRAPHS) -> None:
    """Write a graph, unless it is there."""
    out = folder / f"{name}-{precision}.tflite"
    if out.exists():
        return
    model = SHAPES[name]()
    shape = (1, *model.input_shape[1:])

    def serve(mfcc):
        return {"probs": tf.nn.softmax(model(mfcc, training=False))}

    rng = np.random.default_rng(0)
    samples = [{"mfcc": rng.standard_normal(shape).astype(np.float32)} for _ in range(8)]
    graph = export.converted(
        model, serve, [tf.TensorSpec(shape, tf.float32, name="mfcc")], precision=precision,
        samples=samples if precision == "int8" else (),
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    out.write_bytes(graph)
    print(f"{out}: {len(graph) / 1e6:.2f} MB, {model.count_params():,} parameters", file=sys.stderr)


if __name__ == "__main__":
    for name, precision in WANTED:
        make(name, precision)
