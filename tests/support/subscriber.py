"""An observer that is not our code: mosquitto_sub, its lines collected as they come."""

import json
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.support.broker import HOST
from tests.support.patience import wait_until
from tests.support.system import require_program


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    topic: str
    payload: str
    retained: bool
    qos: int

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


_SUBSCRIBED_S = 20.0
_ATTEMPTS = 6  # once in a few thousand starts mosquitto_sub says nothing at all


class Subscriber:
    """Subscribes to `topic` while the context lasts; `messages` grows, oldest first.

    Entering waits until the broker has acknowledged the subscription.
    """

    def __init__(self, port: int, topic: str = "roomtone/#", *options: str, host: str = HOST) -> None:
        self.messages: list[Message] = []
        program = require_program("mosquitto_sub", "mosquitto-clients")
        mqtt = ["-h", host, "-p", str(port), "-V", "5", "-q", "1", "-t", topic]
        # Line by line: of itself, it keeps back what it says of the protocol until the next message.
        self._command = ["stdbuf", "-oL", program, *mqtt, "-F", "%j", "-d", *options]

    def __enter__(self) -> Self:
        for _ in range(_ATTEMPTS):
            subscribed = threading.Event()
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
            self._thread = threading.Thread(target=self._read, args=(subscribed,), daemon=True)
            self._thread.start()
            if subscribed.wait(_SUBSCRIBED_S):
                return self
            self._end()
        raise TimeoutError(f"{' '.join(self._command)}: {_ATTEMPTS} times not subscribed after {_SUBSCRIBED_S:.0f} s")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        # Not SIGTERM: mosquitto_sub disconnects inside its signal handler, and waits for ever for a lock that the
        # interrupted thread holds when the signal comes while it acknowledges a message.
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def _read(self, subscribed: threading.Event) -> None:
        for line in self._process.stdout:
            if line.startswith("Subscribed "):
                subscribed.set()
            if not line.startswith("{"):
                continue  # what `-d` says of the protocol
            told = json.loads(line)
            payload = "" if told["payload"] is None else told["payload"]  # an empty message
            self.messages.append(
                Message(
                    topic=told["topic"],
                    payload=payload if isinstance(payload, str) else json.dumps(payload),
                    retained=bool(told["retain"]),
                    qos=told["qos"],
                )
            )

    def on(self, name: str) -> list[Message]:
        """Return the messages whose topic ends in `/name`."""
        return [message for message in list(self.messages) if message.topic.endswith("/" + name)]

    def wait_for(self, condition: Callable[[Self], Any]) -> Any:
        """Return what `condition(self)` gives as soon as it is true. Raises TimeoutError with what was seen instead."""
        return wait_until(lambda: condition(self), self._seen)

    def _seen(self) -> str:
        ended = self._process.poll()
        observer = "" if ended is None else f"mosquitto_sub ended with status {ended}; "
        return f"{observer}seen:\n" + "\n".join(f"{told.topic} {told.payload[:200]}" for told in self.messages)
