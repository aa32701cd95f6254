"""The dashboard in a real Chromium against a real mosquitto, fed by a puppet sensor that shares no code with ours."""

import re
import time
from datetime import datetime

import msgspec
from playwright.sync_api import Page, expect

from edge.sound.faults import explain
from edge.voice import payloads
from edge.voice.models import Model, ModelFile
from tests.dashboard.puppet import Puppet, rfc3339, spread
from tests.support.broker import Broker
from tests.support.chromium import colours_in, labels, tone, word
from tests.support.patience import wait_until
from tests.support.subscriber import Subscriber


def test_the_list_shows_the_events_that_a_subscriber_saw(room: Broker, visit):
    page = visit().page
    told = ["neutral", "happy", "unknown", "quiet", "angry", "fear", "disgust", "sad", "surprise", "quiet", "happy"]
    with Subscriber(room.port, "roomtone/+/event") as subscriber, Puppet(room.port) as sensor:
        sensor.state("quiet", since_s=time.time() - 90)
        expect(word(page)).to_have_text("quiet")
        previous = "quiet"
        for number, label in enumerate(told):
            at = time.time() - 60 + 5 * number
            sensor.event(label, previous, 0.71, at_s=at)
            sensor.state(label, 0.71, since_s=at)
            previous = label
        seen = subscriber.wait_for(lambda each: len(each.messages) == len(told) and each.messages)
        expect(page.locator("#changes li")).to_have_count(len(told) + 1)
        assert labels(page) == ["quiet"] + [message.json["event_type"] for message in seen]
        expect(word(page)).to_have_text("happy")
        expect(page.locator("#now-detail")).to_have_text("a guess (71 %)")


