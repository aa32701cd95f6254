"""Splits by name: what each promises to keep apart is checked, whatever the data (train/data/split.py)."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import msgspec
import numpy as np
from sklearn.model_selection import train_test_split

from edge.errors import InputError
from train.config import TrainConfig
from train.data import corpora
from train.data.clip import LEAST_WORDS, Clip, counted, words_of
from train.data.split import Split, require_apart, require_labels
from train.study.folds import is_unseen, speakers_fold, unseen_fold
from train.study.sides import all_but, by_speaker, named, speakers_of, split_of, validation_speakers, whole_name


def splits(name: str, clips: Sequence[Clip], config: TrainConfig) -> list[Split]:
    """Return the folds of a protocol over the clips.

    Raises InputError for an unknown name, or where the clips do not allow it (one speaker, a label with one clip, ...).
    """
    if name not in _PROTOCOLS:
        raise InputError(f"protocol {name!r}: unknown (there are {', '.join(_PROTOCOLS)})")
    make, apart = _PROTOCOLS[name]
    folds = make(clips, config)
    for fold in folds:
        require_apart(fold, clips, apart)
        _require_trainable(fold, clips)
        if name != "speech":  # a gate tells any voice from other sound
            require_labels(fold, clips)
    return folds


def _require_trainable(fold: Split, clips: Sequence[Clip]) -> None:
    """Raise InputError where a corpus trains that must not."""
    for index in fold.train:
        if why := corpora.NEVER_TRAINED.get(clips[index].corpus):
            raise InputError(f"{fold.where}: {clips[index].corpus} must not train: {why}")


def _speaker(clip: Clip) -> str:
    return f"speaker {clip.speaker} of {clip.corpus}"


def _word(clip: Clip) -> str:
    return f"word {clip.text!r}"


def _random(clips: Sequence[Clip], config: TrainConfig) -> list[Split]:
    """The study's: stratified by label, seed pinned."""
    seed = config.protocols.random_seed
    labels = np.array([clip.label for clip in clips])
    names, counts = np.unique(labels, return_counts=True)
    if counts.min() < 3:
        rare = str(names[counts.argmin()])
        raise InputError(
            f"protocol random: label {rare!r} has {counted(counts.min(), 'clip')}, a stratified split needs 3: give "
            "more, or map its words to null in train.words"
        )
    _, validation_ratio, test_ratio = config.protocols.random_ratios
    everything = np.arange(len(clips))
    held = max(len(names), round(len(clips) * test_ratio))
    try:
        rest, test = train_test_split(everything, test_size=held, stratify=labels, random_state=seed)
        held = max(len(names), round(len(clips) * validation_ratio))
        training, validation = train_test_split(rest, test_size=held, stratify=labels[rest], random_state=seed)
    except ValueError as error:
        raise InputError(f"protocol random: {error}") from error
    return [split_of("random", "0", seed, training, validation, test)]


def _speaker_folds(clips: Sequence[Clip], config: TrainConfig) -> list[Split]:
    """Each corpus by itself: two speakers there and back, more of them in folds."""
    folds = []
    for corpus in dict.fromkeys(clip.corpus for clip in clips):
        mine = [index for index, clip in enumerate(clips) if clip.corpus == corpus]
        speakers = speakers_of(clips, mine, "speaker")
        groups = (
            [[speaker] for speaker in speakers]
            if len(speakers) <= config.protocols.folds
            else [speakers[start :: config.protocols.folds] for start in range(config.protocols.folds)]
        )
        for group in groups:
            training = [speaker for speaker in speakers if speaker not in group]
            fold = speakers_fold(corpus, training, group, both=len(speakers) == 2)
            folds.append(by_speaker("speaker", fold, clips, mine, training, group))
    return folds


def _kfold(clips: Sequence[Clip], config: TrainConfig) -> list[Split]:
    """All corpora together, in folds by speaker."""
    everything = list(range(len(clips)))
    speakers = speakers_of(clips, everything, "kfold", whole=True)
    count = min(config.protocols.folds, len(speakers))
    folds = []
    for start in range(count):
        group = speakers[start::count]
        training = [speaker for speaker in speakers if speaker not in group]
        folds.append(by_speaker("kfold", str(start), clips, everything, training, group, whole=True))
    return folds


