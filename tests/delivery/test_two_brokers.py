"""Two brokers: the second takes over and the first takes back, nothing is lost, and nothing flaps."""

import logging
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import msgspec
import pytest

from edge.commands.check import Found, broker_answers
from edge.commands.ear import leave, told
from edge.config import Device, EdgeConfig, Mqtt
from edge.daemon.listening import Listening
from edge.daemon.permission import Permission
from edge.daemon.quiet_hours import QuietClock
from edge.daemon.switch import Setting, Switch
from edge.delivery.access import access
from edge.delivery.brokers import places
from edge.delivery.brokers.first import Came
from edge.delivery.brokers.places import ENOUGH, LONGEST_RETURN_S, RETURN_AFTER_S, Places
from edge.delivery.forget import forget, remove_from_homeassistant
from edge.delivery.link import Link
from edge.delivery.packets import Word
from edge.delivery.session import Owner, Session
from edge.errors import UnavailableError
from edge.voice.payloads import Settings
from tests.delivery.test_nothing_is_lost import DURABLE, Voice, events
from tests.support.broker import Broker, free_port
from tests.support.daemon import Daemon
from tests.support.pair import HOSTS, pair, settings
from tests.support.patience import wait_until
from tests.support.subscriber import Subscriber

OLD, NEW = "2026-01-31T12:00:00.000Z", "2026-01-31T12:00:01.000Z"


@pytest.fixture
def soon(monkeypatch):
    """The first broker is taken for back after a quarter of a second."""
    monkeypatch.setattr(places, "RETURN_AFTER_S", 0.25)


def send(broker: Broker, topic: str, word: str, *options: str) -> None:
    to = ["-V", "5", "-h", broker.host, "-p", str(broker.port), "-q", "1", "-t", topic]
    subprocess.run(["mosquitto_pub", *to, "-m", word, *options], check=True)


def retain(broker: Broker, topic: str, word: str, ts: str | None = None) -> None:
    send(broker, topic, word, "-r", *(["-D", "PUBLISH", "user-property", "ts", ts] if ts else []))