def test_an_event_delivered_twice_is_shown_once(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        at = time.time()
        for _ in range(2):
            sensor.event("happy", "quiet", at_s=at, event_id="0190c0de-0000-7000-8000-000000000001")
        sensor.event("sad", "happy", at_s=at + 3)
        sensor.state("sad", since_s=at + 3)
        expect(page.locator("#changes li")).to_have_count(2)
        assert labels(page) == ["happy", "sad"]


def test_now_says_emotion_confidence_and_since_when(room: Broker, visit):
    page = visit().page
    with Puppet(room.port, "meeting-room-2") as sensor:
        since = time.time() - 200
        sensor.state("surprise", 0.83, since_s=since)
        expect(word(page)).to_have_text("surprise")
        expect(page.locator("#room-title")).to_have_text("meeting room 2")
        expect(page.locator("#now-detail")).to_have_text("a guess (83 %)")
        expect(page.locator("#now-since")).to_contain_text("for 3 min, since ")
        shown = page.locator("#now-since").inner_text().split()[-1]
        assert shown == datetime.fromtimestamp(since).strftime("%H:%M")
        expect(page.locator("#spoken")).to_have_text("meeting room 2: surprise. a guess (83 %)")
        assert page.title() == "surprise · meeting room 2 · roomtone"
        expect(page.locator("#scores li.best .name")).to_have_text("surprise")
        expect(page.locator("#scores li.best .value")).to_have_text("83 %")


def test_a_guess_is_called_one_and_quiet_is_none(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("quiet", 0.0)  # as just after switching on
        expect(page.locator("#spoken")).to_have_text("living room: quiet. nobody speaks")
        expect(page.locator("#now-ring")).to_have_attribute("stroke-dasharray", "0 100")
        expect(page.locator("#now-caveat")).to_contain_text("often mishears voices that it does not know")
        sensor.event("quiet", "happy", 0.99)
        expect(page.locator("#changes li[data-label=quiet] .value").first).to_have_text("")
        sensor.state("quiet", 0.0, microphone="off")
        expect(page.locator("#now-caveat")).to_be_hidden()


def test_the_probabilities_become_a_curve(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        for step in range(6):
            sensor.state("happy", 0.5 + step / 20, scores=spread("happy", 0.5 + step / 20))
            points = "Traces.of({device: 'living-room'}).columns()[0].length"
            wait_until(lambda points=points, step=step: page.evaluate(points) == step + 1)
            time.sleep(0.45)  # closer together, the curve makes one point of two
        expect(page.locator("#curve-empty")).to_be_hidden()
        happy = tone(page, "happy")
        assert colours_in(page, "#curve canvas")[happy] > 20
        assert page.evaluate("Traces.of({device: 'living-room'}).columns().map(column => column.length)") == [6] * 8


def test_arousal_and_valence_are_a_dot_on_a_plane(room: Broker, visit):
    page = visit(reduced_motion="reduce").page
    plane, dot = page.locator("#affect"), page.locator("#affect-dot")
    with Puppet(room.port) as sensor:
        sensor.state("quiet", arousal=None, valence=None)
        expect(word(page)).to_have_text("quiet")
        expect(plane).to_be_hidden()
        for valence, arousal in ((0.0, 0.0), (-0.75, 0.5), (0.5, -0.25), (1.0, 1.0), (-1.0, -1.0)):
            sensor.state("unknown", 0.4, arousal=arousal, valence=valence)
            wait_until(lambda place=(valence, arousal): place_of(page, "#affect-dot") == place)
        expect(plane).to_have_attribute("aria-label", re.compile("^Valence −1.00 .* arousal −1.00 "))
        assert plane.get_attribute("role") == "img"
        sensor.state("quiet", arousal=None, valence=None)
        expect(word(page)).to_have_text("quiet")
        expect(dot).to_be_hidden()  # and the plane stays, so that nothing moves
        expect(plane).to_have_attribute("aria-label", "Valence and arousal: nobody speaks")
        sensor.state("sad", microphone="stalled", arousal=0.1, valence=0.1)
        expect(word(page)).to_have_text("deaf")
        expect(plane).to_be_hidden()


def test_a_sensor_of_before_arousal_and_valence_shows_no_plane(room: Broker, visit):
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        page = visit().page
        expect(word(page)).to_have_text("happy")
        expect(page.locator("#affect")).to_be_hidden()
        sensor.state("sad", arousal=None, valence=None)  # a model with labels of its own
        expect(word(page)).to_have_text("sad")
        expect(page.locator("#affect")).to_be_hidden()


def test_a_mood_is_said_where_no_label_stands_out(room: Broker, visit):
    page = visit().page
    scores = {"angry": 0.31, "disgust": 0.1, "fear": 0.24, "happy": 0.33, "neutral": 0.02}
    with Puppet(room.port) as sensor:
        sensor.state("unknown", 0.33, scores=scores, mood="tense", mood_confidence=0.65)
        expect(word(page)).to_have_text("tense")
        expect(page.locator("#now-detail")).to_have_text("a guess (65 %) · perhaps angry")  # of the tense ones
        expect(page).to_have_title(re.compile("^tense · "))
        sensor.state("unknown", 0.33, scores=scores, mood="excited", mood_confidence=0.9)
        expect(word(page)).to_have_text("excited")
        expect(page.locator("#now-detail")).to_have_text("a guess (90 %)")
        for mood in ("unknown", None, "", 7, "<b>"):
            sensor.state("unknown", 0.33, scores=scores, mood=mood, mood_confidence=0.4)
            expect(word(page)).to_have_text("unknown")
            expect(page.locator("#now-detail")).to_have_text("someone speaks, but no emotion stands out")
            sensor.state("happy", 0.71, mood="bright", mood_confidence=0.8)
            expect(word(page)).to_have_text("happy")
            expect(page.locator("#now-detail")).to_have_text("a guess (71 %)")
        sensor.state("unknown", 0.33, scores={}, mood="tense")
        expect(word(page)).to_have_text("tense")
        expect(page.locator("#now-detail")).to_have_text("")


def test_a_room_that_is_new_to_the_sensor_is_said_to_be(room: Broker, visit):
    page = visit().page
    said = page.locator("#now-room")
    with Puppet(room.port) as sensor:
        sensor.state("happy", 0.7)
        for heard, words in ((0, "0 utterances"), (1, "1 utterance"), (19, "19 utterances")):
            sensor.health(room_utterances=heard)
            expect(said).to_have_text(f"getting to know this room: {words}")
        for heard in (20, None, "7"):
            sensor.health(room_utterances=3)
            expect(said).to_have_text("getting to know this room: 3 utterances")
            sensor.health(room_utterances=heard)
            expect(said).to_have_text("")


def test_unknown_is_not_sure_of_anything(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        since = time.time() - 600
        sensor.event("unknown", "quiet", 0.44, at_s=since)
        sensor.state("unknown", 0.44, since_s=since)
        expect(word(page)).to_have_text("unknown")
        expect(page.locator("#now-detail")).to_have_text("someone speaks, but no emotion stands out")
        expect(page.locator("#changes li[data-label=unknown] .value")).to_have_text("")
        expect(page.locator("#now-ring")).to_have_attribute("stroke-dasharray", "0 100")
        page.locator("#ribbon").focus()
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#ribbon-readout")).to_contain_text(re.compile(": unknown, for "))
        with Puppet(room.port, "hall") as hall:
            hall.state("quiet")
            expect(page.locator(".tile-detail").nth(1)).to_contain_text(re.compile("^for "))


def test_off_on_purpose_is_said_once_and_calmly(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.send("listening", "OFF")
        sensor.health(microphone="off", detail=explain("off"))
        sensor.state("quiet", 0.0, microphone="off")
        expect(word(page)).to_have_text("not listening")
        expect(page.locator("#now-detail")).to_have_text("Listening is switched off.")
        expect(page.locator("#curve-empty")).to_have_text("Nothing is heard.")
        for elsewhere in ("#ear", "#ear-state", "#ear-detail", "#ear-figures"):
            expect(page.locator(elsewhere)).to_be_hidden()
        expect(page.get_by_role("switch", name="Listening")).not_to_be_checked()
        with Puppet(room.port, "hall") as hall:
            hall.state("happy")
            expect(page.locator("#rooms-summary")).to_have_text("2 sensors, 1 not listening")


def test_a_fault_is_said_once_with_what_helps(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.health(microphone="stalled", detail=explain("stalled"))
        sensor.state("quiet", 0.0, microphone="stalled")
        expect(page.locator("#ear-state")).to_have_text("the microphone stopped delivering sound")
        expect(page.locator("#ear-detail")).to_contain_text(re.compile("^Check its plug"))
        sensor.send("status", "offline")
        expect(page.locator("#ear-state")).to_have_text("not known now")
        expect(page.locator("#ear-detail")).to_have_text("")


def test_a_day_without_data_says_so(room: Broker, visit):
    now = time.time()
    with Puppet(room.port) as sensor:
        page = visit().page
        expect(page.locator("#day-empty")).to_have_text("Nothing is known of it yet.")
        sensor.timeline([(now - 3600, "quiet", 0.0)], at_s=now)
        hour_ago, minute_ago = clock(now - 3600), clock(now - 60)
        expect(page.locator("#day-empty")).to_have_text(f"Nobody listened from {hour_ago} to {clock(now)}.")
        expect(page.locator("#day-known")).to_have_text(f"Nothing is known before {hour_ago}.")
        sensor.timeline([(now - 3600, "quiet", 0.0), (now - 60, "happy", 0.8)])
        page.reload()
        expect(page.locator("#legend li")).to_have_count(1)
        expect(page.locator("#day-empty")).to_be_hidden()
        expect(page.locator("#day-known")).to_have_text(f"Nothing is known before {hour_ago}.")
        sensor.timeline([(now - 60, "happy", 0.8)])
        page.reload()
        expect(page.locator("#day-known")).to_have_text(f"Nothing is known before {minute_ago}.")
        sensor.timeline([(now - 86_390, "quiet", 0.0)])
        page.reload()
        expect(page.locator("#day-empty")).to_have_text(re.compile(r"^Nobody listened up to \d\d:\d\d\.$"))
        expect(page.locator("#day-known")).to_have_text("")
        sensor.state("quiet", 0.0, microphone="off", since_s=now - 86_390)
        expect(page.locator("#day-empty")).to_have_text("Nobody listened.")


def test_off_since_a_restart_leaves_the_time_before_it_unknown(room: Broker, visit):
    """The broker that comes with a sensor forgets the day with it."""
    page, now = visit().page, time.time()
    with Puppet(room.port) as sensor:
        sensor.send("listening", "OFF", stamp=rfc3339(now - 600))
        sensor.timeline([(now - 600, "quiet", 0.0), (now - 300, "quiet", 0.0)])
        sensor.state("quiet", 0.0, microphone="off", since_s=now - 600)
        expect(page.locator("#day-empty")).to_have_text(f"Nobody listened since {clock(now - 600)}.")
        expect(page.locator("#day-known")).to_have_text(f"Nothing is known before {clock(now - 600)}.")
        expect(page.locator("#now-detail")).to_have_text(f"Listening is switched off since {clock(now - 600)}.")
        expect(page.locator("#changes li.gap .what")).to_have_text("nobody listened")
        assert labels(page) == [None]
        with Puppet(room.port, "hall") as hall:
            hall.state("happy")
            said = page.locator(".tile[href='#living-room'] .tile-detail")
            expect(said).to_have_text(f"Listening is switched off since {clock(now - 600)}.")


def test_quiet_hours_say_until_when(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.settings(quiet_hours={"start": "22:00", "end": "07:00", "time_zone": "Europe/Rome"})
        sensor.state("quiet", 0.0, microphone="quiet-hours")
        expect(page.locator("#now-detail")).to_have_text("These are quiet hours, until 07:00 (Europe/Rome).")


def test_events_on_their_way_are_no_trouble_while_the_sensor_is_connected(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.state("happy")
        sensor.health(outbox_depth=3, uptime_s=0.4)
        waiting = page.locator("#health-figures div", has_text="Waiting to be sent")
        expect(waiting).to_contain_text("3")
        expect(waiting.locator(".warning")).to_be_hidden()
        expect(page.locator("#who-figures div", has_text="Running for")).to_contain_text("a moment")
        sensor.health(outbox_depth=3, broker={"problem": "no acknowledgement for more than 4 s"})
        expect(waiting.locator(".warning")).to_have_text("no acknowledgement for more than 4 s")


def test_a_reload_keeps_the_past_day(room: Broker, visit):
    now = time.time()
    day = [(now - 7200, "quiet", 0.97), (now - 3600, "sad", 0.7), (now - 1800, "happy", 0.8), (now - 600, "quiet", 0.9)]
    with Puppet(room.port) as sensor:
        sensor.timeline(day)
        sensor.state("quiet", since_s=day[-1][0])
        page = visit().page
        for _ in range(2):
            expect(page.locator("#changes li")).to_have_count(len(day))
            assert labels(page) == [label for _, label, _ in day]
            legend = page.locator("#legend li")
            expect(legend).to_have_text(["sad30 min", "happy20 min", "quiet1 h 10 min"])
            # 30 and 20 of 1,440 minutes, in bars that leave a quarter free.
            painted = colours_in(page, "#ribbon-canvas")
            assert painted[tone(page, "sad")] > painted[tone(page, "happy")] > 0
            page.reload()


def test_a_moment_of_the_day_is_told_by_keys_and_pointer(room: Broker, visit):
    now = time.time()
    with Puppet(room.port) as sensor:
        sensor.timeline([(now - 7200, "quiet", 0.97), (now - 3600, "sad", 0.7), (now - 1800, "quiet", 0.9)])
        sensor.state("quiet", since_s=now - 1800)
        page = visit().page
        expect(page.locator("#legend li")).to_have_count(2)
        ribbon = page.locator("#ribbon")
        ribbon.focus()
        for _ in range(9):
            page.keyboard.press("ArrowLeft")
        assert re.search(r": sad, a guess \(70 %\), for 30 min$", ribbon.get_attribute("aria-valuetext"))
        assert ribbon.get_attribute("aria-valuenow") == str(1440 - 45)
        page.keyboard.press("Home")
        expect(ribbon).to_have_attribute("aria-valuetext", re.compile("nothing known"))
        box = ribbon.bounding_box()
        page.mouse.move(box["x"] + box["width"] * (1 - 100 / 1440), box["y"] + 5)
        expect(page.locator("#ribbon-readout")).to_contain_text("quiet")


def test_times_in_which_nobody_listened_are_no_quiet(room: Broker, visit):
    now = time.time()
    with Puppet(room.port) as sensor:
        sensor.timeline([(now - 7200, "happy", 0.8), (now - 3600, "quiet", 0.0), (now - 1200, "quiet", 0.95)])
        sensor.state("quiet", since_s=now - 1200)
        page = visit().page
        expect(page.locator("#legend li")).to_have_text(["happy1 h 00 min", "quiet20 min"])
        assert labels(page) == ["happy", None, "quiet"]
        expect(page.locator("#changes li.gap .what")).to_have_text("nobody listened")
        assert page.locator("#changes li.gap use").get_attribute("href") == "#drawing-deaf"  # no sleeping face
        expect(page.locator("#changes .chip")).to_have_count(0)
        expect(page.locator("#changes li .held")).to_have_text(["for 20 min", "for 40 min", "for 1 h 00 min"])


def test_late_events_are_marked_and_take_their_place(room: Broker, visit):
    page = visit().page
    now = round(time.time(), 3)  # moments are told in milliseconds, and no hole may open between two
    with Puppet(room.port) as sensor:
        sensor.event("happy", "quiet", at_s=now - 60, previous_duration_ms=220_000)
        sensor.state("happy", since_s=now - 60)
        expect(page.locator("#changes li")).to_have_count(1)
        sensor.event("sad", "quiet", at_s=now - 300, late=True)
        sensor.event("quiet", "sad", at_s=now - 280, late=True, previous_duration_ms=20_000)
        expect(page.locator("#changes li")).to_have_count(3)
        expect(page.locator("#changes .chip")).to_have_text(["late", "late"])
        wait_until(lambda: labels(page) == ["sad", "quiet", "happy"])
        expect(page.locator("[data-notice=late]")).to_contain_text("2 events arrived late")


def test_a_sensor_whose_clock_differs_is_believed_and_told(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.health()
        hour_ago = time.time() - 3600
        sensor.state("happy", at_s=hour_ago, since_s=hour_ago - 30)
        expect(word(page)).to_have_text("happy")
        expect(page.locator("#now-since")).to_contain_text("for 3")
        expect(page.locator("#who-figures")).to_contain_text("behind")


def test_health_in_figures_and_warnings(room: Broker, visit):
    page = visit().page
    with Puppet(room.port) as sensor:
        sensor.health(dropped_blocks=7, temperature_c=81.0, outbox_dropped=3, outbox_problem="disk full")
        sensor.state("quiet")
        figures = page.locator("#health-figures")
        for text in ("4.1 % of a core", "74 MB", "81 °C", "1.9 / 3.4 ms", "sound was lost", "hot", "disk full"):
            expect(figures).to_contain_text(text)
        expect(page.locator("#who-figures")).to_contain_text("3 days")


def test_several_rooms(room: Broker, visit):
    page = visit().page
    with (
        Puppet(room.port, "kitchen") as kitchen,
        Puppet(room.port, "hall") as hall,
        Puppet(room.port, "attic") as attic,
    ):
        kitchen.state("happy", 0.66)
        hall.state("sad")
        attic.state("quiet", microphone="stalled")
        expect(page.locator(".tile-name")).to_have_text(["attic", "hall", "kitchen"])
        expect(page.locator(".tile-word")).to_have_text(["deaf", "sad", "happy"])
        expect(page.locator("#rooms-summary")).to_have_text("3 sensors, 1 needs a look")
        page.get_by_role("link", name="kitchen").click()
        expect(word(page)).to_have_text("happy")
        hall.state("angry")
        kitchen.state("fear")
        expect(word(page)).to_have_text("fear")
        page.get_by_role("link", name="All rooms").click()
        expect(page.locator(".tile-word")).to_have_text(["deaf", "angry", "fear"])
        page.goto(f"{room.page_url}#nowhere")
        expect(page.get_by_role("heading", name="No such room")).to_be_visible()
        hall.send("status", "")
        page.goto(f"{room.page_url}#")
        expect(page.locator(".tile-name")).to_have_text(["attic", "kitchen"])


def test_what_our_own_payloads_say_is_understood(room: Broker, visit):
    """The other side of the contract: messages as edge encodes them."""
    now = payloads.rfc3339(time.time())
    state = payloads.State(
        ts=now, emotion="unknown", confidence=0.41, since=now, scores=spread("happy", 0.41), speech_ratio=0.25,
        snr_db=12.5, level_dbfs=-30.5, clipped_ratio=0.0, microphone="ok", model="m 1", seq=7,
    )  # fmt: skip
    event = payloads.Event(
        event_id="0190", event_type="unknown", ts=now, previous="quiet", confidence=0.41, previous_duration_ms=1,
        seq=6, model="m 1",
    )  # fmt: skip
    health = payloads.Health(
        ts=now, version="9.8.7", uptime_s=61.0, cpu_ratio=0.5, rss_mb=64.0, temperature_c=None, realtime_factor=0.2,
        dropped_blocks=0, inference_ms=payloads.Percentiles(), latency_ms=payloads.Percentiles(p50=1.0, p99=2.0),
        outbox_depth=0, reconnects=0, microphone=payloads.Microphone(state="ok"),
    )  # fmt: skip
    timeline = payloads.Timeline(ts=now, runs=[(payloads.rfc3339(time.time() - 900), "neutral", 0.6)])
    page = visit().page
    with Puppet(room.port) as sensor:
        for name, told in (("state", state), ("health", health), ("timeline", timeline)):
            sensor.send(name, msgspec.json.encode(told))
        sensor.send("event", msgspec.json.encode(event), retain=False)
        expect(word(page)).to_have_text("unknown")
        expect(page.locator("#who-figures")).to_contain_text("9.8.7")
        expect(page.locator("#ear-figures")).to_contain_text("25 %")
        expect(page.locator("#changes li")).to_have_count(2)
        assert labels(page) == ["neutral", "unknown"]


def test_which_model_runs_and_what_became_of_the_one_that_was_offered(room: Broker, visit):
    def told(result: str, **fields) -> bytes:
        first, second = (ModelFile(model=name, created="2026", sha256=name[0] * 64) for name in ("a-1", "b-2"))
        now = payloads.rfc3339(time.time())
        return msgspec.json.encode(Model(ts=now, since=now, updates="auto", ring="house", **{
            "installed": first, "offered": second, "result": result, **fields}))  # fmt: skip

    page = visit().page
    shown = page.locator("#who-figures")
    with Puppet(room.port) as sensor:
        sensor.state("quiet")
        sensor.send("model", told("none", offered=None))
        expect(shown).to_contain_text("a-1")
        expect(shown).not_to_contain_text("offered")
        sensor.send("model", told("offered"))
        expect(shown.locator("div", has_text="Model offered")).to_contain_text("b-2waits to be installed")
        sensor.send("model", told("refused", offered=None, reason="not signed"))
        expect(shown.locator("div", has_text="Model offered")).to_contain_text("–refused: not signed")
        sensor.send("model", told("installed"))
        expect(shown).not_to_contain_text("offered")


def clock(unix_s: float) -> str:
    """A moment of the last day as the page says it."""
    moment = datetime.fromtimestamp(unix_s)
    return moment.strftime("%H:%M" if moment.date() == datetime.now().date() else "yesterday %H:%M")


def place_of(page: Page, selector: str) -> tuple[float, float]:
    """Where something stands on the plane, in hundredths: its middle, as right and up of the plane's.

    The plane's ends are half a rem inside its edges, so that a dot there is whole.
    """
    plane, thing, rem = page.evaluate(
        """selector => {
            const box = each => document.querySelector(each).getBoundingClientRect();
            const { fontSize } = getComputedStyle(document.documentElement);
            return [box(".affect-plane"), box(selector), parseFloat(fontSize)];
        }""",
        selector,
    )
    right = thing["x"] + thing["width"] / 2 - plane["x"] - plane["width"] / 2
    down = thing["y"] + thing["height"] / 2 - plane["y"] - plane["height"] / 2
    place = round(2 * right / (plane["width"] - rem), 2), round(-2 * down / (plane["height"] - rem), 2)
    return place[0] + 0.0, place[1] + 0.0
