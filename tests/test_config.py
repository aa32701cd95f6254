"""config.yaml: strict, and every mistake is one line that says where."""

import ast
import contextlib
import re
from collections.abc import Iterator
from itertools import chain
from typing import Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.config import ConvertConfig
from edge.config import EdgeConfig, Tls, load_edge
from edge.delivery.access import access
from edge.errors import ConfigError
from edge.features.mfcc import MfccSpec
from edge.section import load_section
from tests.support.sounds import ROOT
from train.config import TrainConfig
from train.sizes import Networks

SECTIONS = {"features": MfccSpec, "train": TrainConfig, "convert": ConvertConfig, "edge": EdgeConfig}


def test_the_shipped_file_holds_the_defaults():
    assert load_edge(ROOT / "config.yaml") == EdgeConfig()
    assert load_edge(None) == EdgeConfig()


def test_whoever_writes_labels_only_trains_as_the_shipped_file_does():
    """A file of one's own has the built-in defaults for what it does not say: the same networks, recipes, protocols."""
    shipped = msgspec.to_builtins(load_section(ROOT / "config.yaml", "train", TrainConfig))
    built_in = msgspec.to_builtins(TrainConfig())
    other = [f"train.{name}" for name in shipped if shipped[name] != built_in[name]]
    assert not other, f"{other}: give it the same value in config.yaml as in train/config.py, sizes.py or recipes.py"
    assert load_section(ROOT / "config.yaml", "features", MfccSpec) == MfccSpec()


def unexplained(kind: type[msgspec.Struct], written: list[dict], where: str, text: str) -> Iterator[str]:
    """Yield every setting of a section that none of the values written for it has.

    Where a record is null, its settings stand in the comment beside it.
    """
    for name, hint in get_type_hints(kind).items():
        values = [value[name] for value in written if name in value]
        if not values:
            yield f"{where}.{name}"
        for inner in records(hint):
            if values == [None]:
                beside = re.search(rf"^ *{name}: null(.*)", text, re.MULTILINE)[1]
                yield from (f"{where}.{name}.{key}" for key in inner.__struct_fields__ if f"{key}: " not in beside)
            elif values:
                if get_origin(hint) is dict:
                    values = [entry for value in values for entry in value.values()]
                elif get_origin(hint) is list:
                    values = [entry for value in values for entry in value]
                yield from unexplained(inner, values, f"{where}.{name}", text)


def records(hint: object) -> list[type[msgspec.Struct]]:
    """Return the records anywhere in a type."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [hint]
    return [record for part in get_args(hint) for record in records(part)]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_shipped_file_explains_every_setting(section):
    """Also of a network, a smoothing rule: whoever adds one sees here that it is not written down."""
    text = (ROOT / "config.yaml").read_text()
    load_section(ROOT / "config.yaml", section, SECTIONS[section])
    assert list(unexplained(SECTIONS[section], [yaml.safe_load(text)[section]], section, text)) == [], (
        "explain these in config.yaml: each with its default, and beside it in a comment what it does"
    )


def read(code: str) -> set[str]:
    """Return the names of all that is read of an object in a program's text, but for what a record checks of itself."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)]
    return {node.attr for node in nodes if isinstance(node.ctx, ast.Load) and ast.unparse(node.value) != "self"}


def unread(kind: type[msgspec.Struct], where: str, names: set[str]) -> Iterator[str]:
    """Yield every setting of a section that is none of these names."""
    for name, hint in get_type_hints(kind).items():
        if name not in names and kind is not Networks:  # which are chosen by name: tests/train/networks
            yield f"{where}.{name}"
        for inner in records(hint):
            yield from unread(inner, f"{where}.{name}", names)


def test_every_setting_is_read():
    """One that is taken, explained and shown, and does nothing, is worse than none."""
    files = [path for room in ("edge", "train", "convert") for path in (ROOT / room).rglob("*.py")]
    names = set().union(*(read(path.read_text()) for path in files))
    settings = [name for section, kind in SECTIONS.items() for name in unread(kind, section, names)]
    assert not settings, f"nothing reads {', '.join(settings)}: use them where they are to do something"


