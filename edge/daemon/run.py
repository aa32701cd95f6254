"""`roomtone run`: a source, the pipeline and a link to the broker, put together and kept going."""

import logging
import queue
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from edge.config import EdgeConfig, Mqtt
from edge.daemon.kept import kept, kept_preferences, kept_switch, outbox_of
from edge.daemon.listening import Listening
from edge.daemon.notify import Notifier
from edge.daemon.permission import Permission
from edge.daemon.preferences import Preferences
from edge.daemon.reload import Reload
from edge.daemon.sensor import Sensor
from edge.daemon.status_line import StatusLine
from edge.daemon.stopping import Stopping, close_when, stop_signal
from edge.daemon.switch import KEPT_AS, Switch
from edge.daemon.teaching import Teaching
from edge.delivery import homeassistant
from edge.delivery.access import access, default_port
from edge.delivery.embedded import HOST, Broker, embedded
from edge.delivery.link import Link
from edge.delivery.outbox import Outbox
from edge.errors import UnavailableError, printable
from edge.hearing import mood
from edge.hearing.pipeline import Pipeline
from edge.model.artifact import DEFAULT_MODEL, load
from edge.model.store import current_file
from edge.model.trial import choose
from edge.sound.blocks import Block, Fault, paced, timed_blocks
from edge.sound.command.program import password
from edge.sound.microphone import Microphone
from edge.sound.recording import read_recording, read_stream
from edge.state_folder import state_folder
from edge.voice.payloads import Event
from edge.voice.sequence import Sequence

log = logging.getLogger("roomtone")


def model_path(config: EdgeConfig) -> Path:
    """Return the artifact that the config names, or the installed one, or the bundled one."""
    return current_file(config) or DEFAULT_MODEL if config.model is None else Path(config.model)


def prove(config: EdgeConfig) -> None:
    """Raise the ConfigError or ArtifactError with which a sensor of this configuration would not start."""
    load(model_path(config))
    access(config.mqtt)
    password(config.audio)


def run(
    config: EdgeConfig, *, recording: str | None = None, read_config: Callable[[], EdgeConfig] | None = None
) -> None:
    """Sense until the recording ends or a signal comes. `recording`: a file, `-` for standard input, None for the
    microphone.

    A broker or a microphone that is not there is reported and retried; everything else raises a RoomtoneError, as does
    a recording at whose end the broker has not taken all events. `read_config` is asked at SIGHUP, and what it returns
    goes into effect; a recording is heard to its end as it began.
    """
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    with (
        stop_signal(told) as stopping,
        Reload(config, read_config or (lambda: config), prove) as reload,
        StatusLine() as line,
    ):
        if recording is not None:
            outbox, preferences = outbox_of(config), kept_preferences(config)
            permission = Permission(None, Switch(kept(config, KEPT_AS)), preferences.quiet_clock)
            sense(
                config, _recorded(recording, stopping), stopping=stopping, outbox=outbox, permission=permission,
                preferences=preferences, show=line.show, state=state_folder(config.state_folder),
            )  # fmt: skip
            if outbox.depth and not stopping():  # who ends it early knows that it is not done
                after = f"{outbox.lost} are lost" if outbox.lost else "the next run sends them, late"
                raise UnavailableError(f"broker {config.mqtt.host}: {outbox.depth} events were not delivered; {after}")
            return
        password(config.audio)  # a secret that is not there is said before anything starts
        switch = Switch(None)
        while not stopping():
            config = reload.config
            if switch.path != kept(config, KEPT_AS):
                switch = kept_switch(config)
            preferences = kept_preferences(config)
            with Microphone(config.audio) as microphone:
                close_when(told, microphone)
                sense(
                    config,
                    microphone.blocks(),
                    stopping=stopping,
                    reload=reload.due,
                    outbox=outbox_of(config),
                    permission=Permission(
                        Listening(hold=microphone.hold, resume=microphone.resume),
                        switch,
                        preferences.quiet_clock,
                    ),
                    preferences=preferences,
                    dropped=lambda: microphone.dropped_blocks,
                    reopen=microphone.reopen,
                    show=line.show,
                    state=state_folder(config.state_folder),
                )


