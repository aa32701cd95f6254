"""The contract on the wire: schemas that are the code's own, payloads of old that schema 1 accepts for ever."""

import ast
import json
import re
from pathlib import Path
from typing import get_args

import jsonschema
import msgspec
import pytest

from edge.config import EdgeConfig
from edge.sound.faults import REASONS
from edge.voice.contract import COMMANDS, FOLDER, PAYLOADS, documents
from edge.voice.homeassistant import discovery
from edge.voice.microphone import MICROPHONE, NO_PROBLEM, ON_PURPOSE
from edge.voice.payloads import SETTABLE, Event, Health, Settable, Settings, State
from tests.support.schemas import as_json, validate
from tests.support.sounds import ROOT

CONTRACT = ROOT / "deploy" / "contract.md"
ALL = PAYLOADS | COMMANDS
FILLED_IN = ("daemon", "hearing")
MAPPINGS = {"affect", "fields_of", "_heard"}
SET_ELSEWHERE = {Event: {"late"}}  # by the outbox, when an event has waited
RECORDED = sorted((ROOT / "tests" / "data" / "payloads").glob("*.jsonl"))


def test_the_schemas_are_current_and_sound():
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert documents() == committed, "run python -m edge.voice.contract"
    for text in documents().values():
        jsonschema.validators.Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_payloads_of_old_are_accepted_for_ever(path):
    name = path.stem.rpartition("-")[2]
    lines = path.read_text().splitlines()
    assert lines
    for line in lines:
        validate(name, json.loads(line))
        msgspec.json.decode(line, type=ALL[name])


def test_there_are_payloads_of_old_for_every_topic():
    assert {path.stem.rpartition("-")[2] for path in RECORDED} == {*PAYLOADS, "teach", "forget"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("state", {"confidence": 1.5}),
        ("state", {"ts": "yesterday"}),
        ("state", {"emotion": None}),
        ("state", {"arousal": -1.01}),
        ("state", {"valence": "pleasant"}),
        ("state", {"mood": 7}),
        ("state", {"mood_confidence": 1.5}),
        ("event", {"late": "yes"}),
        ("event", {"mood": ""}),
        ("event", {"seq": -1}),
        ("event", {"arousal": 2}),
        ("event", {"snr_db": "loud"}),
        ("event", {"speech_ratio": 1.1}),
        ("event", {"bandwidth_hz": -1}),
        ("timeline", {"runs": [["2026-01-31T12:00:00Z", "happy"]]}),
        ("health", {"outbox_depth": "none"}),
        ("health", {"room_utterances": -1}),
        ("health", {"loudest_minute_db": -1}),
        ("lessons", {"count": -1}),
        ("lessons", {"recent": [{"event_id": "", "label": "sad", "ts": "2026-01-31T12:00:00Z"}]}),
        ("lessons", {"answer": {"command": "learn"}}),
        ("teach", {"label": ""}),
        ("teach", {"event_id": "x" * 65}),
        ("forget", {"event_id": None}),
        ("model", {"result": "perhaps"}),
        ("model", {"installed": {"model": "m", "created": "", "sha256": "x"}}),
        ("model", {"reason": "x" * 201}),
    ],
)
def test_the_schemas_refuse_what_is_wrong(name, change):
    good = json.loads(next(path for path in RECORDED if path.stem.endswith(name)).read_text().splitlines()[0])
    with pytest.raises(jsonschema.ValidationError):
        validate(name, {**good, **change})


def test_a_field_of_the_future_is_no_offence():
    for path in RECORDED:
        name = path.stem.rpartition("-")[2]
        value = json.loads(path.read_text().splitlines()[0])
        if isinstance(value, dict):
            validate(name, {**value, "something_new": 1})


