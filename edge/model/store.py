"""Installed models: a folder of artifacts, and one small record that says which of them runs.

The record is replaced atomically and is the only thing that switches, so that a crash at any moment leaves the model
before or the model after. A new model is on trial: it must start, keep up with real time and stay up for a while; else
the sensor itself goes back to the one before. Whatever is loaded is verified first: signature, hash, manifest, golden
replay.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge.config import EdgeConfig, ModelStore
from edge.errors import ArtifactError
from edge.files import PlaceError, write_atomically
from edge.model.artifact import Artifact, content, read_artifact, unpack
from edge.model.graph import Model
from edge.model.pace import check_pace
from edge.model.record import Entry, NotPermittedError, Record, Rejection, entry_of, instant, name
from edge.model.signatures import verify
from edge.state_folder import state_folder

log = logging.getLogger("roomtone.models")

TRIAL_S = 20.0  # a new model must run for this long
TRIAL_STARTS = 2  # and may be started this often until then
_RECORD = "models.json"  # a Record


class Store:
    """The models in a folder. Every method takes the folder's lock.

    Where the disk does not let it, `install` and `roll_back` raise PlaceError; the sensor's own steps only say so.
    """

    def __init__(self, folder: Path, settings: ModelStore) -> None:
        self.folder, self._settings = folder, settings

    def read(self) -> Record:
        """Return the record; an empty one where there is none, or where it is damaged (which is logged)."""
        path = self.folder / _RECORD
        try:
            return msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            return Record()
        except (OSError, msgspec.DecodeError) as error:
            log.error("%s: cannot be read (%s): no installed model is known", path, error)
            return Record()

    def install(self, path: Path) -> Entry:
        """Verify a file in every way, keep it and put it on trial. Raises ArtifactError or PlaceError."""
        data = content(path)
        try:
            return self.take(data)
        except NotPermittedError as error:
            raise ArtifactError(f"{path}: {error}; edge.model_store.{error.permitted_by} permits it") from error
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error

    def take(self, data: bytes) -> Entry:
        """Install what is in a file. No interpreter sees it before its signature is known to be good."""
        artifact, entry = self._examined(data)
        check_pace(artifact, artifact.load())
        with self._locked():
            record = self.read()
            self._refuse_older(record, entry)
            if record.current == entry:
                return entry
            write_atomically(self.folder / entry.file, data)
            before, older = record.current, record.previous
            if record.trial_starts is not None:  # what is itself still on trial is no model to go back to
                before, older = record.previous, record.older
            self._write(Record(current=entry, previous=before, older=older, trial_starts=0, newest=record.newest))
            self._tidy()
        return entry

    def examine(self, data: bytes) -> Entry:
        """Return what a file's content is, if it may be installed: all of `take` that runs no graph and writes nothing.

        Raises ArtifactError.
        """
        return self._examined(data)[1]

    def open(self) -> tuple[Artifact, Model, Entry | None] | None:
        """Return the model to run, verified, and its entry where it is on trial; None where it is the bundled one.

        One that fails, or was started too often without passing its trial, is rejected in favour of the one before.
        Where the disk does not let it, that is said, and the bundled one runs: better than a sensor that is deaf.
        """
        if not os.path.isdir(self.folder):
            _say_if_closed(self.folder)
            return None
        try:
            return self._opened()
        except PlaceError as error:
            log.error("%s: taking the bundled model", error)
            return None

    def _opened(self) -> tuple[Artifact, Model, Entry | None] | None:
        with self._locked():
            record = self.read()
            while record.current is not None:
                trying = record.trial_starts is not None
                try:
                    if trying and record.trial_starts >= TRIAL_STARTS:
                        raise ArtifactError(f"did not stay up for {TRIAL_S:.0f} s in {TRIAL_STARTS} starts")
                    if trying:  # counted before it is touched, for it may end this process
                        record = msgspec.structs.replace(record, trial_starts=record.trial_starts + 1)
                        self._write(record)
                    artifact, model = self._load(record.current)
                    if trying:
                        check_pace(artifact, model)
                    return artifact, model, record.current if trying else None
                except ArtifactError as error:
                    record = self._reject(record, str(error))
        return None

    def confirm(self, entry: Entry) -> None:
        """The model on trial has passed."""
        with _said(), self._locked():
            record = self.read()
            if record.current == entry:
                newest = max(record.newest, instant(entry.created))
                self._write(msgspec.structs.replace(record, older=None, trial_starts=None, newest=newest))
                self._tidy()
                log.info("model %s has passed its trial", entry.model_id)

    def reject(self, entry: Entry, reason: str) -> None:
        """The model on trial has failed: the one before is current again."""
        with _said(), self._locked():
            record = self.read()
            if record.current == entry:
                self._reject(record, reason)

    def roll_back(self) -> Entry | None:
        """Make the model before current again; one on trial is rejected. Returns it (None: the bundled one).

        Raises ArtifactError where that does not load.
        """
        with self._locked():
            record = self.read()
            if record.current is None:
                raise ArtifactError("the bundled model is current: there is none before it")
            if record.previous is not None:
                self._load(record.previous)
            if record.trial_starts is not None:
                return self._reject(record, "taken back before it had passed its trial").current
            self._write(Record(current=record.previous, previous=record.current, newest=record.newest))
            return record.previous

    def _examined(self, data: bytes) -> tuple[Artifact, Entry]:
        artifact = unpack(data)
        self._admit(artifact)
        entry = entry_of(artifact)
        self._refuse_older(self.read(), entry)
        return artifact, entry

    def _load(self, entry: Entry) -> tuple[Artifact, Model]:
        path = self.folder / entry.file
        found = read_artifact(path)
        try:
            if found.digest != entry.digest:
                raise ArtifactError("another model than the one that was installed under this name")
            self._admit(found)
            return found, found.load()
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error

    def _admit(self, artifact: Artifact) -> None:
        if not self._settings.allow_unsigned:
            verify(artifact, self._settings.trusted_keys)

    def _refuse_older(self, record: Record, entry: Entry) -> None:
        if not self._settings.allow_older and instant(entry.created) < record.newest:
            older = f"made {entry.created}, older than what was installed before ({record.newest})"
            raise NotPermittedError(older, "allow_older")

    def _reject(self, record: Record, reason: str) -> Record:
        failed = record.current
        log.error("model %s is rejected: %s; going back to %s", failed.model_id, reason, name(record.previous))
        rejected = Rejection(entry=failed, reason=reason)
        gone_back = Record(current=record.previous, previous=record.older, newest=record.newest, rejected=rejected)
        self._write(gone_back)
        return gone_back

    def _write(self, record: Record) -> None:
        write_atomically(self.folder / _RECORD, msgspec.json.format(msgspec.json.encode(record), indent=1))

    def _tidy(self) -> None:
        record = self.read()
        kept = {entry.file for entry in (record.current, record.previous, record.older) if entry is not None}
        for file in self.folder.iterdir():
            if file.is_file() and file.name not in kept | {_RECORD}:
                file.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise PlaceError(f"{self.folder}: cannot be used (edge.state_folder; {error.strerror})") from error


def store_of(config: EdgeConfig) -> Store | None:
    """Return the sensor's store; None where it has no state folder."""
    folder = state_folder(config.state_folder)
    return None if folder is None else Store(folder / "models", config.model_store)


def current_file(config: EdgeConfig) -> Path | None:
    """Return the installed model's file, to be looked at; None where there is none, or where we may not know."""
    if (store := store_of(config)) is None:
        return None
    if _say_if_closed(store.folder):
        return None
    entry = store.read().current
    return None if entry is None else store.folder / entry.file


def _say_if_closed(folder: Path) -> bool:
    """Return whether we may not know what is in a folder, having said so."""
    try:
        os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        log.warning("%s: not readable by this user (%s): taking the bundled model", folder, error.strerror)
        return True
    return False


@contextmanager
def _said() -> Iterator[None]:
    """Have a disk that does not let us cost a line, not the sensor."""
    try:
        yield
    except PlaceError as error:
        log.error("%s", error)