def sense(
    config: EdgeConfig,
    source: Iterable[Block | Fault],
    *,
    stopping: Stopping,
    reload: Callable[[], bool] = lambda: False,
    mqtt: Mqtt | None = None,
    outbox: Outbox | None = None,
    permission: Permission | None = None,
    preferences: Preferences | None = None,
    dropped: Callable[[], int] = lambda: 0,
    reopen: Callable[[], None] = lambda: None,
    on_broker: Callable[[Broker], None] = lambda broker: log.info("dashboard %s", broker.page),
    on_event: Callable[[Event], None] | None = None,
    show: Callable[[str], None] = lambda status: None,
    state: Path | None = None,
) -> None:
    """Feed a source to the pipeline and publish, until it ends, `stopping`, or `reload`.

    Without an outbox, events that the broker does not take are kept in memory only, and lessons without a state folder.
    """
    outbox = outbox or Outbox(None)
    mqtt = mqtt or config.mqtt
    chosen = choose(config, DEFAULT_MODEL)
    artifact = chosen.artifact
    preferences = preferences or Preferences(None, config)
    pipeline = Pipeline(
        chosen.model, artifact.manifest, gate=config.gate, decision=config.decision,
        sensitivity=preferences.config.sensitivity,
    )  # fmt: skip
    with _broker(mqtt, on_broker) as (host, port):
        sequence = Sequence(outbox.last_seq)
        link = Link(mqtt, config.device.id, host=host, port=port, outbox=outbox, sequence=sequence)
        if config.homeassistant.enabled:
            said = artifact.manifest
            homeassistant.announce(
                link, config, said.labels, said.model_id, mood.names(said.moods), teachable=said.teachable
            )
        sensor = Sensor(
            pipeline,
            link,
            artifact.manifest.model_id,
            config,
            permission=permission,
            preferences=preferences,
            sequence=sequence,
            dropped_blocks=dropped,
            reopen=reopen,
            on_event=on_event,
            teaching=Teaching.of(artifact, pipeline, state, config.device.id),
        )
        notifier = Notifier()
        sensor.start()
        notifier.ready()
        reloading = False
        try:
            for item in source:
                if stopping() or (reloading := reload()):
                    break
                sensor.process(item)
                # A Fault has been published by now: there is nothing to hear, and everybody can know.
                notifier.turned(flowed=isinstance(item, Block), waiting=isinstance(item, Fault))
                status = sensor.status
                notifier.status(status)
                show(status)
                if chosen.trial is not None:
                    chosen.trial.turned(dropped_blocks=dropped())
        finally:
            if reloading:
                notifier.reloading()
            else:
                notifier.stopping()
            sensor.end()
            link.stop()


def _recorded(recording: str, stopping: Stopping) -> Iterator[Block]:
    """Return the blocks of a recording at the pace of its own clock, or of standard input as they come."""
    if recording == "-":
        return timed_blocks(read_stream(sys.stdin.buffer, stopping, _remark), started_at=time.time())
    chunks = read_recording(recording, _remark, stopping)
    first = list(islice(chunks, 1))  # what cannot be read is said before anything starts
    return paced(timed_blocks(chain(first, chunks), started_at=time.time()), stopping)


def _remark(remark: str) -> None:
    log.warning("%s", printable(remark))


@contextmanager
def _broker(mqtt: Mqtt, on_embedded: Callable[[Broker], None]) -> Iterator[tuple[str, int]]:
    if mqtt.host != "embedded":
        yield mqtt.host, default_port(mqtt)
        return
    with embedded(port=mqtt.port, websockets_port=mqtt.websockets_port) as broker:
        on_embedded(broker)
        yield HOST, broker.port
