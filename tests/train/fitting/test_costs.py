"""What layers cost, counted by hand; and none of which nobody counted the cost."""

import pytest

from edge.errors import ConfigError

FRAMES, BANDS = 100, 40


def cost_of(layer) -> int:
    """Return what is counted of a network of one layer, given (frames, bands)."""
    import keras

    from train.fitting.costs import multiply_adds

    inputs = keras.Input((FRAMES, BANDS))
    return multiply_adds(keras.Model(inputs, layer(inputs)))


def test_each_kind_of_layer_counted_by_hand():
    from keras import layers

    assert cost_of(layers.Dense(7)) == FRAMES * BANDS * 7
    assert cost_of(layers.Conv1D(32, 5, padding="same")) == FRAMES * 32 * 5 * BANDS
    assert cost_of(layers.Conv1D(32, 5, strides=2, padding="causal", groups=4)) == FRAMES // 2 * 32 * 5 * BANDS // 4
    assert cost_of(layers.GRU(8, name="bias_of_bands")) == FRAMES * 3 * (BANDS + 8) * 8
    for nothing in (layers.BatchNormalization(), layers.PReLU(), layers.Dropout(0.5), layers.Masking()):
        assert cost_of(nothing) == 0


def test_a_network_within_a_network_counts():
    import keras
    from keras import layers

    assert cost_of(keras.Sequential([keras.Input((FRAMES, BANDS)), layers.Dense(3), layers.Dense(2)])) == FRAMES * (
        BANDS * 3 + 3 * 2
    )


def test_what_nobody_counted_is_refused_and_the_place_is_named():
    import keras
    from keras import layers, ops

    class Own(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 5))

        def call(self, frames):
            return ops.matmul(frames, self.kernel)

    for layer in (
        layers.SeparableConv1D(8, 3), layers.DepthwiseConv1D(3), layers.Conv1DTranspose(8, 3),
        layers.EinsumDense("abc,cd->abd", (None, 8)), layers.Bidirectional(layers.GRU(8)),
        layers.TimeDistributed(layers.Dense(3)), Own(),
        lambda inputs: layers.Attention()([inputs, inputs]), lambda inputs: ops.matmul(inputs, ops.ones((BANDS, 3))),
        keras.Sequential([keras.Input((FRAMES, BANDS)), layers.SeparableConv1D(8, 3)]),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=r"layer \w+ \(\w+\): .* train/fitting/costs.py"):
            cost_of(layer)

    class Counted(Own):
        multiply_adds = FRAMES * BANDS * 5

    assert cost_of(Counted()) == FRAMES * BANDS * 5
