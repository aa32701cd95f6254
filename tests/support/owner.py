"""Somebody with keys and models of several dates, and sensors without a microphone that take them over the air."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edge.config import EdgeConfig, load_edge
from edge.daemon.run import sense
from edge.delivery.outbox import Outbox
from edge.model import signatures
from edge.model.artifact import DEFAULT_MODEL
from edge.model.record import Record
from edge.model.store import Store, store_of
from edge.model.trial import choose
from edge.sound.blocks import BLOCK_SAMPLES, paced, timed_blocks
from tests.support.artifacts import DEFAULT, packed, parts
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT

HISS = np.random.default_rng(0).normal(0, 1e-4, BLOCK_SAMPLES).astype(np.float32)


@dataclass(frozen=True)
class Owner:
    """Somebody with keys, models of several dates, and a sensor's folder."""

    folder: Path

    @classmethod
    def with_keys(cls, folder: Path) -> Self:
        """Return one with two pairs of keys, `mine` and a `stranger`'s."""
        for name in ("mine", "stranger"):
            signatures.keygen(folder / name)
        made = cls(folder)
        made.config()
        return made

    def model(
        self, name: str, *, created: str = "2026-11-01T00:00:00Z", key: str | None = "mine", **manifest: Any
    ) -> Path:
        """Make a model out of the bundled one: another name and date, and what else is given."""
        graph, told = parts(DEFAULT)
        told["provenance"]["created"] = created
        path = self.folder / f"{name}.tflite"
        path.write_bytes(packed(graph, {**told, "name": name, **manifest}))
        if key is not None:
            signatures.sign(path, self.folder / f"{key}.key")
        return path

    def config(self, *, edge: dict[str, Any] | None = None, called: str = "config", **store: Any) -> EdgeConfig:
        """Write a configuration, `called`.yaml, and return it. store: what is in edge.model_store."""
        settings = {"trusted_keys": [str(self.folder / "mine.pub")], **store}
        told = {"state_folder": str(self.folder / "state"), "model_store": settings, **(edge or {})}
        (self.folder / f"{called}.yaml").write_text(json.dumps({"edge": told}))
        return load_edge(self.folder / f"{called}.yaml")

    def store(self, **settings: Any) -> Store:
        return store_of(self.config(**settings))

    def roomtone(
        self, *arguments: str | Path, prefix: tuple[str, ...] = (), called: str = "config"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, sys.executable, "-m", "edge", "--config", self.folder / f"{called}.yaml", "model", *arguments],
            cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip

    def running(self) -> str:
        """Return the name of the model that the sensor would run, which is verified on the way."""
        return choose(self.config(), DEFAULT_MODEL).artifact.manifest.name


class Silent:
    """A sensor that hears a hiss, in a thread, while the context lasts: the daemon's own loop, link and store.

    lives: how often it began. drops: of a model, by its name, whether sound is lost while it runs.
    """

    def __init__(self, config: EdgeConfig, *, drops: Callable[[str], bool] = lambda name: False) -> None:
        self.config, self.lives = config, 0
        self._drops = drops
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name=config.device.id, daemon=True)

    @property
    def record(self) -> Record:
        return store_of(self.config).read()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(PATIENCE_S)

    def _live(self) -> None:
        while not self._stopping.is_set():
            self.lives += 1
            sound = paced(timed_blocks(repeat(HISS), started_at=time.time()), self._stopping.is_set)
            sense(self.config, sound, stopping=self._stopping.is_set, again=True, outbox=Outbox(None),
                  dropped=self._dropped, state=Path(self.config.state_folder))  # fmt: skip

    def _dropped(self) -> int:
        current = self.record.current
        return 10**6 if current is not None and self._drops(current.model_id) else 0