def test_a_setting_that_nothing_reads_is_noticed():
    class Rules(msgspec.Struct, frozen=True):
        enter: float = 0.5
        margin: float = 0.1

    class Sensor(msgspec.Struct):
        rules: Rules = Rules()

    checked = "class Rules:\n  def __post_init__(self):\n    self.margin > 0"
    assert list(unread(Sensor, "edge", read(f"{checked}\nsensor.rules.enter"))) == ["edge.rules.margin"]


def test_a_setting_that_stands_nowhere_is_noticed():
    """Within a record, within each entry of a mapping, and within a record that is null."""
    found = yaml.safe_load((ROOT / "config.yaml").read_text())
    del found["edge"]["decision"]["exit"]
    for gates in found["convert"]["gates"].values():
        gates.pop("recall_loss")
    del found["train"]["networks"]["causal_cnn"]
    text = "tls: null  # {ca_file: x, cert_file: y}\nquiet_hours: null  # {start: a, end: b, time_zone: c}"
    lacking = [unexplained(kind, [found[section]], section, text) for section, kind in SECTIONS.items()]
    assert set(chain.from_iterable(lacking)) >= {
        "train.networks.causal_cnn", "convert.gates.recall_loss", "edge.decision.exit", "edge.mqtt.tls.key_file"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("edge: {mqtt: {port: abc}}", "edge.mqtt.port: expected int, got 'abc'"),
        ("edge: {mqtt: {prot: 1}}", "edge.mqtt.prot: unknown key (did you mean port?)"),
        ("edgy: {}", "edgy: unknown key (the file has features, train, convert, edge)"),
        ("edge: 3", "edge: expected keys with values ({key: value}), got 3"),
        ("edge: [1]", "edge: expected keys with values ({key: value}), got [1]"),
        ("edge: {gate: {margin_db: -1}}", "edge.gate.margin_db: expected float > 0.0, got -1"),
        (
            "edge: {device: {id: Living Room}}",
            "edge.device.id: expected a-z, 0-9 and - only (at most 64 of them), got 'Living Room'",
        ),
        ("edge: {decision: {enter: 1.5}}", "edge.decision.enter: expected float <= 1.0, got 1.5"),
        ("edge: {log_level: loud}", "edge.log_level: expected one of debug, info, warning, error, got 'loud'"),
        ("edge: {mqtt: {}, mqtt: {}}", ":1: not valid YAML: mqtt: stands twice: keep one of them"),
        ("edge: {decision: {enter: 0.2, exit: 0.6}}", "edge.decision: expected exit at most as high as enter"),
        ("- a", "expected keys features, train, convert, edge, got list"),
        ("edge: {", ":1: not valid YAML"),
        ("edge: {quiet_hours: {start: 22:00, end: 07:00}}", 'edge.quiet_hours.start: write it in quotes: "22:00"'),
        ("edge: {quiet_hours: {start: '21:00', end: 6:30}}", 'edge.quiet_hours.end: write it in quotes: "6:30"'),
        ("edge: {quiet_hours: {start: '7:00', end: '09:30'}}", 'expected hours and minutes such as "07:00", got'),
        ("edge: {quiet_hours: {start: '24:00', end: '09:30'}}", 'expected hours and minutes such as "07:00", got'),
        ("edge: {mqtt: {port: 18:83}}", "edge.mqtt.port: expected int, got '18:83'"),
        ("edge: {mqtt: {keepalive_s: 1:30.5}}", "edge.mqtt.keepalive_s: expected int, got 1:30.5"),
        ("edge: {device: {name: 2026}}", 'edge.device.name: write it in quotes: "2026"'),
        ("edge: {device: {name: 2026-11-22}}", 'edge.device.name: write it in quotes: "2026-11-22"'),
        ("edge: {device: {name: off}}", "edge.device.name: write it in quotes (YAML reads it as false)"),
        ('edge: {device: {name: "\\ud83d"}}', ":1: not valid YAML: '\\ud83d': half a character (a lone surrogate)"),
        ('edge: {device: {"\\udc00": 1}}', ":1: not valid YAML: '\\udc00': half a character (a lone surrogate)"),
        ('edge: {device: {name: "a\\nb"}}', "edge.device.name: expected one line of text, got 'a\\nb'"),
        ('edge: {audio: {command: [a, "b\\0"]}}', "edge.audio.command[1]: expected one line of text, got 'b\\x00'"),
        ('edge: {mqtt: {username: "a\\0"}}', "edge.mqtt.username: expected one line of text, got 'a\\x00'"),
        ("edge: {homeassistant: {prefix: /ha}}", "edge.homeassistant.prefix: expected a topic such as homeassistant"),
        ("edge: {state_folder: '~no-such-user/x'}", "edge.state_folder: there is no home folder ~no-such-user, got"),
        ("edge: {state_folder: ''}", "edge.state_folder: expected the path of a file or folder, got ''"),
        ("edge: {model_store: {trusted_keys: [~/a.pub, 3]}}", 'edge.model_store.trusted_keys[1]: write it in quotes'),
        ("edge: {outbox: {rows: 1" + "0" * 30 + "}}", "edge.outbox.rows: expected "),
        ("edge: {outbox: {bytes: 100000000000000}}", "edge.outbox.bytes: expected int <= 1000000000000, got"),
        ("edge: {audio: {give_up_after_s: .inf}}", "edge.audio.give_up_after_s: expected float <= 31536000.0, got inf"),
        ("edge: {audio: {give_up_after_s: -.inf}}", "edge.audio.give_up_after_s: expected float > 0.0, got -inf"),
        ("edge: {audio: {give_up_after_s: .nan}}", "edge.audio.give_up_after_s: expected float > 0.0, got nan"),
        ("edge: {audio: {give_up_after_s: 1.0e+300}}", "edge.audio.give_up_after_s: expected float <= 31536000.0, got"),
        ("edge: {decision: {enter: .nan}}", "edge.decision.enter: expected float >= 0.0, got nan"),
        ("edge: {quiet_hours: {start: '22:00', end: '22:00'}}", "edge.quiet_hours: start and end are both 22:00"),
        ("edge: {mqtt: {tls: {key_file: k.pem}}}", "edge.mqtt.tls: expected cert_file beside key_file"),
        ("edge: {device: {id: history}}", "edge.device: expected another id: on roomtone/history/ a recorder answers"),
        ("edge: {device: {id: models}}", "edge.device: expected another id: on roomtone/models/ models are published"),
        ("edge: {model_store: {updates: auto}}", "edge.model_store: expected trusted_keys beside updates: auto"),
        ("edge: {model: a, model_store: {updates: ask, trusted_keys: [k]}}", "edge: expected model: null beside"),
        ("edge: {model_store: {ring: The Ring}}", "edge.model_store.ring: expected a-z, 0-9 and - only"),
        ("edge: {history: {store: 'mysql://x'}}", "edge.history.store: expected a file, or a postgresql:// address"),
        ("edge: {history: {store: ''}}", "edge.history.store: expected a file, or a postgresql:// address, got ''"),
        ("edge: {history: {events_days: 1}}", "edge.history.events_days: expected int >= 2, got 1"),
    ],
)
def test_mistakes_are_one_line_with_a_path(tmp_path, text, says):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_edge(file)
    assert str(raised.value).startswith(f"{file}")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


