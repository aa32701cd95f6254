"""Sizes of the networks, as config.yaml has them."""

from typing import Annotated

import msgspec

from edge.section import Ratio, Section

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Ann(Section, kw_only=True):
    """Dense layers on the time mean of the coefficients."""

    units: tuple[Count, ...] = (256, 256, 256, 256)
    dropout: Ratio = 0.0
    noise: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.15


class Cnn(Section, kw_only=True):
    """Convolution blocks, global pooling, Dense ReLU. `spectral` turns the coefficients back into log-mel bands in the
    graph; `statistics` pools by mean and standard deviation over time instead of by mean."""

    filters: tuple[Count, ...] = (16, 32, 64, 96)
    kernel: Count = 3
    stem_stride: Count = 1
    spectral: bool = False
    statistics: bool = False
    dropout: Ratio = 0.2
    dense: Count = 128
    momentum: Ratio = 0.9


class Recurrent(Section, kw_only=True):
    """Recurrent layers, then (with `relu`) their output through ReLU, then Dense ReLU."""

    units: tuple[Count, ...] = (128,)
    relu: bool = False
    dense: Count = 64
    dropout: Ratio = 0.0


class CausalCnn(Section, kw_only=True):
    """Convolutions that look back only, a mean over the bands, statistics over time, Dense ReLU. The first `halvings`
    of the convolutions halve the bands; `dropout` is before and after Dense."""

    filters: Annotated[tuple[Count, ...], msgspec.Meta(min_length=2)] = (24, 48, 64, 108)
    halvings: Annotated[int, msgspec.Meta(ge=0, le=8)] = 3
    dropout: Ratio = 0.3
    dense: Count = 80
    momentum: Ratio = 0.95


class Speech(Section, kw_only=True):
    """Dense over a block of frames, then a GRU."""

    dense: Count = 64
    units: Count = 80


class Utterance(Section, kw_only=True):
    """So many networks of a Dense ReLU each, side by side; dropout of what they are given, and after Dense."""

    members: Count = 4
    units: Count = 64
    dropout_inputs: Ratio = 0.3
    dropout: Ratio = 0.5


class Networks(Section, kw_only=True):
    """The study's networks and their sizes, the speech gate's and that of utterances."""

    ann: Ann = Ann()
    cnn: Cnn = Cnn()
    lstm: Recurrent = Recurrent()
    gru: Recurrent = Recurrent(units=(128, 128), relu=True, dense=256)
    rnn: Recurrent = Recurrent()
    causal_cnn: CausalCnn = CausalCnn()
    speech: Speech = Speech()
    utterance: Utterance = Utterance()