def _word_folds(clips: Sequence[Clip], config: TrainConfig) -> list[Split]:
    """A tenth of the words is never heard in training, another tenth validates."""
    words = words_of(clips)
    if len(words) < LEAST_WORDS:
        silent = [clip.path for clip in clips if not clip.text]
        found = f"what is said in {silent[0]} is not known" if silent else f"there is only {' and '.join(words)}"
        raise InputError(
            f"protocol word: needs at least {LEAST_WORDS} known words and what is said in every clip, but {found}: "
            "give a CSV with path,label,text, or take --protocol random"
        )
    seed = config.protocols.random_seed
    shuffled = list(np.random.default_rng(seed).permutation(words))
    held = max(1, len(words) // 10)
    test, validation = set(shuffled[:held]), set(shuffled[held : 2 * held])
    return [
        split_of(
            "word",
            "0",
            seed,
            [index for index, clip in enumerate(clips) if clip.text not in test | validation],
            [index for index, clip in enumerate(clips) if clip.text in validation],
            [index for index, clip in enumerate(clips) if clip.text in test],
        )
    ]


def _corpus_folds(clips: Sequence[Clip], config: TrainConfig) -> list[Split]:
    """Each corpus in turn is the test side, over the labels common to all; other speakers validate."""
    names = list(dict.fromkeys(clip.corpus for clip in clips))
    if len(names) < 2:
        raise InputError(f"protocol corpus: needs two corpora, found {', '.join(names)}: name more of them with --data")
    common = set.intersection(*({clip.label for clip in clips if clip.corpus == name} for name in names))
    if len(common) < 2:
        raise InputError(
            "protocol corpus: the corpora share fewer than two labels, so none can test what another one teaches"
        )
    folds = []
    for name in names:
        test = [index for index, clip in enumerate(clips) if clip.corpus == name and clip.label in common]
        others = [index for index, clip in enumerate(clips) if clip.corpus != name and clip.label in common]
        speakers = speakers_of(clips, others, "corpus", whole=True, least=1)
        validating = validation_speakers(speakers)
        folds.append(
            split_of(
                "corpus",
                name,
                0,
                [index for index in others if whole_name(clips[index]) not in validating],
                [index for index in others if whole_name(clips[index]) in validating],
                test,
            )
        )
    return folds


def _default(clips: Sequence[Clip], config: TrainConfig) -> list[Split]:
    """The sensor's model: named speakers are held out for test and validation, everybody else trains."""
    return [named("default", clips, config.protocols.default_test, config.protocols.default_validation)]


def _unheard(clips: Sequence[Clip], config: TrainConfig) -> list[Split]:
    """The sensor's model on voices it has not heard, those of every corpus in turn."""
    return _voices_then_corpora("unheard", clips, lambda corpus: config.protocols.unheard_folds)


def _yardsticks(clips: Sequence[Clip], config: TrainConfig) -> list[Split]:
    """What a recipe is chosen by: the same, with the voices of some corpora only, in fewer folds."""
    return _voices_then_corpora("yardsticks", clips, lambda corpus: config.protocols.yardsticks.get(corpus, 0))


def _voices_then_corpora(protocol: str, clips: Sequence[Clip], folds_of: Callable[[str], int]) -> list[Split]:
    """Speakers of each corpus in turn (in so many folds), with all the rest to train on, then each corpus as a whole;
    one that never trains only so. Nobody validates: the folds calibrate each other (convert/unheard.py,
    convert/strangers.py, convert/yardsticks.py)."""
    names = list(dict.fromkeys(clip.corpus for clip in clips))
    among = {name: [index for index, clip in enumerate(clips) if clip.corpus == name] for name in names}
    speakers = {name: speakers_of(clips, mine, protocol) for name, mine in among.items()}
    folds = []
    for name, mine in speakers.items():
        count = min(folds_of(name), len(mine))
        if name in corpora.NEVER_TRAINED or not count:
            continue
        for group in ([str(speaker) for speaker in part] for part in np.array_split(mine, count)):
            rest = [speaker for speaker in mine if speaker not in group]
            fold = speakers_fold(name, rest, group, both=len(mine) == 2)
            folds.append(all_but(protocol, fold, clips, {(name, speaker) for speaker in group}))
    if len(names) > 1:
        for name, mine in speakers.items():
            folds.append(all_but(protocol, unseen_fold(name), clips, {(name, speaker) for speaker in mine}))
    return folds


def learnable(
    clips: Sequence[Clip], labels: Sequence[str], teachers: Sequence[str]
) -> tuple[list[str], list[Clip], list[str]]:
    """Return which labels the teaching corpora have, the clips of those, and in words what is left out. Raises
    InputError for a corpus that is not there."""
    there = {clip.corpus for clip in clips}
    if missing := sorted(set(teachers) - there):
        raise InputError(f"--teachers: no clip is of {', '.join(missing)}; there are {', '.join(sorted(there))}")
    taught = {clip.label for clip in clips if clip.corpus in teachers}
    known = [clip for clip in clips if clip.label in taught]
    lacking, left_out = [label for label in labels if label not in taught], counted(len(clips) - len(known), "clip")
    remark = f"no clip to train on is {' or '.join(lacking)}, which the network will not say; {left_out} left out"
    return [label for label in labels if label in taught], known, [remark] if lacking else []


def taught_by(teachers: Sequence[str], folds: Sequence[Split], clips: Sequence[Clip]) -> list[Split]:
    """Return the folds with clips of the teaching corpora alone to train on. Other corpora are tested as a whole, and
    not by voice; a fold of which nobody trains is none. Raises InputError where none is left."""
    found = []
    for fold in folds:
        train = [index for index in fold.train if clips[index].corpus in teachers]
        strange = not {clips[index].corpus for index in fold.test} <= set(teachers)
        if train and (is_unseen(fold.fold) or not strange or len(folds) == 1):
            found.append(msgspec.structs.replace(fold, train=train))
    if not found:
        raise InputError(f"--teachers {' '.join(teachers)}: nobody is left to train or to be tested")
    return found


def _speech(clips: Sequence[Clip], config: TrainConfig) -> list[Split]:
    """The speech gate: named speakers are held out for test."""
    speakers: dict[str, set[str]] = {}
    for clip in clips:
        speakers.setdefault(clip.corpus, set()).add(clip.speaker)
    test = {
        corpus: [name for name in speakers.get(corpus, ()) if any(fnmatchcase(name, pattern) for pattern in patterns)]
        for corpus, patterns in config.protocols.speech_test.items()
    }
    return [named("speech", clips, test, {})]


_PROTOCOLS: dict[str, tuple[Callable[..., list[Split]], Callable[[Clip], object] | None]] = {
    "random": (_random, None),
    "speaker": (_speaker_folds, _speaker),
    "word": (_word_folds, _word),
    "kfold": (_kfold, _speaker),
    "corpus": (_corpus_folds, None),
    "default": (_default, _speaker),
    "unheard": (_unheard, _speaker),
    "yardsticks": (_yardsticks, _speaker),
    "speech": (_speech, _speaker),
}
NAMES = tuple(_PROTOCOLS)
VALIDATED = ("speaker", "kfold", "corpus")  # by some of the speakers who would train, where there are enough