MALFORMED = {
    "edge: {device: {name: !!timestamp abc}}": "1: 'abc' is no timestamp: correct it",
    "edge:\n  device: {name: 2026-13-45}": "2: '2026-13-45' is no timestamp: correct it",
    "edge:\n  device:\n    name: !!bool maybe": "3: 'maybe' is no bool: correct it",
    'edge: {mqtt: {port: !!int ""}}': "1: '' is no int: correct it",
    "edge: {mqtt: {port: !!int 0x}}": "1: '0x' is no int: correct it",
    "edge: {mqtt: {port: !!float ''}}": "1: '' is no float: correct it",
    "edge:\n  device: !!binary a": "2: failed to decode base64 data",
    "edge:\n  device: !!map [1, 2]": "2: expected a mapping node, but found sequence: leave the tag (!!...) out",
    "edge:\n  device: !!set x": "2: expected a mapping node, but found scalar: leave the tag (!!...) out",
    "edge:\n  device: !!omap {a: b}": "2: expected a sequence, but found mapping: leave the tag (!!...) out",
    "edge:\n  device: !!python/name:os.system x": "2: could not determine a constructor for the tag",
    "edge:\n  <<: 3": "2: expected a mapping or list of mappings for merging, but found scalar: <<",
    "edge:\n  ? [1, 2]\n  : 3": "2: found unhashable key: a key is a word",
    "edge:\n\tdevice: 1": "2: found character '\\t' that cannot start any token: indent with blanks",
    "edge:\n  device: a: b": "2: mapping values are not allowed here: put a text that holds a colon in quotes",
    'edge:\n  device: {name: "a}': "2: found unexpected end of stream: close the quotes",
    "edge:\n  device: {name: a": "2: expected ',' or '}', but got '<stream end>': close what a [ or { opens",
    "edge: {}\n---\nedge: {}": "2: but found another document: one document is read",
    "edge: *there": "1: found undefined alias 'there': name it before with &",
    "edge:\n  device: {name: a\x00}": "2: '\\x00': special characters are not allowed: remove it",
    "edge:\n  device: {name: a\x07}": "2: '\\x07': special characters are not allowed: remove it",
    "edge:\n  device: " + "[" * 3_000 + "]" * 3_000: "2: more than 60 levels within each other",
    "edge:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 200)): "60: more than 60 levels within each other",
    "edge: &a\n  device: *a": "2: *a stands within what it means",
    "edge: &a\n  <<: *a": "2: *a stands within what it means",
    "edge:\n  outbox: {rows: 1" + "0" * 400 + "}": "2: a number of 401 digits: write a smaller one",
    "edge:\n  outbox: {rows: 0x1" + "0" * 9_000 + "}": "2: a number of 9003 digits: write a smaller one",
    "edge:\n  gate: {margin_db: 1" + "0" * 400 + ".0}": "2: a number of 403 digits: write a smaller one",
}


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:30])
def test_what_is_no_yaml_is_one_line_with_its_number(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_edge(file)
    line, _, problem = MALFORMED[text].partition(": ")
    assert str(raised.value).startswith(f"{file}:{line}: not valid YAML: {problem}")
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("each", ["[{}]", "{{<<: [{}]}}"], ids=["lists", "merged"])
def test_aliases_that_grow_without_bound_cost_nothing(tmp_path, each):
    levels = ["a0: &a0 {k: v}"]
    levels += [f"a{n}: &a{n} {each.format(', '.join([f'*a{n - 1}'] * 10))}" for n in range(1, 10)]
    (tmp_path / "c.yaml").write_text("\n".join(f"{line}" for line in levels))
    with pytest.raises(ConfigError, match=r"c\.yaml:\d: not valid YAML: more than 100000 values"):
        load_edge(tmp_path / "c.yaml")


def test_aliases_and_merged_keys_as_people_write_them(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "edge: {device: &d {id: attic, name: &n Attic}, audio: {microphone: *n}, outbox: {<<: {rows: 3}, bytes: 2000}}"
    )
    config = load_edge(tmp_path / "c.yaml")
    assert (config.audio.microphone, config.outbox.rows, config.outbox.bytes) == ("Attic", 3, 2_000)


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1.0e+16", "1" + "0" * 30])
def test_no_setting_of_any_program_is_a_number_without_sense(tmp_path, value):
    (tmp_path / "c.yaml").write_text(
        f"train: {{recipes: {{study: {{networks: {{ann: {{learning_rate: {value}}}}}}}}}}}\n"
        f"convert: {{timeout_s: {value}}}\n"
    )
    with pytest.raises(ConfigError, match=r"train\.recipes\.study\.networks\.ann\.learning_rate: expected a number"):
        load_section(tmp_path / "c.yaml", "train", TrainConfig)
    with pytest.raises(ConfigError, match=r"convert\.timeout_s: expected"):
        load_section(tmp_path / "c.yaml", "convert", ConvertConfig)


def test_what_is_wrong_within_a_mappings_entry_is_said_in_words(tmp_path):
    (tmp_path / "c.yaml").write_text("train: {recipes: {study: {learning_rate: fast}}}")
    with pytest.raises(ConfigError, match=r"train\.recipes\[\.\.\.\]\.learning_rate: expected float, got str$"):
        load_section(tmp_path / "c.yaml", "train", TrainConfig)


def test_files_that_never_end_or_have_no_name(tmp_path):
    with pytest.raises(ConfigError, match="/dev/zero: larger than 1 MB"):
        load_edge("/dev/zero")
    with pytest.raises(ConfigError, match="'': no file: give the name"):
        load_edge("")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_edge("x" * 300)


def test_files_that_are_not_there_or_not_text(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_edge(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_edge(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"edge: {device: {name: K\xfcche}}")
    with pytest.raises(ConfigError, match=r"latin\.yaml:1: not UTF-8 text: save it as UTF-8"):
        load_edge(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("mqtt://h", "expected a host name alone, without mqtt://"),
        ("wss://h:9001/mqtt", "expected a host name alone, without wss://"),
        ("h:1883", "expected a host name alone: the port goes into edge.mqtt.port (1883)"),
        ("h:", "expected a host name alone: the port goes into edge.mqtt.port"),
        ("[::1]", "expected an IPv6 address without brackets"),
        ("[::1]:1883", "expected an IPv6 address without brackets"),
        (" h ", "expected a host name without blanks around it"),
        ("h\t", "expected a host name without blanks around it"),
        ("h\n", "expected a host name without blanks around it"),
        ("a b", "expected a host name or an IP address"),
        ("", "expected a host name or an IP address"),
        ("h/mqtt", "expected a host name or an IP address"),
        ("user@h", "expected a host name or an IP address"),
        ("a..b", "expected a host name or an IP address"),
        ("a" * 64 + ".local", "expected a host name or an IP address"),
        ("Embedded", "a broker of our own is called embedded, in small letters"),
        ("EMBEDDED", "a broker of our own is called embedded, in small letters"),
        ("192.168.1.300", "expected a host name or an IP address"),
        ("1:2:3", "expected a host name or an IP address"),
    ],
)
def test_a_host_stands_alone(tmp_path, host, says):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"edge": {"mqtt": {"host": host}}}))
    with pytest.raises(ConfigError) as raised:
        load_edge(file)
    assert f"{file}: edge.mqtt.host: {says}" in str(raised.value)


