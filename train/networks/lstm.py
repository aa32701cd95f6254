"""LSTM: one layer and a fully connected one."""

import functools

from keras import layers

from train.networks import recurrent

build = functools.partial(recurrent.build, layers.LSTM, "lstm")
step = recurrent.step
