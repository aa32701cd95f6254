"""What a recorder of a history needs, as `roomtone check` and `doctor` look at it: a store, rights, a place for
metrics."""

import shutil
import urllib.request

from edge.commands.said import Found, counted
from edge.config import Audio, Device, EdgeConfig
from edge.delivery.access import reached
from edge.delivery.past import Writer
from edge.errors import UnavailableError
from edge.history.answers import ANSWERS, RECORDER
from edge.history.exposition import PATH, Exposition
from edge.history.place import tried
from edge.voice.payloads import ROOT

_SPARE_BYTES = 50_000_000
_WAIT_S = 3.0
_RIGHTS = "give its account what `house.sh history` gives: topic read roomtone/#, topic write roomtone/history/..."


def records(config: EdgeConfig) -> bool:
    """Return whether a configuration is a recorder's: it names a store, or where metrics are told."""
    return (config.history.store, config.history.metrics) != (None, None)


def senses(config: EdgeConfig) -> bool:
    """Return whether it is a sensor's, perhaps besides: it names a device or where sound comes from."""
    return not records(config) or (config.device, config.audio) != (Device(), Audio())


def store(config: EdgeConfig) -> Found:
    """Look whether something can be kept. Raises StoreError, ConfigError or UnavailableError."""
    kept = tried(config)
    if kept.folder is None:
        return Found(words=kept.words)
    free = shutil.disk_usage(kept.folder).free
    remedy = "make room, or keep less (edge.history: events_days, minutes_days)" if free < _SPARE_BYTES else ""
    return Found(words=f"{kept.words}, {free / 1e9:.1f} GB free", remedy=remedy)


def metrics(config: EdgeConfig) -> Found:
    """Look whether metrics can be told, or are told by the recorder that runs. Raises UnavailableError."""
    place = config.history.metrics
    if place is None:
        return Found(words="told nowhere (edge.history.metrics)")
    try:
        with Exposition(place):
            return Found(words=f"can be told on {place}")
    except UnavailableError:
        if not _tells(place):
            raise
        return Found(words=f"told on {place} by the recorder that runs")


def _tells(place: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{place}{PATH}", timeout=_WAIT_S) as answer:
            return b"roomtone_recorder_" in answer.read()
    except (OSError, ValueError):
        return False


def rights(config: EdgeConfig) -> Found:
    """Look whether the recorder's account may read what sensors say, and answer. Raises UnavailableError."""
    with Writer(reached(config.mqtt), f"{ROOT}-history-check") as broker:
        told = broker.read([RECORDER, f"{ROOT}/+/status"])
        if broker.denied is not None:
            raise UnavailableError(f"rights: broker {broker.address} lets nothing be read ({broker.denied}): {_RIGHTS}")
        try:
            broker.put(f"{ANSWERS}/check", b"", retain=False)
        except UnavailableError as error:
            raise UnavailableError(f"rights: {error}: {_RIGHTS}") from error
    sensors = len(told) - (RECORDER in told)
    if not sensors:
        return Found(words="no sensor can be read of", remedy=f"where there are some, {_RIGHTS}")
    return Found(words=f"reads {counted(sensors, 'sensor')}, and may answer")


LOOKS = {"rights": rights, "store": store, "metrics": metrics}  # by what is looked at; for rights a broker must answer