@pytest.mark.parametrize(
    "host",
    ["h", "embedded", "embedded-2", "Broker", "broker.local.", "küche.local", "my_broker", "10.0.0.2", "::1",
     "fe80::1%eth0"],
)  # fmt: skip
def test_a_host_as_people_write_it_is_taken_as_it_is(tmp_path, host):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"edge": {"mqtt": {"host": host}}}, allow_unicode=True), encoding="utf-8")
    assert load_edge(file).mqtt.host == host


@pytest.mark.parametrize(
    ("host", "says"),
    [
        (["a", "b", "c"], "edge.mqtt.host: expected a list ([one, other]) of length <= 2"),
        ([], "edge.mqtt.host: expected a list ([one, other]) of length >= 1"),
        (["a", "a"], "edge.mqtt: expected two different brokers in host, none of them embedded"),
        (["embedded", "a"], "edge.mqtt: expected two different brokers in host, none of them embedded"),
        (["a", "b:1883"], "edge.mqtt.host[1]: expected a host name alone: the port goes into edge.mqtt.port (1883)"),
        (["a", 5], 'edge.mqtt.host[1]: write it in quotes: "5"'),
    ],
)
def test_of_two_hosts_each_stands_alone(tmp_path, host, says):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"edge": {"mqtt": {"host": host}}}))
    with pytest.raises(ConfigError) as raised:
        load_edge(file)
    assert f"{file}: {says}" in str(raised.value)


