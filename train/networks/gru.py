"""GRU: two stacked layers, ReLU, Dense ReLU."""

import functools

from keras import layers

from train.networks import recurrent

build = functools.partial(recurrent.build, layers.GRU, "gru")
step = recurrent.step
