"""The contract as a running sensor keeps it."""

import pytest

from edge.voice.contract import PAYLOADS
from tests.support.artifacts import MOMENTS, UTTERANCE
from tests.support.daemon import Daemon
from tests.support.schemas import as_json, validate
from tests.support.subscriber import Subscriber


@pytest.mark.parametrize("model", [None, str(UTTERANCE), str(MOMENTS)], ids=["bundled", "tiny", "of no moods or rooms"])
def test_every_message_of_a_running_sensor_keeps_the_contract(broker, tmp_path, model):
    edge = {"health_interval_s": 2, "model": model}
    knows_none = model == str(MOMENTS)
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port, edge=edge) as daemon:
        watcher.wait_for(lambda w: len(w.on("event")) >= 3 and len(w.on("health")) >= 2)
        assert daemon.stop() == 0
        watcher.wait_for(lambda w: w.on("status")[-1].payload == "offline")
        assert {message.topic for message in watcher.messages} == {
            f"roomtone/room/{name}" for name in PAYLOADS if name != "recent"  # which is of long days
        }
        for message in watcher.messages:
            name = message.topic.rpartition("/")[2]
            validate(name, as_json(name, message.payload))
            if name in ("state", "event"):
                assert (message.json["mood"] is None) == (message.json["mood_confidence"] is None) == knows_none
            if name == "health":
                assert (message.json["room_utterances"] is None) == knows_none
