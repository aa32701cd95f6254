"""Who is on which side of a split: clips dealt by their speakers."""

from collections.abc import Sequence

from edge.errors import InputError
from train.data.clip import Clip
from train.data.corpora import NEVER_TRAINED
from train.data.split import SIDES, Split


def all_but(protocol: str, fold: str, clips: Sequence[Clip], tested: set[tuple[str, str]]) -> Split:
    """Some speakers (corpus, name) are tested, all the others train, but for those of corpora that only judge."""
    training, test = [], []
    for index, clip in enumerate(clips):
        if (clip.corpus, clip.speaker) in tested:
            test.append(index)
        elif clip.corpus not in NEVER_TRAINED:
            training.append(index)
    return split_of(protocol, fold, 0, training, [], test)


def named(protocol: str, clips: Sequence[Clip], test: dict[str, list[str]], validation: dict[str, list[str]]) -> Split:
    for corpus, speakers in test.items():
        if both := set(speakers) & set(validation.get(corpus, ())):
            raise InputError(
                f"protocol {protocol}: speaker {min(both)} of {corpus} is named for both test and validation"
            )
    sides: dict[str, list[int]] = {side: [] for side in SIDES}
    for index, clip in enumerate(clips):
        if clip.speaker in test.get(clip.corpus, ()):
            sides["test"].append(index)
        elif clip.speaker in validation.get(clip.corpus, ()):
            sides["validation"].append(index)
        else:
            sides["train"].append(index)
    return split_of(protocol, "0", 0, sides["train"], sides["validation"], sides["test"])


def by_speaker(
    protocol: str,
    fold: str,
    clips: Sequence[Clip],
    among: Sequence[int],
    training: Sequence[str],
    test: Sequence[str],
    *,
    whole: bool = False,
) -> Split:
    """Validation is held-out speakers of the training side; with one training speaker, a tenth of its words."""
    name = whole_name if whole else bare_name
    validating = validation_speakers(training)
    train = [index for index in among if name(clips[index]) in training and name(clips[index]) not in validating]
    validation = [index for index in among if name(clips[index]) in validating]
    return split_of(protocol, fold, 0, train, validation, [index for index in among if name(clips[index]) in test])


def validation_speakers(training: Sequence[str]) -> set[str]:
    """A sixth of the training speakers, spread over their order; none where there are fewer than three."""
    return set(training[2::6])


def bare_name(clip: Clip) -> str:
    return clip.speaker


def whole_name(clip: Clip) -> str:
    return f"{clip.corpus}/{clip.speaker}"


def speakers_of(
    clips: Sequence[Clip], among: Sequence[int], protocol: str, *, whole: bool = False, least: int = 2
) -> list[str]:
    nameless = [index for index in among if not clips[index].speaker]
    if nameless:
        raise InputError(
            f"protocol {protocol}: {clips[nameless[0]].path}: its speaker is not known; put it into "
            "<label>/<speaker>/, give a CSV with path,label,speaker, or take --protocol random"
        )
    speakers = sorted({(whole_name if whole else bare_name)(clips[index]) for index in among})
    if len(speakers) < least:
        there = f"only {speakers[0]}" if speakers else "none"
        raise InputError(
            f"protocol {protocol}: needs {least} speakers, there is {there}: add recordings of others, or take "
            "--protocol random"
        )
    return speakers


def split_of(protocol: str, fold: str, seed: int, train: object, validation: object, test: object) -> Split:
    return Split(
        protocol=protocol,
        fold=fold,
        seed=seed,
        train=sorted(int(index) for index in train),
        validation=sorted(int(index) for index in validation),
        test=sorted(int(index) for index in test),
    )
