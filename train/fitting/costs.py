"""What a network costs: parameters and multiply-adds for one window."""

import math

import keras
from keras import layers, tree

from edge.errors import ConfigError

# Their weights are added, scale or are looked up, each once: nothing that is counted.
_ELEMENT_WISE = (
    layers.BatchNormalization, layers.LayerNormalization, layers.GroupNormalization, layers.Normalization,
    layers.PReLU, layers.Embedding,
)  # fmt: skip
# Products of what has no weights of its own: keras.ops and layers, by their classes' names.
_PRODUCTS = {
    "Attention", "AdditiveAttention", "Conv", "ConvTranspose", "DepthwiseConv", "Dot", "DotProductAttention", "Einsum",
    "Inner", "Matmul", "Outer", "SeparableConv", "Tensordot", "Vdot",
}  # fmt: skip


def multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of Dense, convolution and recurrent layers for one input of batch 1.

    Element-wise work (activations, normalization, gates' products) is not counted, as is usual. A layer of one's own
    with weights has a number `multiply_adds`. Raises ConfigError for a layer that is not known here.
    """
    return sum(map(_of, getattr(model, "operations", model.layers)))  # a Sequential has layers only


def _of(layer: keras.Operation) -> int:
    if (own := getattr(layer, "multiply_adds", None)) is not None:
        return own
    match layer:
        case keras.Model():
            return multiply_adds(layer)
        case layers.Dense():
            return math.prod(layer.input.shape[1:]) * layer.units
        case layers.Conv1D() | layers.Conv2D():
            return math.prod(layer.output.shape[1:]) * math.prod(layer.kernel.shape[:-1])
        case layers.RNN() if all(len(weight.shape) == 2 for weight in _kernels(layer)):
            frames = tree.flatten(layer.input)[0].shape[1]
            return frames * sum(math.prod(weight.shape) for weight in _kernels(layer))
    counts = getattr(layer, "weights", None) and not isinstance(layer, _ELEMENT_WISE)
    if counts or type(layer).__name__ in _PRODUCTS:
        raise ConfigError(
            f"layer {layer.name} ({type(layer).__name__}): what it costs is not known: count it in "
            "train/fitting/costs.py, or give a layer of your own its `multiply_adds`"
        )
    return 0


def _kernels(layer: layers.RNN) -> list[keras.Variable]:
    return [weight for weight in layer.weights if "bias" not in weight.name]
