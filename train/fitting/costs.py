"""What a network costs: parameters and multiply-adds for one window."""

import math

import keras
from keras import layers, tree


def multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of Dense, convolution and recurrent layers for one input of batch 1.

    Element-wise work (activations, normalization, gates' products) is not counted, as is usual.
    """
    return sum(_of_layer(layer) for layer in model.layers)


def _of_layer(layer: layers.Layer) -> int:
    match layer:
        case layers.Dense():
            return math.prod(layer.input.shape[1:]) * layer.units
        case layers.Conv2D():
            _, height, width, filters = layer.output.shape
            return height * width * filters * math.prod(layer.kernel.shape[:3])
        case layers.RNN():
            frames = tree.flatten(layer.input)[0].shape[1]
            kernels = [weight for weight in layer.weights if len(weight.shape) == 2 and "bias" not in weight.path]
            return frames * sum(math.prod(weight.shape) for weight in kernels)
        case _:
            return 0
