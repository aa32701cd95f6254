"""What the file names of known corpora say: one row each."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A corpus and its file names.

    pattern: searched in a path without its suffix, with groups `speaker`, `label` and `text` (what is said), and
        `intensity` where the corpus has such.
    words: the corpus's codes for labels, in its own words; a code that is not here is its own word.
    speaker: how a speaker is written, from the pattern's group.
    intensities: the corpus's codes for how strongly a label was meant.
    sex, age: of a speaker as it is written: f or m, and years; "" where the corpus does not say.
    """

    name: str
    licence: str
    pattern: re.Pattern[str]
    words: dict[str, str]
    speaker: str = "{}"
    intensities: dict[str, str] = field(default_factory=dict)
    sex: Callable[[str], str] = lambda speaker: ""
    age: dict[str, str] = field(default_factory=dict)


def _names(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|/){pattern}$", re.IGNORECASE)


SCHEMES = (
    Scheme(
        name="TESS",
        licence="CC BY-NC-ND 4.0",
        # Some mirrors lost a letter: OA_bite_neutral.
        pattern=_names(r"(?P<speaker>[OY]A)F?_(?P<text>[a-z]+)_(?P<label>angry|disgust|fear|happy|neutral|ps|sad)"),
        words={},
        speaker="{}F",
        sex=lambda speaker: "f",
        age={"OAF": "64", "YAF": "26"},
    ),
    Scheme(
        name="RAVDESS",
        licence="CC BY-NC-SA 4.0",
        # Audio only (03), speech (01), emotion, intensity, statement, repetition, actor.
        pattern=_names(r"03-01-(?P<label>0[1-8])-(?P<intensity>\d\d)-(?P<text>\d\d)-\d\d-(?P<speaker>\d\d)"),
        words={
            "01": "neutral",
            "02": "calm",
            "03": "happy",
            "04": "sad",
            "05": "angry",
            "06": "fearful",
            "07": "disgust",
            "08": "surprised",
        },
        intensities={"01": "normal", "02": "strong"},
        sex=lambda speaker: "m" if int(speaker) % 2 else "f",
    ),
    Scheme(
        name="CREMA-D",
        licence="ODbL 1.0",
        pattern=_names(
            r"(?P<speaker>1\d{3})_(?P<text>[A-Z]{3})_(?P<label>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<intensity>LO|MD|HI|XX?)"
        ),
        words={"ang": "anger", "dis": "disgust", "fea": "fear", "hap": "happy", "neu": "neutral", "sad": "sad"},
        intensities={"lo": "low", "md": "medium", "hi": "high"},
    ),
    Scheme(
        name="SAVEE",
        licence="research only (University of Surrey)",
        # A folder per speaker as published, or the speaker in front of the name.
        pattern=_names(r"(?P<speaker>DC|JE|JK|KL)[/_](?P<label>sa|su|[adfhn])(?P<text>\d\d)"),
        words={
            "a": "anger",
            "d": "disgust",
            "f": "fear",
            "h": "happiness",
            "n": "neutral",
            "sa": "sadness",
            "su": "surprise",
        },
        sex=lambda speaker: "m",
    ),
    Scheme(
        name="EMO-DB",
        licence="free for research (TU Berlin)",
        pattern=_names(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<label>[WLEAFTN])[a-z]"),
        words={
            "w": "anger",
            "l": "boredom",
            "e": "disgust",
            "a": "fear",
            "f": "happiness",
            "t": "sadness",
            "n": "neutral",
        },
    ),
    Scheme(
        name="EMOVO",
        licence="free for research (Fondazione Ugo Bordoni)",
        pattern=_names(r"(?P<label>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>[fm]\d)-(?P<text>[a-z]\d)"),
        words={
            "dis": "disgust",
            "gio": "joy",
            "neu": "neutral",
            "pau": "fear",
            "rab": "anger",
            "sor": "surprise",
            "tri": "sadness",
        },
        sex=lambda speaker: speaker[0].lower(),
    ),
)

# RAVDESS's other kinds: modality (full, video only, audio only), channel (speech, song), and the rest as above.
_RAVDESS = _names(r"(?P<modality>0[1-3])-(?P<channel>0[12])-0[1-8]-0[12]-0[12]-0[12]-\d\d")
_KINDS = {"01": "audio-visual file of RAVDESS", "02": "video of RAVDESS", "03": "song of RAVDESS"}

# Corpora that say who speaks in an index.csv of their own.
_INDEXED = {
    "nEMO": "CC BY-NC-SA 4.0",
    "ASED": "none stated",
    "speechocean762": "CC BY 4.0",
    "librispeech": "CC BY 4.0",
    "commands": "Apache-2.0",
}
LICENCES = {scheme.name: scheme.licence for scheme in SCHEMES} | _INDEXED

NEVER_TRAINED = {"ASED": "its sentences go with its emotions; it is a yardstick"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a file name says; `word` is the emotion in the corpus's own words."""

    corpus: str
    speaker: str
    word: str
    text: str
    sex: str = ""
    age: str = ""
    intensity: str = ""


def parse(path: str) -> Named | None:
    """Return what a path (posix) says by its file name, or None where it fits no known scheme."""
    stem = path.rpartition(".")[0] or path
    for scheme in SCHEMES:
        if found := scheme.pattern.search(stem):
            code, speaker = found["label"].lower(), scheme.speaker.format(found["speaker"].upper())
            return Named(
                corpus=scheme.name,
                speaker=speaker,
                word=scheme.words.get(code, code),
                text=found["text"].lower(),
                sex=scheme.sex(speaker),
                age=scheme.age.get(speaker, ""),
                intensity=scheme.intensities.get(found.groupdict().get("intensity", "").lower(), ""),
            )
    return None


def other_kind(path: str) -> str | None:
    """Return what a path (posix) is by its name, where a known corpus has it beside its speech; None elsewhere."""
    found = _RAVDESS.search(path.rpartition(".")[0] or path)
    return _KINDS[found["modality"]] if found and (found["modality"], found["channel"]) != ("03", "01") else None