def test_two_hosts_are_two_brokers_with_all_else_alike(tmp_path):
    file = tmp_path / "config.yaml"
    (tmp_path / "password").write_text("word\n")
    file.write_text("edge: {mqtt: {host: [a.lan, b.lan], port: 1884, username: u, password_file: password}}")
    first = access(load_edge(file).mqtt)
    assert (first.address, first.standby.address, first.standby.standby) == ("a.lan:1884", "b.lan:1884", None)
    assert (first.standby.username, first.standby.password) == (first.username, first.password) == ("u", "word")
    file.write_text("edge: {mqtt: {host: [a.lan]}}")
    alone = access(load_edge(file).mqtt)
    assert (alone.address, alone.standby) == ("a.lan:1883", None)


@pytest.mark.parametrize("prefix", ["/ha", "ha/", "a//b", "/", "a+b", "#", "", "a" * 65, "ha\n", "a b", "ä"])
def test_a_prefix_is_a_topic(tmp_path, prefix):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"edge": {"homeassistant": {"prefix": prefix}}}))
    with pytest.raises(ConfigError, match=r"edge\.homeassistant\.prefix: expected a topic such as homeassistant"):
        load_edge(file)
    file.write_text(yaml.safe_dump({"edge": {"homeassistant": {"prefix": "home/assistant_2"}}}))
    assert load_edge(file).homeassistant.prefix == "home/assistant_2"


