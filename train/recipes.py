"""Recipes: how networks are trained, and those that there are unless the configuration has others."""

from typing import Annotated, Any, Literal

import msgspec

from edge.section import Positive, Ratio, Section
from train.sizes import Count


class Recipe(Section, kw_only=True):
    """How a network is trained.

    contrast: weight of the loss that draws the same emotion of different voices together (train/fitting/contrast.py);
        for networks that answer all along.
    least_steps: of the optimizer; of few clips there are as many more epochs.
    most_steps: likewise; of many clips there are as many fewer epochs. 0: as many as there are.
    balance: draw clips such that corpora count alike and labels alike within a corpus; with `voices` above 0, a corpus
        counts by that power of the number of its voices (1: by their number, 0.5: by its root), and within a label of
        it voices are drawn alike, and within a voice what is said.
    votes: how much of what is learned of a clip is what its listeners heard, where there are votes; the rest is the
        label that was meant.
    choose: `last` takes the last epoch, `validation` the one with the best UAR on the validation side.
    window_frames: of the windows it is trained on; None: train.window_frames.
    precision: `mixed_bfloat16` multiplies in 16 bits while it trains, half again as fast where the processor can; what
        comes of it, and every figure, is float32.
    pretraining: epochs before these, in which a network of utterances learns from its inputs alone
        (train/rooms/pretrain.py).
    trim: cut leading and trailing silence off a clip, as the sensor's gates do.
    """

    epochs: Count = 100
    pretraining: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    least_steps: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 0
    most_steps: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 0
    batch_size: Count = 32
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: Positive = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Ratio = 0.0
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    label_smoothing: Ratio = 0.0
    contrast: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    clip_norm: Positive | None = None
    normalization: Literal["global", "running"] = "global"
    trim: bool = False
    balance: bool = False
    voices: Ratio = 0.0
    votes: Ratio = 0.0
    augment: bool = False
    choose: Literal["last", "validation"] = "last"
    window_frames: Count | None = None
    precision: Literal["float32", "mixed_bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.voices and not self.balance:
            raise ValueError("voices: counts only where balance is true")


class RecipeFor(Recipe, kw_only=True):
    """A recipe, and what differs for one network (fields of the recipe, and `settings` of the network)."""

    networks: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)


_STUDY: dict[str, dict[str, Any]] = {"ann": {"batch_size": 4}, "rnn": {"clip_norm": 1.0}}

# As config.yaml explains them.
RECIPES = {
    "study": RecipeFor(schedule="cosine", networks=_STUDY),
    "speaker": RecipeFor(epochs=40, schedule="cosine", trim=True, networks=_STUDY),
    "default": RecipeFor(
        epochs=40,
        least_steps=1_800,
        most_steps=5_000,
        batch_size=64,
        optimizer="adamw",
        learning_rate=3e-3,
        schedule="cosine",
        warmup=0.2,
        weight_decay=1e-2,
        label_smoothing=0.05,
        clip_norm=2.0,
        normalization="running",
        trim=True,
        balance=True,
        augment=True,
        networks={
            "cnn": {
                "settings": {
                    "filters": [24, 48, 64, 96], "stem_stride": 2, "spectral": True, "statistics": True,
                    "dropout": 0.2, "dense": 96,
                }
            },
            "gru": {"learning_rate": 2e-3, "settings": {"units": [96, 96], "dense": 96, "dropout": 0.2}},
            "causal_cnn": {
                "window_frames": 112, "weight_decay": 0.3, "contrast": 0.3, "precision": "mixed_bfloat16",
            },
        },
    ),
    "speech": RecipeFor(
        epochs=30,
        batch_size=128,
        optimizer="adamw",
        learning_rate=3e-3,
        schedule="cosine",
        warmup=0.2,
        weight_decay=1e-2,
        clip_norm=1.0,
    ),
    "rooms": RecipeFor(
        epochs=60,
        pretraining=100,
        batch_size=512,
        optimizer="adamw",
        learning_rate=2e-3,
        schedule="cosine",
        weight_decay=5e-2,
        label_smoothing=0.1,
    ),
}  # fmt: skip