@contextmanager
def watched(brokers: tuple[Broker, ...], topic: str = "roomtone/attic/event"):
    """A subscriber on each, whose session outlives its connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(Subscriber(broker.port, topic, "-c", "-x", "86400", "-i", "watcher",
                                              host=broker.host)) for broker in brokers]  # fmt: skip


def used(speaker: Voice) -> str | None:
    """Return the host of the broker that is used."""
    address = speaker.link.condition().address
    return address and address.partition(":")[0]


def comes_to(speaker: Voice, broker: Broker) -> None:
    wait_until(lambda: used(speaker) == broker.host, lambda: speaker.link.words)


def union(watchers: list[Subscriber]) -> set[str]:
    return {event.event_id for watcher in watchers for event in events(watcher)}


# --- which is next ----------------------------------------------------------------------------------------------------


def both() -> Places:
    return Places(access(Mqtt(host=("a", "b"))))


def test_of_one_broker_there_is_nothing_to_choose():
    one = Places(access(Mqtt(host="a")))
    for held in (True, False, False, True):
        assert (one.ended(0.0, held=held), one.now.host, one.on_standby) == (False, "a", False)
    one.note("refused")
    assert (one.problems, one.away(None)) == ("refused", None)


def test_after_a_connection_that_held_the_same_is_tried_again_else_the_other_at_once():
    two = both()
    assert (two.ended(0.0, held=True), two.now.host) == (False, "a")
    assert (two.ended(0.0, held=False), two.now.host) == (True, "b")
    assert (two.ended(0.0, held=True), two.now.host) == (False, "b")
    assert (two.ended(0.0, held=False), two.now.host) == (True, "a")
    assert (two.ended(0.0, held=False), two.now.host) == (False, "b")  # both failed: a pause
    assert (two.ended(0.0, held=False), two.now.host) == (True, "a")


def test_a_first_that_does_not_last_waits_twice_as_long_each_time():
    two, waits = both(), []
    for _ in range(12):
        two.ended(0.0, held=False)
        assert two.on_standby
        waits.append(two.return_after_s)
        two.go_back(0.0)
        assert two.now.host == "a"
    assert waits == [min(LONGEST_RETURN_S, RETURN_AFTER_S * 2**time) for time in range(12)]
    two.ended(ENOUGH * LONGEST_RETURN_S, held=True)  # it lasted
    two.ended(ENOUGH * LONGEST_RETURN_S, held=False)
    assert two.return_after_s == RETURN_AFTER_S


def test_what_is_wrong_with_each_is_said():
    two = both()
    assert two.note("refused")
    assert not two.note("refused")
    assert two.problems == "refused"
    two.ended(0.0, held=False)
    assert two.note("not found")
    assert two.problems == "refused; broker b:1883: not found"
    two.accepted()
    assert two.away(None) == "broker a:1883: refused"
    assert two.away("it is there") == "broker a:1883: it is there"
    two.go_back(0.0)
    two.accepted()
    assert (two.problems, two.away("it is there")) == ("not tried", None)


# --- over and back ----------------------------------------------------------------------------------------------------


def over_and_back(tmp_path, times: int) -> dict[str, list[float]]:
    """Kill the first, `times`, while events flow, and let it come back; return how long events were under way."""
    took = {"over": [], "back": []}
    with (
        pair(tmp_path, extra=DURABLE) as (first, second),
        watched((first, second)) as watchers,
        ExitStack() as stack,
    ):
        speaker = Voice(first.port, tmp_path / "state", hosts=HOSTS)
        stack.callback(speaker.link.stop)
        comes_to(speaker, first)
        for _ in range(times):
            speaker.say_for(ENOUGH * places.RETURN_AFTER_S + 1.0)
            first.kill()
            took["over"].append(_until_all_came(speaker, second, watchers))
            assert f"({speaker.link.away})" in speaker.link.words
            first.start()
            _talk_until(speaker, first)
            took["back"].append(_until_all_came(speaker, first, watchers))
            assert speaker.link.away is None
        assert union(watchers) == set(speaker.said)
        firsts = {event.seq for watcher in watchers for event in events(watcher)}
        assert len(firsts) == len(speaker.said)
    return took


def _talk_until(speaker: Voice, broker: Broker) -> None:
    def talking() -> bool:
        speaker.say()
        return used(speaker) == broker.host

    wait_until(talking, lambda: speaker.link.words, every_s=0.05)


def _until_all_came(speaker: Voice, broker: Broker, watchers: list[Subscriber]) -> float:
    """Return the seconds until every event so far has come from some broker."""
    began_s = time.monotonic()
    _talk_until(speaker, broker)
    wait_until(lambda: union(watchers) >= set(speaker.said), lambda: len(set(speaker.said) - union(watchers)))
    return time.monotonic() - began_s


def test_the_second_takes_over_and_the_first_takes_back(tmp_path, soon):
    print("\nseconds until all had come:", over_and_back(tmp_path, 1))


@pytest.mark.slow
def test_twenty_times_over_and_back(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "RETURN_AFTER_S", 3.0)
    took = over_and_back(tmp_path, 20)
    for which, seconds in took.items():
        print(f"\n{which}: all had come after {sorted(round(each, 1) for each in seconds)} s")


@pytest.mark.slow
def test_over_and_back_by_the_times_that_a_sensor_keeps(tmp_path):
    print("\nseconds until all had come:", over_and_back(tmp_path, 2))


def test_both_away_and_back(tmp_path, soon):
    with pair(tmp_path, extra=DURABLE) as (first, second), watched((first, second)) as watchers:
        speaker = Voice(first.port, tmp_path / "state", hosts=HOSTS)
        comes_to(speaker, first)
        first.kill()
        second.kill()
        speaker.say_for(1.0)
        refused = f"connection refused; broker {second.host}:{second.port}: connection refused"
        wait_until(lambda: refused in (speaker.link.problem or ""), lambda: speaker.link.words)
        assert speaker.link.address == f"{first.host}:{first.port}"
        assert speaker.link.condition().address is None
        second.start()
        comes_to(speaker, second)
        first.start()
        comes_to(speaker, first)
        wait_until(lambda: union(watchers) >= set(speaker.said))
        speaker.link.stop()
    assert list((tmp_path / "state").iterdir()) == []


def test_all_that_is_retained_follows_and_the_broker_that_is_left_says_offline(tmp_path, soon):
    with pair(tmp_path) as (first, second), watched((second,), "roomtone/#") as (at_second,):
        speaker = Voice(first.port, tmp_path / "state", hosts=HOSTS)
        speaker.link.retain("settings", b"{}")
        comes_to(speaker, first)
        first.kill()
        at_second.wait_for(lambda w: w.on("settings") and w.on("status"))
        assert [message.payload for message in at_second.on("status")] == ["online"]
        speaker.link.retain("settings", b'{"new": 1}')
        first.start()
        comes_to(speaker, first)
        at_second.wait_for(lambda w: [message.payload for message in w.on("status")] == ["online", "offline"])
        with Subscriber(first.port, "roomtone/#", host=first.host) as at_first:
            at_first.wait_for(lambda w: [m.payload for m in w.on("settings")] == ['{"new": 1}'] and w.on("status"))
            assert at_first.on("status")[-1].payload == "online"
        speaker.link.stop()


def test_where_the_first_is_away_from_the_start_the_second_is_used(tmp_path, soon):
    with pair(tmp_path) as (first, second):
        first.kill()
        session = Session(access(settings(first)), "watcher", Owner())  # as `roomtone watch` and the recorder have
        session.start()
        session.require()
        assert (session.access.host, session.problem) == (second.host, None)
        assert session.away == f"broker {first.host}:{first.port}: connection refused"
        first.start()
        wait_until(lambda: (session.access.host, session.problem) == (first.host, None))
        assert session.away is None
        session.stop()
        first.kill()
        second.kill()
        neither = Session(access(settings(first)), "watcher", Owner())
        neither.start()
        with pytest.raises(UnavailableError, match=r"refused; broker 127\.0\.0\.2:[0-9]+: connection refused"):
            neither.require()
        neither.stop()


def test_the_sensor_says_which_it_is_with(tmp_path):
    """`roomtone run` on a recording, while the first is killed."""
    with (
        pair(tmp_path / "brokers") as (first, second),
        watched((second,), "roomtone/#") as (at_second,),
        Daemon(tmp_path, first.port, mqtt={"host": list(HOSTS)}) as daemon,
    ):
        daemon.wait_for_status(f"broker {first.host}:{first.port}: connected$")
        first.kill()
        away = f"broker {first.host}:{first.port}: connection "
        daemon.wait_for_status(rf"broker {second.host}:{second.port}: connected \({away}[^)]+\)")
        told = at_second.wait_for(lambda w: [m.json["broker"] for m in w.on("health") if m.json["broker"]["away"]])
        assert told[0]["address"] == f"{second.host}:{second.port}"
        assert told[0]["away"].startswith(away)
        assert (told[0]["problem"], told[0]["last_problem"].startswith("connection ")) == (None, True)
        at_second.wait_for(lambda w: w.on("listening"))  # it knows what was there before: only then it tells of the day
        assert daemon.stop() == 0
        assert at_second.wait_for(lambda w: w.on("status")[-1].payload == "offline" and w.on("timeline"))


# --- no flapping ------------------------------------------------------------------------------------------------------


class Dropper:
    """Takes connections at an address and drops each at once; with `only`, those of that client id (a proxy of `to` for
    all others). dropped: when, by a monotonic clock."""

    def __init__(self, host: str, port: int, *, accepts: bool = False, to: tuple[str, int] | None = None) -> None:
        self.dropped: list[float] = []
        self._accepts, self._to = accepts, to
        self._server = socket.create_server((host, port))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._one, args=(self._server.accept()[0],), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            hello = client.recv(4_096)
            if self._to is None or b"roomtone-attic-first" not in hello:
                self.dropped.append(time.monotonic())
                if self._accepts:
                    client.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK
                return
            with socket.create_connection(self._to) as server:
                server.sendall(hello)
                threading.Thread(target=_pump, args=(server, client), daemon=True).start()
                _pump(client, server)


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(4_096):
            other.sendall(data)


@pytest.mark.parametrize("accepts", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_broker_that_drops_every_connection_is_left_alone(tmp_path, soon, accepts):
    port = free_port()
    with Broker(tmp_path / "second", host=HOSTS[1], port=port) as second:
        dropper = Dropper(HOSTS[0], port, accepts=accepts)
        speaker = Voice(port, tmp_path / "state", hosts=HOSTS)
        comes_to(speaker, second)
        knocked = len(dropper.dropped)
        wait_until(lambda: len(dropper.dropped) >= knocked + 3)  # what looks after it does so on
        assert (used(speaker), speaker.link.reconnects) == (second.host, 0 + accepts)
        speaker.link.stop()
        dropper.close()


def test_a_broker_that_takes_the_scout_and_drops_the_link_is_tried_ever_more_rarely(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "RETURN_AFTER_S", 0.25)
    port = free_port()
    with (
        Broker(tmp_path / "behind") as behind,
        Broker(tmp_path / "second", host=HOSTS[1], port=port) as second,
    ):
        dropper = Dropper(HOSTS[0], port, to=(behind.host, behind.port))
        link = Link(Mqtt(host=HOSTS, port=port), "attic")
        link.start(first={"listening/set": lambda word, came: None})
        wait_until(lambda: len(dropper.dropped) >= 4, lambda: link.words)
        wait_until(lambda: link.condition().address == f"{second.host}:{port}", lambda: link.words)
        pauses = [later - earlier for earlier, later in zip(dropper.dropped, dropper.dropped[1:], strict=False)]
        assert all(pause >= 0.25 * 2**number for number, pause in enumerate(pauses))
        assert link.problem is None
        link.stop()
        dropper.close()


# --- the switch -------------------------------------------------------------------------------------------------------


class Room:
    """A link and whether it may listen, as the sensor puts them together."""

    def __init__(self, brokers: tuple[Broker, Broker], folder, *, known: Setting | None = None) -> None:
        self.switch = Switch(folder / "listening-attic.json")
        if known is not None:
            self.switch.recall(known)
        self.listening = Listening()
        self.permission = Permission(self.listening, self.switch, QuietClock(None))
        self.permission.begin()
        self.pasts: list[tuple[dict[str, Word], ...]] = []
        self.refused: list[str] = []
        self.link = Link(settings(brokers[0]), "attic")
        self.link.start(first={"listening/set": self._obey}, on_past=self._recall)

    def _recall(self, *pasts: dict[str, Word]) -> None:
        self.permission.recall(*(past.get("listening") for past in pasts))
        self.pasts.append(pasts)
        self.link.retain("listening", self.permission.word())

    def _obey(self, word: bytes, came: Came) -> str | None:
        why = self.permission.obey(word, came)
        self.refused += [why] if why else []
        self.link.retain("listening", self.permission.word())
        return why

    @property
    def position(self) -> str | None:
        return self.switch.setting and self.switch.setting.listening


@contextmanager
def a_room(*brokers: Broker, **how):
    room = Room(*brokers, **how)
    try:
        yield room
    finally:
        room.link.stop()


@pytest.mark.parametrize(
    ("at_first", "at_second", "is_then"),
    [
        pytest.param(None, ("OFF", NEW), "OFF", marks=pytest.mark.slow),
        pytest.param(("OFF", NEW), None, "OFF", marks=pytest.mark.slow),
        (("ON", OLD), ("OFF", NEW), "OFF"),
        (("ON", NEW), ("OFF", OLD), "ON"),
        pytest.param(("ON", None), ("OFF", None), "OFF", marks=pytest.mark.slow),
    ],
)
def test_both_brokers_are_asked_and_the_later_word_counts(tmp_path, at_first, at_second, is_then):
    with pair(tmp_path) as brokers:
        for broker, word in zip(brokers, (at_first, at_second), strict=True):
            if word:
                retain(broker, "roomtone/attic/listening", *word)
        with a_room(brokers, folder=tmp_path) as room:
            wait_until(lambda: room.pasts)
            wait_until(lambda: room.position == is_then, lambda: room.pasts)
            with Subscriber(brokers[0].port, "roomtone/attic/listening") as at_first_now:
                at_first_now.wait_for(lambda w: w.messages and w.messages[-1].payload == is_then)


@pytest.mark.parametrize(
    ("word", "ts", "is_then"),
    [
        ("ON", OLD, "OFF"),
        pytest.param("ON", "2026-02-01T00:00:00.000Z", "ON", marks=pytest.mark.slow),
        pytest.param("OFF", OLD, "OFF", marks=pytest.mark.slow),
    ],
)
def test_what_a_broker_that_comes_back_has_retained_counts_by_its_time(tmp_path, soon, word, ts, is_then):
    with pair(tmp_path, extra=DURABLE) as (first, second):
        retain(first, "roomtone/attic/listening", word, ts)
        retain(second, "roomtone/attic/listening", "OFF", NEW)
        first.stop()
        with a_room((first, second), folder=tmp_path) as room:
            wait_until(lambda: room.position == "OFF")
            first.start()
            wait_until(lambda: len(room.pasts) == 2, lambda: room.link.words)
            wait_until(lambda: room.link.condition().address == f"{first.host}:{first.port}")
            assert room.position == is_then
            with Subscriber(first.port, "roomtone/attic/listening") as now:
                now.wait_for(lambda w: w.messages and w.messages[-1].payload == is_then)


def test_a_command_is_obeyed_from_either_broker(tmp_path):
    with pair(tmp_path) as (first, second), a_room((first, second), folder=tmp_path) as room:
        wait_until(lambda: all(each.hears("listening/set") for each in room.link._firsts.values()))
        wait_until(lambda: room.position == "ON")
        for broker, word in ((second, "OFF"), (first, "ON"), (first, "OFF"), (second, "ON")):
            send(broker, "roomtone/attic/listening/set", word)
            wait_until(lambda: room.position == word, lambda: room.refused)  # noqa: B023


def heard_at(room: Room, broker: Broker) -> bool:
    return room.link._firsts[f"{broker.host}:{broker.port}"].hears("listening/set")


def test_an_on_that_waited_does_not_overrule_an_off_through_the_other(tmp_path, caplog):
    """As behind a part of the network that the sensor does not reach for a while."""
    with pair(tmp_path) as (first, second), a_room((first, second), folder=tmp_path) as room:
        wait_until(lambda: heard_at(room, first) and heard_at(room, second) and room.position == "ON")
    with pair_again(first, second):
        send(first, "roomtone/attic/listening/set", "ON")
        first.stop()
        with a_room((first, second), folder=tmp_path) as room:
            wait_until(lambda: heard_at(room, second))
            send(second, "roomtone/attic/listening/set", "OFF")
            wait_until(lambda: room.position == "OFF")
            first.start()
            wait_until(lambda: room.refused, lambda: room.link.words)
            assert "had waited at one broker while it was switched OFF through the other" in room.refused[0]
            assert room.position == "OFF"
            send(first, "roomtone/attic/listening/set", "OFF")  # what comes as it is said is obeyed
            time.sleep(1.5)
            send(first, "roomtone/attic/listening/set", "ON")
            wait_until(lambda: room.position == "ON", lambda: room.refused)


@contextmanager
def pair_again(*brokers: Broker):
    with ExitStack() as stack:
        for broker in brokers:
            broker.start()
            stack.callback(broker.stop)
        yield


@pytest.mark.parametrize(
    ("setting", "turned", "came", "obeyed"),
    [
        (("ON", None), False, ("a", float("-inf")), True),
        (("OFF", None), False, ("a", float("-inf")), True),  # by a sensor with one broker
        (("OFF", "a"), False, ("a", float("-inf")), True),  # one broker keeps an order
        (("OFF", "b"), False, ("a", float("-inf")), False),
        (("OFF", "b"), False, ("a", None), True),
        (None, True, ("a", 0.0), False),
        (None, True, ("b", 0.0), True),
        (None, True, ("a", float("inf")), True),  # lost only after it was switched
        (None, True, ("a", None), True),
        (None, True, (None, None), True),
    ],
)
def test_which_on_counts_that_may_have_waited(tmp_path, setting, turned, came, obeyed):
    switch = Switch(None)
    switch.recall(setting and Setting(listening=setting[0], ts=OLD, broker=setting[1]))
    if turned:
        switch.turn(on=False, broker="b")
    permission = Permission(Listening(), switch, QuietClock(None))
    why = permission.obey(b"ON", Came(broker=came[0], waited_since_s=came[1]))
    assert (why is None, switch.setting.on) == (obeyed, obeyed)


@pytest.mark.slow
def test_it_is_said_once_when_the_broker_changes(tmp_path, soon, caplog):
    caplog.set_level(logging.INFO, "roomtone.mqtt")
    with pair(tmp_path) as (first, second):
        speaker = Voice(first.port, tmp_path / "state", hosts=HOSTS)
        comes_to(speaker, first)
        first.kill()
        comes_to(speaker, second)
        first.start()
        comes_to(speaker, first)
        speaker.link.stop()
    said = [record.message for record in caplog.records if record.name == "roomtone.mqtt"]
    assert sum("holds again: going back to it" in line for line in said) == 1
    assert sum(line == f"connected to broker {second.host}:{second.port}" for line in said) == 1


# --- who asks ---------------------------------------------------------------------------------------------------------


def test_whoever_asks_is_told_of_both_and_with_which_the_sensor_is(tmp_path):
    with pair(tmp_path) as (first, second):
        config = EdgeConfig(mqtt=settings(first), device=Device(id="attic"))
        at = [f"broker {broker.host}:{broker.port}" for broker in (first, second)]
        assert broker_answers(config, live=False).words == f"{at[0]}, standby {at[1][7:]}: not tried (--live does)"
        assert broker_answers(config, live=True) == Found(words=f"{at[0]}: connected; {at[1]}: connected")
        retain(second, "roomtone/attic/status", "online")
        retain(second, "roomtone/attic/listening", "OFF", NEW)
        first.stop()
        found = broker_answers(config, live=True)
        assert found.words == f"{at[1]}: connected, where the sensor is now; {at[0]}: connection refused"
        assert found.remedy == "a sensor goes by the other one meanwhile"
        assert leave(config, told(config)).forbidden  # by the word of the one that is there
        second.stop()
        with pytest.raises(UnavailableError, match=f"{at[0]}: connection refused; {at[1]}: connection refused"):
            broker_answers(config, live=True)


def test_of_both_the_later_settings_and_switch_are_told(tmp_path):
    with pair(tmp_path) as brokers:
        for broker, word, ts in zip(brokers, ("OFF", "ON"), (NEW, OLD), strict=True):
            retain(broker, "roomtone/attic/listening", word, ts)
            hours = {"start": "22:00", "end": "07:00", "time_zone": "UTC"} if word == "OFF" else None
            made = Settings(ts=ts, sensitivity=50, quiet_hours=hours, state_interval_s=30.0, log_level="info", set=[])
            retain(broker, "roomtone/attic/settings", msgspec.json.encode(made).decode())
        found = told(EdgeConfig(mqtt=settings(brokers[0]), device=Device(id="attic")))
        assert found.switches["attic"] == Setting(listening="OFF", ts=NEW)
        assert found.settings["attic"].ts == NEW
        assert found.silence == ""


def test_a_sensor_that_is_gone_is_taken_off_both_and_what_is_away_is_said(tmp_path):
    with pair(tmp_path) as (first, second):
        config = EdgeConfig(mqtt=settings(first), device=Device(id="attic"), state_folder=str(tmp_path / "state"))
        for broker in (first, second):
            retain(broker, "roomtone/attic/state", "{}")
        said = "\n".join(forget(config, "attic"))
        assert all(f"found on broker {each.host}:{each.port} and taken off it" in said for each in (first, second))
        retain(second, "roomtone/attic/state", "{}")
        first.stop()
        said = "\n".join(forget(config, "attic"))
        assert f"found on broker {second.host}:{second.port} and taken off it" in said
        assert f"broker {first.host}:{first.port}: connection refused" in said
        lines = list(remove_from_homeassistant(config))
        assert any("connection refused" in line for line in lines)
        assert lines[0].startswith("homeassistant/device/")
