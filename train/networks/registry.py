"""What a network is: a file of this room with `build` and, where it has a streaming state, `step`.

A module with STEP_FRAMES answers for every so many frames and not once; one with `adapt` sees the normalization first.

Every network ends in logits: softmax belongs to the loss in training and to the graph at export.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

# Of emotions (`speech` is the speech gate's), the slowest to train first: so a comparison begins with them.
NAMES = ("gru", "causal_cnn", "cnn", "lstm", "rnn", "ann")


@dataclass(frozen=True, kw_only=True)
class StepNetwork:
    """A network with its state outside.

    states: shapes by name, batch of 1 included; all zero at the onset of an utterance.
    call: (mfcc (1, frames, coefficients), **states) -> (hidden (1, n), {name + "_out": next state}), of which hidden is
    what the network's last layer makes logits of.
    """

    states: dict[str, tuple[int, ...]]
    call: Callable[..., tuple[Any, dict[str, Any]]]


def step_frames(name: str) -> int | None:
    """Return the frames for each of which a network answers, where it answers all along; None where once per window."""
    return getattr(module(name), "STEP_FRAMES", None)


def final(logits):
    """Return the answers at the end, (n, labels), of a network that answers once or all along."""
    return logits if logits.ndim == 2 else logits[:, -1]


def module(name: str) -> ModuleType:
    """Return the module of a network (imports Keras)."""
    return importlib.import_module(f"train.networks.{name}")
