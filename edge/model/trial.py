"""The model that runs: the one that the config names, else the installed one, else the bundled one; and its trial."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from edge.config import EdgeConfig
from edge.errors import ArtifactError
from edge.model.artifact import Artifact, load
from edge.model.graph import Model
from edge.model.pace import BUSIEST
from edge.model.record import Entry
from edge.model.store import TRIAL_S, Store, store_of
from edge.sound.blocks import BLOCK_S

log = logging.getLogger("roomtone.models")


@dataclass(slots=True)
class Trial:
    """Watches a new model while it runs."""

    store: Store
    entry: Entry
    started_s: float = field(default_factory=time.monotonic)
    over: bool = False

    def turned(self, *, dropped_blocks: int) -> None:
        """The sensor's loop turned. Raises ArtifactError, the store having gone back, where sound had to be dropped."""
        if self.over or (elapsed_s := time.monotonic() - self.started_s) < TRIAL_S:
            return
        self.over = True
        lost_s = dropped_blocks * BLOCK_S
        if lost_s > BUSIEST * elapsed_s:
            reason = f"cannot keep real time: {lost_s:.0f} s of {elapsed_s:.0f} s of sound were dropped"
            self.store.reject(self.entry, reason)
            raise ArtifactError(f"model {self.entry.model_id}: {reason}")
        self.store.confirm(self.entry)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model that runs, and its trial if it is on one."""

    artifact: Artifact
    model: Model
    trial: Trial | None = None


def choose(config: EdgeConfig, bundled: Path) -> Chosen:
    """Return the model that the config names, else the installed one, else the bundled one, and log where it will
    hardly ever name anything. Raises ArtifactError."""
    chosen = _chosen(config, bundled)
    manifest = chosen.artifact.manifest
    if silence := manifest.silence_from(config.decision.enter):
        log.warning("model %s %s", manifest.model_id, silence)
    return chosen


def _chosen(config: EdgeConfig, bundled: Path) -> Chosen:
    if config.model is None and (store := store_of(config)) is not None and (opened := store.open()) is not None:
        artifact, model, trying = opened
        return Chosen(artifact, model, None if trying is None else Trial(store, trying))
    return Chosen(*load(bundled if config.model is None else config.model))
