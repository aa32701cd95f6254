"""What the courier keeps account of, without a clock: the outbox's times, flights, refusals, the past, reasons."""

import socket
import sqlite3
import ssl

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge.delivery.flights import SLOW_S, Flight, Flights
from edge.delivery.outbox import COMMIT_AFTER_S, LIVE_WAIT_S, MANY, MEMORY_EVENTS, Outbox
from edge.delivery.packets import Word
from edge.delivery.past import PAST, Past, seq_of
from edge.delivery.reasons import guess, in_words, refused
from edge.delivery.refusals import Refusals
from tests.delivery.test_outbox import damage, drain, make_event, make_outbox, numbers

# --- the outbox -------------------------------------------------------------------------------------------------------


def test_what_is_lost_at_the_end_is_counted(caplog):
    outbox = Outbox(None)
    for number in range(5):
        outbox.add(make_event(number), 0.0)
    first, _ = outbox.take(0.0), outbox.take(0.0)
    outbox.acknowledged(first.event_id)
    outbox.close(0.5)
    assert [record.message for record in caplog.records] == [
        "4 events that were not delivered are lost: no state folder"
    ]


def test_at_the_end_of_a_sensor_without_a_usable_folder_the_reason_is_said(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    outbox = make_outbox(tmp_path / "file" / "state")
    for number in range(2):
        outbox.add(make_event(number), 0.0)
    outbox.take(0.0)
    outbox.close(0.5)
    assert caplog.records[-1].message.startswith("2 events that were not delivered are lost: ")
    assert "Not a directory" in caplog.records[-1].message


def test_what_is_safe_at_the_end_is_not_called_lost(tmp_path, caplog):
    outbox = make_outbox(tmp_path)
    for number in range(3):
        outbox.add(make_event(number), 0.0)
    outbox.take(0.0)
    outbox.close(0.5)
    nothing = Outbox(None)
    nothing.close(0.0)
    assert not caplog.records
    again = make_outbox(tmp_path)
    assert (again.depth, again.last_seq, again.oldest_seq()) == (3, 2, 0)
    assert numbers(drain(again)) == [0, 1, 2]


def test_it_is_idle_when_all_that_waits_is_on_disk(tmp_path):
    outbox = make_outbox(tmp_path)
    assert outbox.idle
    outbox.add(make_event(1), 0.0)
    assert not outbox.idle
    event = outbox.take(0.0)
    assert not outbox.idle  # under way, and nowhere else
    outbox.tick(COMMIT_AFTER_S)
    assert outbox.idle
    outbox.acknowledged(event.event_id)
    assert (outbox.idle, outbox.depth) == (True, 0)
    memory = Outbox(None)
    memory.add(make_event(2), 0.0)
    memory.tick(COMMIT_AFTER_S)
    assert not memory.idle  # late, and nowhere else
    assert (memory.last_seq, memory.oldest_seq(), memory.dropped) == (0, None, 0)


def test_when_the_next_thing_is_due(tmp_path):
    outbox = make_outbox(tmp_path)
    assert outbox.due_s(0.0) is None
    outbox.add(make_event(1), 5.0)
    assert outbox.due_s(5.0) == 5.0 + COMMIT_AFTER_S
    outbox.add(make_event(2), 5.5)
    assert outbox.due_s(5.5) == 5.0 + COMMIT_AFTER_S
    outbox.take(5.5)
    assert outbox.due_s(5.5) == 5.0 + COMMIT_AFTER_S  # what is under way is to be saved, too
    outbox.tick(6.0)
    assert outbox.due_s(6.0) == 5.5 + COMMIT_AFTER_S
    outbox.tick(6.5)
    assert outbox.due_s(6.5) is None
    memory = Outbox(None)
    memory.add(make_event(1), 5.0)
    memory.take(5.0)
    assert memory.due_s(5.0) is None  # without a store nothing is to be done for what is under way


def test_events_that_are_nearly_due_share_a_commit(tmp_path):
    outbox = make_outbox(tmp_path)
    for number, added_s in enumerate((0.0, 0.25, 0.3)):
        outbox.add(make_event(number), added_s)
    outbox.tick(COMMIT_AFTER_S)
    assert outbox._store.rows == 2
    assert outbox.due_s(COMMIT_AFTER_S) == 0.3 + COMMIT_AFTER_S
    outbox.connected(1.1)
    assert [outbox.take(1.1).late for _ in range(3)] == [True, True, False]


def test_after_a_failure_the_disk_is_left_alone_for_ten_seconds(tmp_path, caplog):
    caplog.set_level("INFO")
    folder = tmp_path / "state"
    folder.write_text("not a folder")
    outbox = make_outbox(folder)
    outbox.add(make_event(1), 0.0)
    outbox.tick(1.0)
    assert outbox.problem == f"{folder}: File exists"
    assert outbox.due_s(1.0) == 11.0
    folder.unlink()
    outbox.tick(10.9)
    assert outbox.problem is not None
    outbox.tick(11.0)
    assert (outbox.problem, outbox._store.rows, outbox.depth) == (None, 1, 1)
    outbox.tick(12.0)
    assert [record.message for record in caplog.records] == [
        f"late events stay in memory only: {folder}: File exists",
        f"{folder}/outbox.sqlite can be used again",
    ]


def test_a_file_that_cannot_be_opened_at_first_is_tried_again_after_ten_seconds(tmp_path):
    (tmp_path / "outbox.sqlite").mkdir()
    outbox = make_outbox(tmp_path)
    assert outbox.problem == f"{tmp_path}/outbox.sqlite: unable to open database file"
    outbox.add(make_event(1), 0.0)
    (tmp_path / "outbox.sqlite").rmdir()
    outbox.tick(9.9)
    assert outbox._store.rows == 0
    outbox.tick(10.0)
    assert (outbox._store.rows, outbox.problem) == (1, None)


def test_what_an_earlier_life_left_goes_out_when_another_lets_go_of_the_file(tmp_path):
    first = make_outbox(tmp_path)
    first.add(make_event(1), 0.0)
    first.close(0.0)
    other = sqlite3.connect(tmp_path / "outbox.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    outbox = make_outbox(tmp_path)
    assert outbox.problem == f"{tmp_path}/outbox.sqlite: database is locked"
    other.close()
    assert outbox.due_s(5.0) == 10.0
    assert outbox.take(9.9) is None
    assert [(event.seq, event.late) for event in drain(outbox, 10.0)] == [(1, True)]
    assert (outbox.problem, outbox.depth, outbox.due_s(10.0)) == (None, 0, None)


def test_what_cannot_be_read_back_waits_until_it_can(tmp_path):
    first = make_outbox(tmp_path)
    for number in range(3):
        first.add(make_event(number), 0.0)
    first.close(0.0)
    again = make_outbox(tmp_path)
    again._store._database.close()  # as where the disk does not answer
    assert again.oldest_seq() is None
    assert again.problem == f"{tmp_path}/outbox.sqlite: Cannot operate on a closed database."
    assert again.due_s(0.0) == 10.0
    assert again.take(10.0) is None
    assert again.due_s(10.0) == 20.0
    again._store._database = sqlite3.connect(tmp_path / "outbox.sqlite")
    assert again.take(19.9) is None
    assert numbers(drain(again, 20.0)) == [0, 1, 2]


def test_what_was_delivered_and_cannot_be_deleted_holds_nothing_up(tmp_path):
    outbox = make_outbox(tmp_path)
    for number in range(300):
        outbox.add(make_event(number), 0.0)
    outbox.tick(2.0)
    taken = [outbox.take(3.0) for _ in range(200)]
    outbox.acknowledged(taken[0].event_id)
    outbox._store._database.execute("PRAGMA query_only = ON")
    taken.append(outbox.take(3.0))  # read from the store, where the first is to be forgotten before
    assert numbers(taken) == list(range(201))
    for event in taken[1:]:
        outbox.acknowledged(event.event_id)
    outbox.tick(13.0)
    assert outbox.problem == f"{tmp_path}/outbox.sqlite: attempt to write a readonly database"
    assert (outbox.due_s(13.0), outbox._store.rows, outbox.depth) == (23.0, 300, 99)
    outbox._store._database.execute("PRAGMA query_only = OFF")
    outbox.tick(23.0)
    assert (outbox.problem, outbox._store.rows, outbox.depth) == (None, 99, 99)
    outbox.acknowledged(outbox.take(24.0).event_id)
    outbox._store._database.execute("PRAGMA query_only = ON")
    outbox.close(25.0)
    assert outbox.lost == 0
    assert numbers(drain(make_outbox(tmp_path))) == list(range(201, 300))  # one of them twice, rather than never


def test_rows_are_deleted_together_when_nothing_is_in_hand(tmp_path):
    outbox = make_outbox(tmp_path)
    for number in range(5):
        outbox.add(make_event(number), 0.0)
    outbox.tick(2.0)
    taken = [outbox.take(3.0) for _ in range(5)]
    for event in taken[:3]:
        outbox.acknowledged(event.event_id)
    outbox.tick(3.0)
    assert (outbox._store.rows, outbox.depth) == (5, 2)
    for event in taken[3:]:
        outbox.acknowledged(event.event_id)
    assert outbox.due_s(3.5) is None  # at once, not later
    outbox.tick(4.0)
    assert (outbox._store.rows, outbox.depth) == (0, 0)


def test_answers_to_what_is_not_under_way_change_nothing(tmp_path):
    outbox = make_outbox(tmp_path)
    outbox.add(make_event(1), 0.0)
    outbox.acknowledged("nobody")
    outbox.refused("nobody")
    assert outbox.depth == 1
    outbox.refused(outbox.take(0.0).event_id)
    assert [(event.seq, event.late) for event in drain(outbox, 0.5)] == [(1, False)]


def test_a_live_event_waits_for_its_turn_behind_very_many(tmp_path):
    outbox = make_outbox(tmp_path)
    for number in range(MANY + 2):
        outbox.add(make_event(number), 0.0)
    outbox.tick(2.0)
    outbox.add(make_event(9_000), 10.0)
    outbox.connected(10.25)
    assert outbox.due_s(10.25) == 10.25 + LIVE_WAIT_S  # from the connection on, where that came later
    assert outbox.take(10.25 + LIVE_WAIT_S - 0.01).late
    assert outbox.take(10.25 + LIVE_WAIT_S).seq == 9_000
    outbox.add(make_event(9_001), 11.0)
    assert outbox.due_s(11.0) == 11.0 + LIVE_WAIT_S
    assert outbox.take(11.0).seq == 1


def test_what_is_delivered_is_not_counted_among_the_very_many(tmp_path):
    outbox = make_outbox(tmp_path)
    for number in range(MANY + 1):
        outbox.add(make_event(number), 0.0)
    outbox.tick(2.0)
    outbox.connected(10.0)
    outbox.acknowledged(outbox.take(10.0).event_id)
    outbox.add(make_event(9_000), 10.0)
    assert outbox.due_s(10.0) == 10.0 + COMMIT_AFTER_S  # no turn of its own: they are few
    assert outbox.take(20.0).late


def test_a_new_file_in_place_of_a_damaged_one_is_filled_once(tmp_path):
    outbox = make_outbox(tmp_path)
    for number in range(300):
        outbox.add(make_event(number), 0.0)
    outbox.tick(2.0)
    flying = [outbox.take(2.5) for _ in range(20)]
    outbox._store._database.close()  # and damaged behind its back, as by a dying card
    (tmp_path / "outbox.sqlite-wal").unlink(missing_ok=True)
    damage(tmp_path / "outbox.sqlite", "garbage")
    outbox._store._database = sqlite3.connect(tmp_path / "outbox.sqlite")
    for number in range(900, 905):
        outbox.add(make_event(number), 3.0)
    outbox.tick(5.0)
    outbox.tick(6.0)
    known = outbox.depth
    assert known >= len(flying) + 5
    for now_s in (7.0, 8.0, 9.0):
        outbox.tick(now_s)
        assert (outbox._store.rows, outbox.depth) == (known, known)
    under_way = [outbox.take(10.0) for _ in range(3)]
    outbox.tick(10.0)
    outbox.disconnected()
    sent = numbers(drain(outbox, 11.0))
    assert (len(sent), len(set(sent)), outbox.depth) == (known, known, 0)
    assert set(numbers(under_way)) <= set(sent)


def test_memory_holds_so_many_late_events_and_says_once_when_it_is_full(caplog):
    outbox = Outbox(None)
    for number in range(MEMORY_EVENTS):
        outbox.add(make_event(number), 0.0)
    outbox.tick(1.0)
    assert (outbox.dropped, outbox.depth) == (0, MEMORY_EVENTS)
    assert not caplog.records
    for number in range(3):
        outbox.add(make_event(MEMORY_EVENTS + number), 2.0)
        outbox.tick(3.0)
        assert [record.message for record in caplog.records] == [
            f"{MEMORY_EVENTS} late events in memory and no disk to put them on: the oldest are dropped"
        ]
    assert (outbox.dropped, outbox.depth) == (3, MEMORY_EVENTS)
    assert numbers(drain(outbox))[0] == 3


def test_a_full_disk_is_said_once(tmp_path, caplog):
    outbox = make_outbox(tmp_path, rows=2)
    for number in range(6):
        outbox.add(make_event(number), float(number))
        outbox.tick(number + COMMIT_AFTER_S)
        assert len(caplog.records) == (number >= 2)  # with the first that is dropped
    assert (outbox.dropped, outbox.depth) == (4, 2)
    assert [record.message for record in caplog.records] == [
        "the outbox is full (edge.outbox): the oldest events are dropped"
    ]


def test_what_an_earlier_life_left_goes_out_at_once(tmp_path):
    first = make_outbox(tmp_path)
    first.add(make_event(1), 0.0)
    first.close(0.0)
    again = make_outbox(tmp_path)
    assert again.problem is None
    again.connected(0.0)
    assert again.take(0.0).late


def test_many_delivered_rows_are_deleted_while_others_are_in_hand(tmp_path):
    outbox = make_outbox(tmp_path)
    for number in range(250):
        outbox.add(make_event(number), 0.0)
    outbox.tick(2.0)
    taken = [outbox.take(3.0) for _ in range(250)]
    for event in taken[:199]:
        outbox.acknowledged(event.event_id)
    outbox.tick(3.0)
    assert outbox._store.rows == 250
    outbox.acknowledged(taken[199].event_id)
    outbox.tick(3.0)
    assert (outbox._store.rows, outbox.depth) == (50, 50)


# --- the past ---------------------------------------------------------------------------------------------------------


def test_the_past_is_waited_for_ten_seconds_and_half_a_second_after_the_answer():
    assert Past().tell() == [{}]
    past = Past()
    past.answered(0.0)
    past.remember("state", b"unasked", 0.0)
    assert (past.known, past.due_s) == (False, None)
    past.ask(10.0)
    assert past.due_s == 20.0
    past.answered(10.25)
    assert past.due_s == 10.75
    past.answered(11.0)
    assert past.due_s == 10.75  # a later answer prolongs nothing
    past.remember("state", Word(word=b"1", ts=None), 10.5)
    past.remember("timeline", Word(word=b"2", ts=None), 10.5)
    assert past.due_s == 10.75
    told = [{"state": Word(word=b"1", ts=None), "timeline": Word(word=b"2", ts=None)}]
    assert past.tell() == told
    assert (past.known, past.due_s) == (True, None)


def test_when_all_of_the_past_is_there_it_is_told_at_once():
    past = Past()
    past.ask(10.0)
    for name in PAST:
        past.remember(name, Word(word=name.encode(), ts=None), 10.125)
    assert past.due_s == 10.125
    assert past.tell() == [{name: Word(word=name.encode(), ts=None) for name in PAST}]


def test_a_connection_that_is_lost_asks_again():
    past = Past()
    past.ask(10.0)
    past.remember("state", b"old", 10.0)
    past.lost()
    assert (past.known, past.due_s) == (False, None)
    past.ask(20.0)
    past.remember("timeline", b"new", 20.0)
    assert past.tell() == [{"timeline": b"new"}]


def test_of_two_brokers_both_are_waited_for_and_the_one_spoken_to_last_comes_first():
    past = Past(others=1)
    older, newer = (Word(word=b'{"seq": %d}' % seq, ts=None) for seq in (6, 7))
    past.remember("state", newer, 1.0, "b")  # may come before this one was asked
    past.ask(10.0)
    past.answered(10.25)
    past.remember("state", older, 10.25)
    assert past.due_s == 12.25  # the other has not answered, and may be away
    past.answered(10.5, "b")
    assert past.due_s == 11.0
    past.lost()
    past.ask(20.0)
    assert past.due_s == 30.0
    past.remember("state", older, 20.0)
    past.answered(20.25)
    assert past.due_s == 20.75  # the other's answer is known still
    assert past.tell() == [{"state": newer}, {"state": older}]


@pytest.mark.parametrize(
    ("state", "seq"), [(b'{"seq": 7, "emotion": "sad"}', 7), (b"{}", 0), (b"", 0), (b'{"seq": "7"}', 0), (None, 0),
                     (b'{"seq": "\xff"}', 0), (b'{"x":' + b"[" * 5_000, 0)],
)  # fmt: skip
def test_the_number_of_a_retained_state(state, seq):
    assert seq_of(None if state is None else Word(word=state, ts=None)) == seq


# --- flights and refusals ---------------------------------------------------------------------------------------------


def test_a_flight_is_slow_after_so_many_seconds_and_that_is_news_once():
    flights = Flights()
    assert (len(flights), flights.slow, flights.slow_at(), flights.look(100.0)) == (0, False, [], False)
    flights.begin(1, Flight("a/state", None, 10.0))
    flights.begin(2, Flight("a/event", "id-2", 11.0))
    assert (len(flights), flights.retained, sorted(flights.slow_at())) == (2, {"a/state"}, [14.0, 15.0])
    assert not flights.look(10.0 + SLOW_S - 0.01)
    assert flights.look(10.0 + SLOW_S)
    assert (flights.slow, flights.slow_at()) == (True, [])
    assert not flights.look(20.0)  # no news
    assert flights.land(1) == Flight("a/state", None, 10.0)
    assert flights.land(1) is None
    assert not flights.look(12.0)
    assert (flights.slow, flights.slow_at()) == (False, [15.0])
    flights.look(30.0)
    flights.clear(0.0)
    assert (len(flights), flights.slow, flights.retained) == (0, False, set())


def test_a_refused_topic_is_left_alone_for_twice_as_long_each_time():
    refusals = Refusals()
    assert (refusals.words, refusals.paused(0.0), refusals.due_s(0.0)) == (None, set(), [])
    now_s, words = 0.0, "may not publish a/event: Not authorized (allow it in the broker's access list)"
    assert refusals.add("a/event", "Not authorized", now_s) == words
    for pause_s in (2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        assert refusals.due_s(now_s) == [now_s + pause_s]
        assert refusals.paused(now_s + pause_s - 0.01) == {"a/event"}
        assert refusals.add("a/event", "Quota exceeded", now_s + pause_s - 0.01) is None  # sent before it was known
        now_s += pause_s
        assert refusals.paused(now_s) == set()
        assert refusals.due_s(now_s) == []
        assert refusals.add("a/event", "Not authorized", now_s) is None  # no news, and still so
    assert refusals.words == words
    assert refusals.add("a/event", "Quota exceeded", now_s + 60.0) == "may not publish a/event: Quota exceeded"
    refusals.add("a/state", "Not authorized", now_s + 60.0)
    other = words.replace("event", "state")
    assert refusals.words == f"may not publish a/event: Quota exceeded; {other}"
    refusals.lift("a/event")
    refusals.lift("a/event")
    assert refusals.words == other
    refusals.add("a/health", "Not authorized", now_s)
    refusals.add("a/recent", "Not authorized", now_s)
    assert refusals.words == other.replace("a/state", "a/state and 2 more")
    refusals.lift("a/recent")
    refusals.lift("a/health")
    assert refusals.paused(now_s + 60.0) == {"a/state"}


# --- reasons ----------------------------------------------------------------------------------------------------------


def unverified(code: int, message: str = "as OpenSSL says it") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def failed(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError("handshake failure")
    error.reason = reason
    return error


NOT_ACCEPTED = "its certificate is not accepted: "
CLOCK = "the clock of this machine"
AUTHORITY = "it comes from an authority that is not trusted here: is edge.mqtt.tls.ca_file that of this broker?"
NAME = "it is made out to another name: edge.mqtt.host has to be a name that stands on it"
UNKNOWN_TO_IT = "it does not know the authority of edge.mqtt.tls.cert_file"
OLD = "it speaks an older TLS than 1.2"
NO_TLS = "does not speak TLS on this port (edge.mqtt.tls is set)"


@pytest.mark.parametrize(
    ("error", "tls", "words"),
    [
        (unverified(10), True, f"{NOT_ACCEPTED}it has expired: renew it on the broker, or is {CLOCK} wrong?"),
        (unverified(9), True, f"{NOT_ACCEPTED}it is not valid yet: is {CLOCK} right?"),
        (unverified(18), True, f"{NOT_ACCEPTED}{AUTHORITY}"),
        (unverified(20), True, f"{NOT_ACCEPTED}{AUTHORITY}"),
        (unverified(62), True, f"{NOT_ACCEPTED}{NAME}"),
        (unverified(64), True, f"{NOT_ACCEPTED}{NAME}"),
        (unverified(66, "EE key too small"), True, f"{NOT_ACCEPTED}EE key too small (renew it, or see edge.mqtt.tls)"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), True, NO_TLS),
        (ssl.SSLEOFError(8, "EOF occurred"), True, NO_TLS),
        (ConnectionResetError(104, "Connection reset by peer"), True, NO_TLS),
        (ConnectionResetError(104, "Connection reset by peer"), False, "connection reset by peer"),
        (failed("NO_SHARED_CIPHER"), True, "TLS failed: no shared cipher (see edge.mqtt.tls)"),
        (failed(None), True, "TLS failed: the two sides found no common ground (see edge.mqtt.tls)"),
        (failed("TLSV1_ALERT_UNKNOWN_CA"), True, f"TLS failed: tlsv1 alert unknown ca ({UNKNOWN_TO_IT})"),
        (failed("TLSV1_ALERT_PROTOCOL_VERSION"), True, f"TLS failed: tlsv1 alert protocol version ({OLD})"),
        (socket.gaierror(-2, "Name or service not known"), False, "host name not found (name or service not known)"),
        (TimeoutError("timed out"), False, "no answer within 4 s"),
        (ValueError("Label TOO long"), False, "label too long"),
        (OSError(), False, "no answer"),
    ],
)
def test_why_there_is_no_connection(error, tls, words):
    assert in_words(error, tls=tls) == words


@pytest.mark.parametrize(
    ("code", "named", "words"),
    [
        (132, False, "Unsupported protocol version (it is older than MQTT 5)"),
        (134, True, "Bad user name or password (is the user name or password wrong?)"),
        (135, True, "Not authorized (is the user name or password wrong?)"),
        (135, False, "Not authorized (it wants an account: edge.mqtt.username and password_file)"),
        (137, True, "Server busy"),
    ],
)
def test_with_what_words_a_broker_refuses(code, named, words):
    assert refused(ReasonCode(PacketTypes.CONNACK, identifier=code), named=named) == f"refused: {words}"


def test_what_a_broker_may_mean_that_only_hangs_up():
    assert guess(tls=True).startswith("does it want a client certificate (edge.mqtt.tls.cert_file)? Is it older than ")
    assert guess(tls=False).endswith("or a TLS port (edge.mqtt.tls)?")