def kinds(kind, where="edge"):
    """Yield every text of a section's type, with its path, and what limits it."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        for part in [hint, *get_args(hint)] if not hasattr(hint, "__metadata__") else [hint]:
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                yield from kinds(part, f"{where}.{name}")
            if part is str or get_args(part)[:1] == (str,):
                yield f"{where}.{name}", getattr(part, "__metadata__", ())


def texts(hint, where):
    """Yield every text anywhere in a type, in lists and mappings too, with its path and what limits it."""
    if hint is str:
        yield where, ()
    elif get_args(hint)[:1] == (str,) and hasattr(hint, "__metadata__"):
        yield where, hint.__metadata__
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        for name, inner in get_type_hints(hint, include_extras=True).items():
            yield from texts(inner, f"{where}.{name}")
    elif get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from texts(part, where)


def test_every_text_says_what_it_is_in_words_and_lets_no_newline_pass(tmp_path):
    found = list(kinds(EdgeConfig))
    assert {"edge.device.id", "edge.quiet_hours.start", "edge.mqtt.tls.ca_file"} <= dict(found).keys()
    for where, metas in found:
        assert metas, where
        assert all(meta.description or meta.extra for meta in metas), where
        for newline in ("a\n", "22:00\n", "h\n"):
            value = newline
            for key in reversed(where.split(".")):
                value = {key: [value] if key == "trusted_keys" else value}
            (tmp_path / "c.yaml").write_text(yaml.safe_dump(value))
            with pytest.raises(ConfigError, match=r"expected|missing"):
                load_edge(tmp_path / "c.yaml")


def test_a_character_of_two_escapes_is_one_as_in_json(tmp_path):
    (tmp_path / "c.yaml").write_text('edge: {device: {name: "Room \\ud83d\\ude00"}}')
    assert load_edge(tmp_path / "c.yaml").device.name == "Room 😀"


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    text = """
edge:
  state_folder: ~/state
  model: ~/m.tflite
  model_store: {trusted_keys: [~/a.pub, b.pub]}
  mqtt: {password_file: ~/p, tls: {ca_file: ~/ca.pem, cert_file: ~root/c.pem, key_file: k~.pem}}
