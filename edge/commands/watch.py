"""`roomtone watch`: any number of sensors in a terminal, or as JSON lines for a pipe."""

import json
import queue
import re
import signal
import sys
import time
import uuid
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from edge.commands.act import Act, Wish, told
from edge.commands.rooms import Message, Rooms
from edge.commands.said import remark
from edge.config import Mqtt
from edge.daemon.status_line import log_goes_to
from edge.delivery.access import access, reached
from edge.delivery.embedded import own, running
from edge.delivery.packets import Limits
from edge.delivery.paho_client import paho
from edge.delivery.session import Owner, Session
from edge.voice.payloads import ROOT

KINDS = ("status", "listening", "state", "event", "health")
_DEVICE = re.compile(r"[a-z0-9-]{1,64}")
_REFRESH_S = 0.25
_DRAWING_SHARE = 0.1  # of a core, at most: a high terminal full of sensors takes a tenth of a second
_SETTLED_S = 0.5  # without a word, after which `once` has seen what is retained


class Ears(Owner):
    """Subscribes on every connection, and queues what comes."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def opened(self, client: paho.Client, limits: Limits) -> None:
        client.subscribe([(f"{ROOT}/+/{kind}", 1) for kind in KINDS])

    def received(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        _, device, kind = message.topic.split("/")
        if _DEVICE.fullmatch(device):
            self.heard.put(Message(device, kind, message.payload, message.retain))


def watch(
    mqtt: Mqtt,
    *,
    host: str | None = None,
    port: int | None = None,
    as_json: bool = False,
    once: bool = False,
    wish: Wish | None = None,
) -> None:
    """Show what sensors say until interrupted; with `once`, what the broker has retained of them; with a wish, run it.

    Raises UnavailableError where `once` finds no broker; else that is shown, and tried again.
    """
    if host is None and port is None:
        _doubt(mqtt)
    ears = Ears()
    session = Session(access(reached(mqtt), host=host, port=port), f"{ROOT}-watch-{uuid.uuid4().hex[:8]}", ears)
    if wish is not None:  # as a service it is ended so
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    session.start()
    try:
        if once:
            session.require()
        messages = _messages(ears, once=once)
        if wish is not None:
            with Act(wish, told) as act:
                for message in messages:
                    act.hear(message)
        elif as_json:
            for message in messages:
                if message is not None:
                    print(_line(message), flush=True)
        else:
            _show(messages, session, once=once)
    except KeyboardInterrupt:
        return  # the way to end it
    finally:
        session.stop()


def _doubt(mqtt: Mqtt) -> None:
    """Say where the rooms that are shown may be others than those that are meant."""
    if mqtt.host != "embedded":
        return
    there, others = own(mqtt.port), running()
    if there is None:
        remark("no sensor with a broker of its own runs here: asking whichever broker is this machine's")
    elif others != [there]:
        ports = ", ".join(f"--port {port}" for port in others if port != there)
        remark(f"asking the sensor's broker on port {there}; others run here, too: {ports}")


def _messages(ears: Ears, *, once: bool) -> Iterator[Message | None]:
    """Yield messages, and None every now and then; ends, if `once`, when nothing more comes."""
    quiet_since_s = time.monotonic()
    while not (once and time.monotonic() - quiet_since_s > _SETTLED_S):
        try:
            yield ears.heard.get(timeout=_REFRESH_S)
            quiet_since_s = time.monotonic()
        except queue.Empty:
            yield None


def _show(messages: Iterator[Message | None], session: Session, *, once: bool) -> None:
    rooms = Rooms()
    console = Console()
    if once:
        for message in messages:
            if message is not None:
                rooms.hear(message)
        console.print(rooms.table(time.time()))
        return
    if not console.is_terminal or console.is_dumb_terminal:  # nothing can be redrawn: a line for whatever is new
        said: dict[tuple[str, str], str] = {}
        for message in messages:
            if message is not None:
                rooms.hear(message)
                for kind, line in (("line", rooms.line(message.device)), ("fault", rooms.fault(message.device))):
                    if line is not None and line != said.get((kind, message.device)):
                        print(line, flush=True)
                        said[kind, message.device] = line
        return
    terminal = sys.stderr
    with (
        Live(console=console, auto_refresh=False, transient=False) as live,
        log_goes_to(sys.stderr, instead_of=terminal),  # Live's own, which writes above the table
    ):
        due_s = 0.0
        for message in messages:
            if message is not None:
                rooms.hear(message)
            if (now_s := time.monotonic()) >= due_s:
                worked_s = time.thread_time()
                away = f" ({session.away})" if session.away else ""
                broker = f"broker {session.access.address}: {session.problem or 'connected'}{away}"
                ignored = f"; {rooms.ignored} messages ignored" if rooms.ignored else ""
                table = rooms.table(time.time(), console.height - 1)
                live.update(Group(table, Text(broker + ignored)), refresh=True)
                due_s = now_s + max(_REFRESH_S, (time.thread_time() - worked_s) / _DRAWING_SHARE)


def _line(message: Message) -> str:
    try:
        payload = json.loads(message.payload)
    except (ValueError, RecursionError):
        payload = message.payload.decode(errors="replace")
    return json.dumps(
        {"device": message.device, "kind": message.kind, "retained": message.retained, "payload": payload}
    )
