"""The trainings of the yardsticks: a recipe on voices and corpora that it has not heard, whole or in a fast form."""

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from train.config import TrainConfig
from train.data.clip import Clip
from train.data.split import Split
from train.fitting.job import Job, job_of
from train.study.folds import is_unseen

FAST = 4  # of so many clips one trains


def jobs_of(
    network: str,
    recipe: str,
    folds: Sequence[Split],
    clips: Sequence[Clip],
    config: TrainConfig,
    *,
    epochs: int | None = None,
    fast: bool = False,
) -> list[Job]:
    """Return a training per fold, corpora as a whole first. Raises ConfigError for an unknown recipe or network.

    fast: on a quarter of the clips for as many epochs, which takes a quarter of the time.
    """
    ordered = sorted(folds, key=lambda fold: not is_unseen(fold.fold))
    jobs = [job_of(network, recipe, fold, config, epochs=epochs) for fold in ordered]
    if not fast:
        return jobs
    kept = few(clips)
    return [
        msgspec.structs.replace(
            job,
            name=f"{job.name}-fast",
            split=msgspec.structs.replace(job.split, train=[index for index in job.split.train if index in kept]),
        )
        for job in jobs
    ]


def few(clips: Sequence[Clip]) -> set[int]:
    """Return which clips train in the fast form: a quarter of those of each voice and label, in every fold the same."""
    alike: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for index, clip in enumerate(clips):
        alike[clip.corpus, clip.speaker, clip.label].append(index)
    by_sound = {key: sorted(those, key=lambda index: clips[index].sound_sha256) for key, those in alike.items()}
    return {index for those in by_sound.values() for index in those[::FAST]}
