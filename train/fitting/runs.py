"""A run: a folder with the trained network, the record of how it came to be, and every clip with its side."""

import csv
import importlib.metadata
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge.errors import InputError, nearest
from edge.features.baseline import Prior
from edge.features.mfcc import MfccSpec
from edge.features.normalize import Normalization
from edge.files import write_atomically
from edge.model.manifest import Corpus
from train.config import Augmentation, Recipe
from train.data import table
from train.data.clip import Clip
from train.data.corpora import LICENCES
from train.data.split import SIDES, Split
from train.fitting.checkpoint import epochs_done
from train.networks import registry

RECORD, SPLIT, MODEL, LOGITS = "run.json", "split.csv", "model.keras", "logits.npz"
# Some of what the networks of speech and of utterances are given of both sides, for conversion: its ranges, and its
# verification.
SCENES, ROOMS = "scenes.npz", "rooms.npz"
_PACKAGES = ("keras", "tensorflow-cpu", "tensorflow", "torch", "jax", "numpy", "soundfile", "scikit-learn")


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a network came to be. `curves` have a value per epoch; `seconds` are those of its epochs by the clock,
    `cpu_seconds` all that its process spent (0: not measured); `metrics` are those of the sides, test above all;
    `augmentation` (None where there was none) says which noise the network has heard. A network of frames has
    `normalization` and `window_frames`, one of utterances `functionals` and `baseline`."""

    name: str
    network: str
    settings: dict[str, Any]
    recipe: Recipe
    labels: list[str]
    features: MfccSpec
    normalization: Normalization | None = None
    window_frames: int | None = None
    functionals: list[str] | None = None
    baseline: Prior | None = None
    protocol: str
    fold: str
    split_seed: int
    seed: int
    corpora: list[Corpus]
    commit: str
    created: str
    versions: dict[str, str]
    epochs: int
    chosen_epoch: int
    curves: dict[str, list[float]]
    seconds: float
    cpu_seconds: float = 0.0
    metrics: dict[str, Any]
    device: str
    augmentation: Augmentation | None = None


class Run:
    """A finished run on disk."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self.folder = folder
        self.record = record

    @cached_property
    def model(self) -> Any:
        """The Keras model, ending in logits."""
        import keras  # slow to import; a record can be read without it

        registry.module(self.record.network)  # which may have layers of its own
        return keras.saving.load_model(self.folder / MODEL, compile=False)

    def logits(self, side: str) -> np.ndarray:
        """Return the network's logits on a side's windows, float32 (n, labels), in the order of `clips`."""
        with np.load(self.folder / LOGITS) as arrays:
            return arrays[f"{side}_logits"]

    def clips(self, side: str) -> list[Clip]:
        """Return the clips of `train`, `validation` or `test`. Raises ValueError for another side."""
        if side not in SIDES:
            raise ValueError(f"side {side!r}, expected one of {', '.join(SIDES)}")
        path = self.folder / SPLIT
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = [row for row in csv.DictReader(file) if row.pop("side") == side]
        return [table.written(row) for row in rows]


def load_runs(folder: str | Path) -> list["Run"]:
    """Return the finished runs whose folders lie in a folder, by name. Raises InputError where there is none."""
    found = [load_run(path.parent) for path in sorted(Path(folder).glob(f"*/{RECORD}"))]
    if not found:
        raise InputError(f"{folder}: no folders of finished runs in it")
    return found


def load_run(path: str | Path) -> Run:
    """Return the finished run in a folder, or that of its RECORD or MODEL. Raises InputError where there is none."""
    folder = Path(path)
    if folder.name in (RECORD, MODEL) and folder.is_file():
        folder = folder.parent
    try:
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=RunRecord)
    except FileNotFoundError as error:
        raise InputError(f"{folder}: {_unfinished(folder)}") from error
    except OSError as error:
        raise InputError(f"{folder}: not a finished run ({RECORD}: {error.strerror.lower()})") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{folder / RECORD}: {error}") from error
    for name in (MODEL, SPLIT):
        if not (folder / name).exists():
            raise InputError(f"{folder}: not a finished run ({name} is missing)")
    return Run(folder, record)


def _unfinished(folder: Path) -> str:
    """Return in words what a folder without a record is, and what helps."""
    if not folder.exists():
        others = [path.parent.name for path in folder.absolute().parent.glob(f"*/{RECORD}")]
        like = nearest(folder.name, others)
        return f"no such folder{like and f': {like}'}"
    if epochs := epochs_done(folder):
        done = f"stopped after {epochs} {'epoch' if epochs == 1 else 'epochs'}"
        return f"not a finished run: its training {done}; the command that began it goes on with it"
    return f"not a finished run ({RECORD} is missing)"


def write_record(folder: Path, record: RunRecord) -> None:
    """Write run.json atomically: it is what makes a run finished."""
    write_atomically(folder / RECORD, msgspec.json.format(msgspec.json.encode(record), indent=1))


def write_split(folder: Path, clips: Sequence[Clip], split: Split) -> None:
    """Write every clip of the split with its side."""
    members = [(clips[index], side) for side in SIDES for index in split.side(side)]
    table.write(folder / SPLIT, [clip for clip, _ in members], side=[side for _, side in members])


def corpora_of(clips: Sequence[Clip]) -> list[Corpus]:
    """Return the corpora of the clips with their licences."""
    return [
        Corpus(name=name, licence=LICENCES.get(name, "unknown"))
        for name in dict.fromkeys(clip.corpus for clip in clips)
    ]


def commit() -> str:
    """Return the checkout's commit, with `-dirty` where files differ from it; `unknown` outside of git."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def versions() -> dict[str, str]:
    """Return the versions of what takes part in a result."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Return the time as RFC 3339 UTC, in seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
