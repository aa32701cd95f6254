"""Sizes and learning rate by KerasTuner, judged on validation speakers; the test side is never touched."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import msgspec

from edge.features.mfcc import MfccSpec
from train.config import TrainConfig
from train.data.clip import Clip
from train.data.features import Cache
from train.fitting import metrics
from train.fitting.fit import logits_of, network_for, steps_of, train_epoch
from train.fitting.job import Job
from train.fitting.objective import compiled
from train.fitting.prepare import Prepared

OBJECTIVE = "val_uar"


class _Network(keras_tuner.HyperModel):
    """A network whose sizes and learning rate are drawn around a job's own."""

    def __init__(self, job: Job, config: TrainConfig, spec: MfccSpec, data: Prepared) -> None:
        super().__init__()
        self._job, self._config, self._spec, self._data = job, config, spec, data
        self._validation = data.windows("validation"), data.truth("validation")

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        recipe = self._recipe(hp)
        model = network_for(
            self._job, sized(self._job.settings, hp), self._data.normalization, self._spec,
            frames=self._data.window_frames, labels=self._config.labels, precision=recipe.precision,
        )  # fmt: skip
        return compiled(model, recipe, steps=steps_of(self._job.split, recipe))

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> dict[str, float]:
        recipe = self._recipe(hp)
        windows, truth = self._validation
        best = 0.0
        for epoch in range(recipe.epochs):
            train_epoch(model, self._data, recipe, epoch, self._job.seed)
            best = max(best, metrics.uar(truth, logits_of(model, windows).argmax(axis=1)))
        return {OBJECTIVE: best}

    def _recipe(self, hp: keras_tuner.HyperParameters) -> Any:
        middle = self._job.recipe.learning_rate
        rate = hp.Float("learning_rate", middle / 5, middle * 5, sampling="log", default=middle)
        return msgspec.structs.replace(self._job.recipe, learning_rate=rate)


def sized(settings: Any, hp: keras_tuner.HyperParameters) -> Any:
    """Return a network's settings with widths scaled by one factor, Dense by another, and dropout drawn."""
    field = "filters" if hasattr(settings, "filters") else "units"
    scale = hp.Choice("width", [0.5, 0.75, 1.0, 1.5], default=1.0)
    changed = {field: tuple(max(4, round(width * scale)) for width in getattr(settings, field))}
    changed["dropout"] = hp.Choice("dropout", [0.0, 0.1, 0.2, 0.3, 0.4], default=0.2)
    if hasattr(settings, "dense"):
        changed["dense"] = max(8, round(settings.dense * hp.Choice("dense", [0.5, 1.0, 2.0], default=1.0)))
    return msgspec.structs.replace(settings, **changed)


def tune(
    job: Job, clips: Sequence[Clip], config: TrainConfig, spec: MfccSpec, *, folder: Path, trials: int
) -> list[dict[str, Any]]:
    """Run trials until there are `trials` of them in `folder` (an earlier call's count) and return them, best first."""
    data = Prepared(clips, job.split, job.recipe, config, spec, Cache(config.cache), seed=job.seed, network=job.network)
    tuner = keras_tuner.BayesianOptimization(
        _Network(job, config, spec, data),
        objective=keras_tuner.Objective(OBJECTIVE, "max"),
        max_trials=trials,
        seed=job.seed,
        directory=str(folder),
        project_name=job.name,
        overwrite=False,
    )
    tuner.search(verbose=0)
    finished = [trial for trial in tuner.oracle.trials.values() if trial.score is not None]
    return [
        {OBJECTIVE: trial.score, **trial.hyperparameters.values}
        for trial in sorted(finished, key=lambda trial: -trial.score)
    ]
