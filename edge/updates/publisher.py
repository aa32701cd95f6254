"""The owner's side: a signed model is published to a ring, and from one ring to the next when it has run well there."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edge.config import EdgeConfig
from edge.delivery.past import Writer
from edge.errors import ArtifactError, UnavailableError, nearest
from edge.model import signatures
from edge.model.artifact import Artifact, content, unpack
from edge.voice.models import MOST_BYTES, Model, ring_topic
from edge.voice.payloads import ROOT, decoded, unix_s

FIRST, REST = "canary", "house"  # rings
_AROUND_BYTES = 100  # of a packet, beside topic and payload
_WITHIN_S = 60.0  # for a packet so large
_LOOK_S = 5.0


def publish(config: EdgeConfig, path: str | Path, ring: str) -> Iterator[str]:
    """Put a model on the broker for a ring; yield what was done.

    Raises ArtifactError for one that its sensors would refuse, UnavailableError where the broker does not take it, or
    where no sensor is of the ring.
    """
    data = content(path)
    try:
        artifact = _publishable(config, data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    with Writer(config.mqtt, f"{ROOT}-models-publish") as broker:
        _require_known(broker, ring)
        _put(broker, ring, data)
        yield f"{_called(artifact)}: published to ring {ring} on broker {broker.address}"
        told = [report for report in _reports(broker).values() if report.model.ring == ring]
    taking = [report for report in told if report.model.updates != "never"]
    those = "sensor takes" if len(taking) == 1 else "sensors take"
    yield f"{len(taking)} {those} models of this ring; each says on {ROOT}/<device>/model what became of it"


def remove(config: EdgeConfig, ring: str) -> Iterator[str]:
    """Take a ring's model off the broker; sensors that have it keep it. Raises UnavailableError."""
    with Writer(config.mqtt, f"{ROOT}-models-remove") as broker:
        if not broker.read([ring_topic(ring)]):
            raise UnavailableError(f"ring {ring}: nothing that this account may read is published to it on broker "
                                   f"{broker.address}")  # fmt: skip
        broker.put(ring_topic(ring), b"")
        yield f"ring {ring}: nothing is published to it any more; sensors that installed its model keep it"


def promote(config: EdgeConfig, first: str, rest: str, after_s: float) -> Iterator[str]:
    """Publish a ring's model to another ring, when every sensor of the first has run it for so long.

    Yields what is waited for, whenever that changes. Raises ArtifactError, which names it, where one of them refused it
    or went back from it; UnavailableError where there is none in either ring, or no model.
    """
    with Writer(config.mqtt, f"{ROOT}-models-promote") as broker:
        found = broker.read([ring_topic(first)]).get(ring_topic(first))
        if found is None:
            raise UnavailableError(f"ring {first}: no model is published to it on broker {broker.address}")
        artifact = _publishable(config, found.word)
        _require_known(broker, rest)
        yield from _waited(broker, artifact, first, rest, after_s)
        _put(broker, rest, found.word)
        yield f"{_called(artifact)}: ran well in ring {first}; published to ring {rest}"


def _require_known(broker: Writer, ring: str) -> None:
    """Raise UnavailableError for a ring, other than the usual two, of which no sensor says that it is."""
    known = sorted({FIRST, REST, *(report.model.ring for report in _reports(broker).values())})
    if ring not in known:
        meant = nearest(ring, known) or f"there are {', '.join(known)}"
        raise UnavailableError(f"ring {ring}: no sensor on broker {broker.address} is of it (edge.model_store.ring): "
                               f"{meant}")  # fmt: skip


def _waited(broker: Writer, artifact: Artifact, first: str, rest: str, after_s: float) -> Iterator[str]:
    said = None
    while True:
        try:
            waiting = _standing(_reports(broker), artifact, first, rest, after_s, time.time())
        except UnavailableError as error:
            if said is None:
                raise  # nobody is there from the start
            waiting = str(error)  # it comes back, or whoever waits ends it
        if waiting is None:
            return
        if waiting != said:
            said = waiting
            yield f"waiting: {waiting}"
        time.sleep(_LOOK_S)


class Report(NamedTuple):
    """What a sensor says of its model, and whether it is there."""

    model: Model
    online: bool


def _standing(
    reports: dict[str, Report], artifact: Artifact, first: str, rest: str, after_s: float, now_s: float
) -> str | None:
    """Return what is to be waited for, in words; None where every sensor of the first ring has run it for so long."""
    ring = {device: report for device, report in reports.items()
            if report.model.ring == first and report.model.updates != "never"}  # fmt: skip
    if not ring:
        raise UnavailableError(f"ring {first}: no sensor takes its models (edge.model_store: updates, ring)")
    for device, (model, _) in ring.items():
        ours = model.offered is not None and model.offered.sha256 == artifact.digest
        if model.result in ("refused", "went-back") and ours:
            did = "went back from it" if model.result == "went-back" else "refused it"
            raise ArtifactError(f"{_called(artifact)}: {device} {did}: {model.reason}; ring {rest} keeps what it has")
    waiting = [f"{device} {why}" for device, report in ring.items()
               if (why := _lacks(report, artifact, after_s, now_s))]  # fmt: skip
    return "; ".join(waiting) or None


def _lacks(report: Report, artifact: Artifact, after_s: float, now_s: float) -> str | None:
    model = report.model
    if not report.online:
        return "is offline"
    if model.installed.sha256 != artifact.digest:
        return f"has not installed it ({model.result}{f': {model.reason}' if model.reason else ''})"
    if model.result == "trying":
        return "tries it"
    return f"runs it since {model.since}" if now_s - unix_s(model.since) < after_s else None


def _reports(broker: Writer) -> dict[str, Report]:
    """Return what every sensor says, by device; without those that make no sense."""
    found = broker.read([f"{ROOT}/+/model", f"{ROOT}/+/status"])
    reports = {}
    for topic, said in found.items():
        if (named := re.fullmatch(rf"{ROOT}/([a-z0-9-]{{1,64}})/model", topic)) is None:
            continue
        try:
            model = decoded(said.word, Model)
        except ValueError:
            continue
        status = found.get(f"{ROOT}/{named[1]}/status")
        reports[named[1]] = Report(model, status is not None and status.word == b"online")
    return reports


def _publishable(config: EdgeConfig, data: bytes) -> Artifact:
    """Return what is in a file, if sensors could take it. Raises ArtifactError.

    Whether they trust its signature is known here only where this configuration names keys.
    """
    if len(data) > MOST_BYTES:
        raise ArtifactError(f"has {len(data)} bytes, and sensors take at most {MOST_BYTES} over the air: install it on "
                            "each (`roomtone model install`)")  # fmt: skip
    artifact = unpack(data)
    if artifact.signature is None:
        raise ArtifactError("not signed: `roomtone model sign` it first; sensors take no other")
    if config.model_store.trusted_keys:
        signatures.verify(artifact, config.model_store.trusted_keys)
    return artifact


def _put(broker: Writer, ring: str, data: bytes) -> None:
    needed = len(data) + len(ring_topic(ring)) + _AROUND_BYTES
    if needed > broker.limits.packet_bytes:
        raise UnavailableError(f"broker {broker.address}: takes packets of at most {broker.limits.packet_bytes} bytes, "
                               f"and this needs {needed} (mosquitto: max_packet_size)")  # fmt: skip
    broker.put(ring_topic(ring), data, within_s=_WITHIN_S)


def _called(artifact: Artifact) -> str:
    return f"{artifact.manifest.model_id} ({artifact.digest[:16]})"
