"""`roomtone run`: a source, the pipeline and a link to the broker, put together and kept going."""

import logging
import queue
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from edge.addresses import hosts_of
from edge.config import EdgeConfig, Mqtt
from edge.daemon.kept import kept, kept_preferences, kept_switch, outbox_of
from edge.daemon.listening import Listening
from edge.daemon.notify import Notifier
from edge.daemon.permission import Permission, once_known
from edge.daemon.preferences import Preferences
from edge.daemon.reload import Reload
from edge.daemon.sensor import Sensor
from edge.daemon.status_line import StatusLine
from edge.daemon.stopping import Stopping, close_when, stop_signal
from edge.daemon.switch import KEPT_AS, Switch
from edge.daemon.teaching import Teaching
from edge.delivery.access import access
from edge.delivery.embedded import HOST, Broker, embedded
from edge.delivery.homeassistant import Announcement
from edge.delivery.link import Link
from edge.delivery.outbox import Outbox
from edge.errors import ArtifactError, UnavailableError, printable
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
from edge.updates.offers import Updates
from edge.voice.payloads import Event
from edge.voice.sequence import Sequence

log = logging.getLogger("roomtone")

LATE_S = 3.0  # by which sound may be behind its capture before anybody is told


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
    a recording of which the broker never told whether listening is on, or at whose end it has not taken all events.
    `read_config` is asked at SIGHUP, and what it returns goes into effect; a recording is heard to its end as it began.
    """
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    with (
        stop_signal(told) as stopping,
        Reload(config, read_config or (lambda: config), prove) as reload,
        StatusLine() as line,
    ):
        if recording is not None:
            outbox, preferences = outbox_of(config), kept_preferences(config)
            broker = " and ".join(hosts_of(config.mqtt.host))
            permission = Permission(Listening(), kept_switch(config), preferences.quiet_clock)
            source = once_known(permission, _recorded(recording, stopping), stopping, broker)
            sense(
                config, source, stopping=stopping, outbox=outbox, permission=permission,
                preferences=preferences, show=line.show, state=state_folder(config.state_folder),
            )  # fmt: skip
            if outbox.depth and not stopping():  # who ends it early knows that it is not done
                after = f"{outbox.lost} are lost" if outbox.lost else "the next run sends them, late"
                raise UnavailableError(f"broker {broker}: {outbox.depth} events were not delivered; {after}")
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
                    again=True,
                    dropped=lambda: microphone.dropped_blocks,
                    reopen=microphone.reopen,
                    show=line.show,
                    state=state_folder(config.state_folder),
                )


def _say_where(broker: Broker | None) -> None:
    """Say where people see what the sensor says: with a broker of its own, or else (None) with theirs."""
    if broker is None:
        log.info("in a terminal: roomtone watch, configured as this is; as a page: deploy/README.md of the sources")
    else:
        log.info("dashboard %s", broker.page)
        log.info("in a terminal: roomtone watch --port %d", broker.port)


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
    again: bool = False,
    dropped: Callable[[], int] = lambda: 0,
    reopen: Callable[[], None] = lambda: None,
    on_broker: Callable[[Broker | None], None] = _say_where,
    on_event: Callable[[Event], None] | None = None,
    show: Callable[[str], None] = lambda status: None,
    state: Path | None = None,
) -> None:
    """Feed a source to the pipeline and publish, until it ends, `stopping`, or `reload`.

    again: whoever calls begins again when this returns; then it returns, too, when another model came over the air, and
    when one on trial was rejected, which else raises ArtifactError. Without an outbox, events that the broker does not
    take are kept in memory only, and lessons without a state folder.
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
        updates = Updates(config, chosen, takes=again)
        announcement = None
        if config.homeassistant.enabled:
            said = artifact.manifest
            announcement = Announcement(
                link, config, said.labels, said.model_id, mood.names(said.moods), teachable=said.teachable,
                updated=updates.takes,
            )  # fmt: skip
        updates.attach(link)
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
            commands=updates.commands,
        )
        notifier = Notifier()
        sensor.start()
        notifier.ready()
        reloading = False
        try:
            for item in source:
                if stopping() or (reloading := reload() or updates.due):
                    break
                if not sensor.process(item):
                    continue
                if announcement is not None:
                    announcement.turn(time.monotonic())
                # A Fault has been published by now: there is nothing to hear, and everybody can know.
                notifier.turned(flowed=isinstance(item, Block), waiting=isinstance(item, Fault))
                status = sensor.status + (_late(item) if again else "")
                notifier.status(status)
                show(status)
                try:
                    if chosen.trial is not None:
                        chosen.trial.turned(dropped_blocks=dropped())
                except ArtifactError:
                    if not again:
                        raise
                    reloading = True  # with the model before
                    break
                updates.turned()
        finally:
            (notifier.reloading if reloading else notifier.stopping)()
            updates.end()
            sensor.end()
            link.stop()


def _late(item: Block | Fault) -> str:
    """Return in words how far a microphone's sound is behind real time; deploy/trial.sh looks for them."""
    behind_s = time.time() - item.captured_at if isinstance(item, Block) else 0.0
    return f"; {behind_s:.0f} s behind real time" if behind_s >= LATE_S else ""


def _recorded(recording: str, stopping: Stopping) -> Callable[[], Iterator[Block]]:
    """Return what begins a recording: its blocks at the pace of its own clock, or of standard input as they come."""
    if recording == "-":
        return lambda: timed_blocks(read_stream(sys.stdin.buffer, stopping, _remark), started_at=time.time())
    chunks = read_recording(recording, _remark, stopping)
    first = list(islice(chunks, 1))  # what cannot be read is said before anything starts
    return lambda: paced(timed_blocks(chain(first, chunks), started_at=time.time()), stopping)


def _remark(remark: str) -> None:
    log.warning("%s", printable(remark))


@contextmanager
def _broker(mqtt: Mqtt, on_broker: Callable[[Broker | None], None]) -> Iterator[tuple[str | None, int | None]]:
    """Yield where the link finds its broker; None: where the settings say."""
    if mqtt.host != "embedded":
        on_broker(None)
        yield None, None
        return
    with embedded(port=mqtt.port, websockets_port=mqtt.websockets_port) as broker:
        on_broker(broker)
        yield HOST, broker.port