train: {cache: ~/cache, augmentation: {noise: ~/ESC-10}}
convert: {out: ~/artifacts, second_runtime: ~/venv/bin/python, set: [{runs: [~/runs/*, "r/[ab]*"]}]}
"""
    (tmp_path / "c.yaml").write_text(text)
    edge = load_edge(tmp_path / "c.yaml")
    assert (edge.state_folder, edge.model) == ("/home/ada/state", "/home/ada/m.tflite")
    assert edge.model_store.trusted_keys == ("/home/ada/a.pub", f"{tmp_path}/b.pub")
    assert edge.mqtt.password_file == "/home/ada/p"
    assert edge.mqtt.tls == Tls(ca_file="/home/ada/ca.pem", cert_file="/root/c.pem", key_file=f"{tmp_path}/k~.pem")
    train = load_section(tmp_path / "c.yaml", "train", TrainConfig)
    assert (train.cache, train.augmentation.noise) == ("/home/ada/cache", "/home/ada/ESC-10")
    convert = load_section(tmp_path / "c.yaml", "convert", ConvertConfig)
    assert (convert.out, convert.second_runtime) == ("/home/ada/artifacts", "/home/ada/venv/bin/python")
    assert convert.set[0].runs == ["/home/ada/runs/*", "r/[ab]*"]


def test_a_path_is_meant_from_the_folder_of_the_file_that_names_it(tmp_path, monkeypatch):
    text = """
edge:
  state_folder: state
  model: models/m.tflite
  model_store: {trusted_keys: [a.pub, ../b.pub, /etc/c.pub]}
  audio: {command: [cat, "{password}"], password_file: camera}
  mqtt: {password_file: broker, tls: {ca_file: tls/ca.pem, cert_file: c.pem, key_file: k.pem}}
"""
    home = tmp_path / "home"
    home.mkdir()
    (home / "c.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    for path in ("home/c.yaml", home / "c.yaml"):
        edge = load_edge(path)
        assert (edge.state_folder, edge.model) == (f"{home}/state", f"{home}/models/m.tflite")
        assert edge.model_store.trusted_keys == (f"{home}/a.pub", f"{home}/../b.pub", "/etc/c.pub")
        assert (edge.audio.password_file, edge.mqtt.password_file) == (f"{home}/camera", f"{home}/broker")
        assert edge.mqtt.tls == Tls(
            ca_file=f"{home}/tls/ca.pem", cert_file=f"{home}/c.pem", key_file=f"{home}/k.pem"
        )
    (tmp_path / "mqtt_broker").touch()  # as systemd hands it over, under the name that the unit gives it
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    edge = load_edge("home/c.yaml")
    assert (edge.audio.password_file, edge.mqtt.password_file) == (f"{home}/camera", "broker")


def test_every_text_that_is_a_path_is_read_as_one():
    """Texts of the configuration that nothing looks at: none of them is the name of a file or folder."""
    plain = set()
    for section, kind in (("edge", EdgeConfig), ("train", TrainConfig), ("convert", ConvertConfig)):
        plain |= {where for where, metas in texts(kind, section) if not metas}
    assert plain == {
        "train.labels", "train.words", "train.recipes.networks", "train.protocols.default_test",
        "train.protocols.default_validation", "train.protocols.speech_test", "train.protocols.speech_test_rooms",
        "train.protocols.yardsticks",
        "train.compare.networks", "train.compare.seeds", "train.compare.fold_seeds", "train.recipes",
        "convert.moods", "convert.gates", "convert.gates.probs_difference", "convert.gates.size_bytes",
    }  # fmt: skip


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["edge", "mqtt", "gate", "device", "port", "id", "tls", "ca_file", "enter"])
            | st.text(max_size=6),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(ANYTHING)
def test_any_yaml_is_a_config_or_a_config_error(tmp_path_factory, made):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump(made, allow_unicode=True), encoding="utf-8")
    with contextlib.suppress(ConfigError):
        assert isinstance(load_edge(file), EdgeConfig)


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        ({"command": []}, "expected a program in command"),
        ({"command": [" "]}, "expected a program in command"),
        ({"command": ["arecord"], "microphone": "USB"}, "expected either microphone or command"),
        ({"command": ["nc", "{password}"]}, "expected password_file"),
        ({"command": ["nc"], "password_file": "secret"}, "expected {password} in command or command_input"),
        ({"password_file": "secret"}, "expected command beside command_input and password_file"),
        ({"command_input": "x"}, "expected command beside command_input and password_file"),
        ({"command": "arecord -t raw"}, "edge.audio.command: expected a list ([one, other]), got 'arecord -t raw'"),
        ({"command": ["nc", 7000]}, 'edge.audio.command[1]: write it in quotes: "7000"'),
        ({"command": ["nc"], "pcm": {"format": "mp3"}}, "edge.audio.pcm.format: expected one of s16le, s16be"),
        ({"command": ["nc"], "pcm": {"rate_hz": 16}}, "edge.audio.pcm.rate_hz: expected"),
    ],
)
def test_a_command_as_a_microphone_makes_sense_or_is_refused(tmp_path, audio, says):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"edge": {"audio": audio}}))
    with pytest.raises(ConfigError) as refused:
        load_edge(tmp_path / "c.yaml")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("store", "meant"),
    [("h.sqlite", "{folder}/h.sqlite"), ("/var/h.sqlite", "/var/h.sqlite"), ("postgresql://a@b/c", "postgresql://a@b/c")],
)
def test_a_history_s_file_lies_beside_the_configuration_and_a_database_where_it_is(tmp_path, store, meant):
    (tmp_path / "config.yaml").write_text(f"edge: {{history: {{store: '{store}'}}}}")
    assert load_edge(tmp_path / "config.yaml").history.store == meant.format(folder=tmp_path)
