"""What a sensor keeps in its state folder, and where."""

import logging
from contextlib import suppress
from pathlib import Path

from edge.config import EdgeConfig
from edge.daemon.preferences import Preferences
from edge.daemon.switch import KEPT_AS, Switch
from edge.delivery.outbox import Outbox
from edge.delivery.store import Store
from edge.files import may_write
from edge.state_folder import state_folder

log = logging.getLogger("roomtone")


def durable_outbox(config: EdgeConfig) -> Outbox:
    """Return the outbox of a sensor, with what an earlier life left in its state folder."""
    folder = state_folder(config.state_folder)
    if folder is None:
        log.warning("no state folder (set edge.state_folder): events that the broker does not take stay in memory only")
        return Outbox(None)
    if not may_write(folder):
        log.error("edge.state_folder: %s: cannot be written: nothing is kept; give it to this sensor's user", folder)
    limits = config.outbox
    path = folder / f"outbox-{config.device.id}.sqlite"
    return Outbox(Store(path, max_rows=limits.rows, max_bytes=limits.bytes))


def outbox_of(config: EdgeConfig) -> Outbox:
    """Return the outbox for the broker that the config names."""
    # A broker of our own comes and goes with us: what it misses is not worth keeping for another one.
    return Outbox(None) if config.mqtt.host == "embedded" else durable_outbox(config)


def kept_preferences(config: EdgeConfig) -> Preferences:
    """Return what was set over MQTT, as an earlier life of the sensor left it, under another name, too."""
    path = kept(config, "settings")
    return Preferences(path, config, _of_others(path, "settings"))


def kept_switch(config: EdgeConfig) -> Switch:
    """Return the switch of a microphone, as it was left here, under another name, too."""
    path = kept(config, KEPT_AS)
    return Switch(path, _of_others(path, KEPT_AS))


def kept(config: EdgeConfig, what: str) -> Path | None:
    """Return the file in which something is remembered."""
    folder = state_folder(config.state_folder)
    return folder and folder / f"{what}-{config.device.id}.json"


def _of_others(path: Path | None, what: str) -> list[Path]:
    """Return the files in which the same is remembered of other devices."""
    with suppress(OSError):  # a folder that cannot be one is told by whoever needs it
        return sorted(set(path.parent.glob(f"{what}-*.json")) - {path}) if path else []
    return []
