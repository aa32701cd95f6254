"""RNN: named but not described by the study; the LSTM's recipe with SimpleRNN."""

import functools

from keras import layers

from train.networks import recurrent

build = functools.partial(recurrent.build, layers.SimpleRNN, "rnn")
step = recurrent.step
