"""`roomtone model ...`: each command yields the lines to print."""

import argparse
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge.config import EdgeConfig
from edge.errors import ArtifactError, ConfigError, InputError, UnavailableError
from edge.model import signatures
from edge.model.artifact import load, read_artifact
from edge.model.manifest import Manifest, encode
from edge.model.record import Entry, name
from edge.model.store import Store, store_of
from edge.model.trial import TRIAL_S
from edge.state_folder import as_owner

_VERDICT_S = 240.0  # two starts of a model that hangs, and a trial


def info(path: str | Path, *, as_json: bool) -> Iterator[str]:
    """What stands in a model file's manifest: the lines people ask for, or all of it."""
    artifact = read_artifact(path)
    manifest = artifact.manifest
    if as_json:
        yield encode(manifest).decode()
        return
    made = manifest.provenance
    corpora = ", ".join(f"{corpus.name} (licence {corpus.licence})" for corpus in made.corpora)
    lines = {
        "file": f"{path}, {os.path.getsize(path) / 1e3:.1f} kB, SHA-256 {artifact.digest[:16]}..., "
        + ("signed" if artifact.signature else "not signed"),
        "model": f"{manifest.model_id}: {manifest.architecture}, {_input(manifest)}",
        "labels": ", ".join(manifest.labels),
        "moods": "; ".join(f"{mood}: {', '.join(labels)}" for mood, labels in manifest.moods.items()),
        "features": f"{manifest.features.coefficients} MFCCs, {_reference(manifest)}",
        "decision": ", ".join(
            f"{field} {value}" for field, value in msgspec.structs.asdict(manifest.decision).items()
            if value is not None
        ),
        "WARNING": manifest.silence,
        "trained on": f"{corpora}; protocol {made.protocol}, seed {made.seed}",
        "made": f"{made.created}, commit {made.commit}",
        "measured": "; ".join(_measured(made.metrics)),
    }
    yield from (f"{key:<11}{value}" for key, value in lines.items() if value)


def _measured(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield a model's figures in words, those that guessing gives beside them; tables of them are left out."""
    beside = {}
    if "majority_accuracy" in metrics:
        commonest = metrics.get("majority_label", "the same label")
        beside["test_accuracy"] = f" (always {commonest}: {metrics['majority_accuracy']})"
    if recalls := metrics.get("test_recall"):
        beside["test_uar"] = f" (guessing: {round(1 / len(recalls), 4)})"
    for key, value in metrics.items():
        if not isinstance(value, dict) and not key.startswith("majority_"):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{key.replace('_', ' ').replace('uar', 'UAR')} {shown}{beside.get(key, '')}"


def _input(manifest: Manifest) -> str:
    if manifest.form == "utterance":
        return f"{len(manifest.functionals)} functionals of an utterance"
    frames = manifest.window_frames or manifest.step_frames
    return f"{frames} {'frame' if frames == 1 else 'frames'} a {manifest.form}"


def _reference(manifest: Manifest) -> str:
    if manifest.form == "utterance":
        return "pitch and spectral shape, against the room's baseline"
    return f"{manifest.normalization.kind} normalization"


def verify(path: str | Path) -> Iterator[str]:
    """Check a model file's hash, manifest and golden replay."""
    artifact, _ = load(path)
    signed = "signed" if artifact.signature else "not signed"
    yield (
        f"{path}: {artifact.manifest.model_id}: hash, manifest and golden replay verified "
        f"({artifact.digest[:16]}, {signed})"
    )


def keygen(prefix: str) -> Iterator[str]:
    """Make a pair of keys."""
    private, public = signatures.keygen(prefix)
    yield f"{private}: signs models (`roomtone model sign FILE --key {private}`); keep it off the sensors"
    yield f"{public}: goes to every sensor; name it there in edge.model_store.trusted_keys"


def sign(path: str, key: str) -> Iterator[str]:
    """Sign a model file in place."""
    artifact = signatures.sign(path, key)
    yield f"{path}: {artifact.manifest.model_id}: signed ({artifact.digest[:16]})"


def install(path: str, config: EdgeConfig, unit: str) -> Iterator[str]:
    """Put a model on trial, restart the sensor where it runs as a service (`unit`), and wait for the verdict.

    Raises ArtifactError where the model is refused, or where the sensor went back from it.
    """
    store = _installed_in(config)
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: {'this user may not read it' if os.path.exists(path) else 'no such model file'}")
    with as_owner(store.folder.parent):
        entry = store.install(Path(path))
    yield f"{entry.model_id}: verified and installed"
    if not _service_runs(unit):
        yield "the sensor does not run as a service here: it takes the model when it starts"
        return
    yield f"the sensor restarts with it; if it does not stay up for {TRIAL_S:.0f} s, it goes back by itself"
    _restart(unit)
    yield _verdict(store, entry, unit)


def roll_back(config: EdgeConfig, unit: str) -> Iterator[str]:
    """Have the sensor run the model before."""
    store = _installed_in(config)
    with as_owner(store.folder.parent):
        entry = store.roll_back()
    yield f"{name(entry)} is current again"
    if _service_runs(unit):
        _restart(unit)
        yield "the sensor was restarted"


def over_the_air(options: argparse.Namespace, config: EdgeConfig) -> Iterator[str]:
    """Put a model on the broker for a ring of sensors, take it off again, or promote it to the next ring."""
    from edge.updates import publisher

    if options.verb == "publish" and options.remove == (options.file is not None):
        options.complain("name a model FILE, or --remove, which takes none")
    if config.mqtt.host == "embedded":
        raise ConfigError("edge.mqtt.host: embedded is one sensor's own broker: name the house's (--config FILE)")
    if options.verb == "promote":
        return publisher.promote(config, options.first, options.rest, options.after)
    if options.remove:
        return publisher.remove(config, options.ring)
    return publisher.publish(config, options.file, options.ring)


def _installed_in(config: EdgeConfig) -> Store:
    if config.model is not None:
        raise ConfigError(f"edge.model: the sensor runs {config.model}, whatever is installed: set it to null")
    if (store := store_of(config)) is None:
        raise ConfigError("edge.state_folder: there is no state folder to install models in: set it")
    return store


def _verdict(store: Store, entry: Entry, unit: str) -> str:
    due_s = time.monotonic() + _VERDICT_S
    while time.monotonic() < due_s:
        record = store.read()
        if record.rejected is not None and record.rejected.entry == entry:
            raise ArtifactError(f"{entry.model_id}: {record.rejected.reason}; the sensor went back to "
                                f"{name(record.current)}")  # fmt: skip
        if record.current == entry and record.trial_starts is None:
            return f"{entry.model_id}: passed its trial"
        time.sleep(0.5)
    raise UnavailableError(
        f"{unit}: no verdict on {entry.model_id} after {_VERDICT_S:.0f} s; it goes on trying: journalctl -u {unit}"
    )


def _service_runs(unit: str) -> bool:
    booted = Path("/run/systemd/system").is_dir()  # sd_booted(3)
    return booted and not subprocess.run(["systemctl", "--quiet", "is-active", unit]).returncode


def _restart(unit: str) -> None:
    # It fails where the new model does not start, which the store's record tells, too.
    done = subprocess.run(["systemctl", "restart", unit], capture_output=True, text=True)
    if "denied" in done.stderr or "authentication" in done.stderr:
        raise UnavailableError(f"{unit}: may not be restarted by this user; do it: sudo systemctl restart {unit}")