def filled(kind: str) -> set[str]:
    """Return the fields that the sensor gives where it makes a payload of this kind: `field=...`, or in a mapping that
    a function makes of them (`**affect(...)`)."""
    trees = [ast.parse(path.read_text()) for room in FILLED_IN for path in (ROOT / "edge" / room).glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    mapped = {node.name: {key.value for part in ast.walk(node) if isinstance(part, ast.Dict) for key in part.keys}
              for node in nodes if isinstance(node, ast.FunctionDef) and node.name in MAPPINGS}  # fmt: skip
    fields = set()
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == kind:
            for given in node.keywords:
                fields |= {given.arg} if given.arg else mapped[given.value.func.id]
    return fields


@pytest.mark.parametrize("kind", [State, Event, Health])
def test_every_field_is_filled(kind):
    left = set(kind.__struct_fields__) - filled(kind.__name__)
    assert left == SET_ELSEWHERE.get(kind, set()) | {"schema"}, "fill it where edge/daemon makes this payload"


def test_the_page_shows_an_example_of_each_that_holds():
    examples = re.findall(r"^### `(\w+)`.*?^```\w*\n(.*?)^```", CONTRACT.read_text(), re.MULTILINE | re.DOTALL)
    assert {name for name, _ in examples} == {*PAYLOADS, "teach", "forget"}
    for name, text in examples:
        validate(name, as_json(name, text.strip()))


def test_the_page_names_every_field_where_it_has_the_message():
    sections = re.split(r"^#{2,3} ", CONTRACT.read_text(), flags=re.MULTILINE)
    for path in FOLDER.glob("*.json"):
        # A message without a section of its own stands in that of its first word: `settings/set`, `history/get`.
        names = (path.stem.replace("-", "/", 1), path.stem.partition("-")[0])
        of = next(found for name in names if (found := [
            part for part in sections if re.search(rf"`{name}`|A {name}$", part.partition("\n")[0])
        ]))  # fmt: skip
        for definition in json.loads(path.read_text()).get("$defs", {}).values():
            for field in definition.get("properties", {}):
                assert any(f"`{field}`" in part or f'"{field}"' in part for part in of), (
                    f"{path.name}: {field}: name it in deploy/contract.md, in its own example or table"
                )


def test_the_page_says_all_that_a_microphone_can_be_and_which_of_it_is_a_fault():
    _, _, table = CONTRACT.read_text().partition("\n| `microphone` | says |\n|---|---|\n")
    rows = re.findall(r"^\| (.*?) \| (.*?) \|$", table.partition("\n\n")[0], re.MULTILINE)
    said = {code: means for codes, means in rows for code in re.findall(r"`([\w-]+)`", codes)}  # fmt: skip
    assert set(MICROPHONE) == {"ok", *REASONS}, "FAULTS of edge/voice/microphone.py, REASONS of edge/sound/faults.py"
    assert said.keys() == set(MICROPHONE), "the table of `microphone` in deploy/contract.md"
    assert {code for code, means in said.items() if "on purpose" in means} == set(ON_PURPOSE)
    assert {code for code, means in said.items() if not means.startswith("a fault")} == set(NO_PROBLEM)


def test_a_microphone_s_words_are_in_the_schema_and_a_new_one_is_no_offence():
    """Whoever checks by this schema is to understand a later sensor."""
    for name, kind, field in (("state", "State", "microphone"), ("health", "Microphone", "state")):
        said = json.loads((FOLDER / f"{name}.json").read_text())["$defs"][kind]["properties"][field]
        assert said["examples"] == list(MICROPHONE)
        jsonschema.validate("underwater", said)


def test_every_topic_of_the_page_has_a_schema_and_the_other_way_round():
    page = CONTRACT.read_text()
    of_sensors = set(re.findall(r"^\| `([\w/]+)` \| (?:yes|no) \| [01] \|", page, re.MULTILINE))
    assert of_sensors == ALL.keys()
    recorders = {f"history/{name}" for name in re.findall(r"`roomtone/history/(\w+)", page)}
    assert recorders == {topic.removeprefix("roomtone/") for topic in map(titled, FOLDER.glob("history-*.json"))}


def titled(path: Path) -> str:
    """Return the topic that a schema is of."""
    return json.loads(path.read_text())["title"]


def test_a_setting_over_mqtt_stands_in_every_place_that_needs_it():
    """`Wanted` of edge/voice/payloads.py says which there are; deploy/adding.md has the row."""
    page = (ROOT / "edge" / "dashboard" / "payloads.js").read_text()
    read = re.findall(r'"(\w+)"', re.search(r"const SETTINGS = \[(.*?)\]", page, re.DOTALL)[1])
    drawer = (ROOT / "edge" / "dashboard" / "settings.js").read_text()
    shown = re.findall(r'(?:new \w+|super)\("(\w+)"', drawer)  # its controls, by the setting that each is of
    entities = discovery(EdgeConfig().device, ["happy"], "m")["components"]
    told = set(re.findall(r"^\| `(\w+)`", CONTRACT.read_text(), re.MULTILINE))
    present = {
        "`Settable` of edge/voice/payloads.py": get_args(Settable),
        "`Settings` of edge/voice/payloads.py": Settings.__struct_fields__,
        "edge/config.py (a default, and in config.yaml)": EdgeConfig.__struct_fields__,
        "SETTINGS of edge/dashboard/payloads.js": read,
        "a control in edge/dashboard/settings.js": shown,
        "an entity in edge/voice/homeassistant.py": entities,
        "a row in deploy/contract.md": told,
    }
    lacking = [f"{name}: {place}" for name in SETTABLE for place, names in present.items() if name not in names]
    assert not lacking, "settings of `Wanted` that are not in " + "; ".join(lacking)
    assert set(read) == set(SETTABLE), "SETTINGS of edge/dashboard/payloads.js has what `Wanted` has not"
    assert set(get_args(Settable)) == {*SETTABLE, "calibration"}, "`Settable` has what `Wanted` has not"
