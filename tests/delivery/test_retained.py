"""What a broker retains, read by whoever asks: all of it, and nothing of what comes by meanwhile."""

import threading

import pytest

from edge.config import Mqtt
from edge.delivery import past
from edge.delivery.paho_client import paho
from edge.delivery.past import Retained
from edge.errors import UnavailableError
from tests.delivery.test_forget import retain
from tests.support.broker import HOST, Broker, free_port
from tests.support.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy core may take its time between two messages."""
    monkeypatch.setattr(past, "ANSWER_S", PATIENCE_S)
    monkeypatch.setattr(past, "_SETTLED_S", 2.0)


def words(reader: Retained, *topics: str) -> dict[str, bytes]:
    return {topic: word.word for topic, word in reader.read(list(topics)).items()}


def test_all_that_is_retained_on_the_topics_is_read_each_time(broker: Broker):
    for topic, payload in (("attic/state", "1"), ("loft/state", "2"), ("attic/health", "3"), ("attic/event", "4")):
        retain(broker.port, f"roomtone/{topic}", payload)
    with Retained(Mqtt(host=HOST, port=broker.port), "reader") as reader:
        assert reader.address == f"{HOST}:{broker.port}"
        found = {"roomtone/attic/state": b"1", "roomtone/loft/state": b"2", "roomtone/attic/health": b"3"}
        assert words(reader, "roomtone/+/state", "roomtone/attic/health") == found
        assert words(reader, "roomtone/attic/event", "roomtone/attic/nothing") == {"roomtone/attic/event": b"4"}


def test_sensors_that_never_stop_talking_hold_nobody_up(broker: Broker):
    retain(broker.port, "roomtone/attic/state", "kept")
    talker = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    talker.connect(HOST, broker.port)
    talker.loop_start()
    enough, talked_out = threading.Event(), threading.Event()

    def talk() -> None:
        for _ in range(round(PATIENCE_S / 0.05)):
            talker.publish("roomtone/loft/state", b"passing")
            if enough.wait(0.05):
                return
        talked_out.set()

    talking = threading.Thread(target=talk)
    talking.start()
    try:
        with Retained(Mqtt(host=HOST, port=broker.port), "reader") as reader:
            assert words(reader, "roomtone/+/state") == {"roomtone/attic/state": b"kept"}
        assert not talked_out.is_set()
    finally:
        enough.set()
        talking.join()
        talker.loop_stop()


def test_where_there_is_no_broker_that_is_said():
    with pytest.raises(UnavailableError, match="connection refused"), Retained(Mqtt(host=HOST, port=free_port()), "me"):
        pass
