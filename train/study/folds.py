"""Names of folds, and what they say: whom a fold tests, and whether its training knew their corpus."""

from collections.abc import Mapping, Sequence

_UNSEEN = "unseen"


def speakers_fold(corpus: str, training: Sequence[str], tested: Sequence[str], *, both: bool) -> str:
    """Return the name of a fold that tests speakers of a corpus; `both` names those that train, too."""
    return f"{corpus}:{'+'.join(training)}->{'+'.join(tested)}" if both else f"{corpus}:{'+'.join(tested)}"


def unseen_fold(corpus: str) -> str:
    """Return the name of the fold that tests a corpus of which nothing is trained on."""
    return f"{_UNSEEN}:{corpus}"


def group_of(fold: str) -> str | None:
    """Return what comes before the colon: a corpus, or `unseen`. None where a fold has no such name."""
    group, colon, _ = fold.partition(":")
    return group if colon else None


def seeds_of(fold: str, seeds: Mapping[str, int]) -> int:
    """Return how many trainings a fold has, `seeds` being by what comes before the colon."""
    return seeds.get(group_of(fold) or "", 1)


def is_unseen(fold: str) -> bool:
    return group_of(fold) == _UNSEEN
