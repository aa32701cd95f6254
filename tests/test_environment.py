"""Settings in the environment: one rule for every key, and every mistake is one line that says which variable."""

import contextlib
import os

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import EdgeConfig, load_edge
from edge.environment import PREFIX, names
from edge.errors import ConfigError
from tests.support.sounds import ROOT


def written(path: str) -> str:
    return PREFIX + path.upper().replace(".", "__")


@contextlib.contextmanager
def environment(**variables: str):
    """Settings of the environment: names without their ROOMTONE_."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(PREFIX + name, value)
        yield


def test_every_setting_of_the_file_can_be_given_and_is_the_same(tmp_path):
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text())["edge"]
    known = set(names(EdgeConfig))

    def leaves(value, path):
        inner = value.items() if isinstance(value, dict) and value and path not in known else ()
        if not inner:
            yield path, value
        for key, part in inner:
            yield from leaves(part, f"{path}.{key}".lstrip("."))

    given_ = dict(leaves(shipped, ""))
    assert {"mqtt.host", "audio.microphone", "sensitivity"} <= given_.keys()
    for path, value in given_.items():
        text = "" if value is None else value if isinstance(value, str) else yaml.safe_dump(value).removesuffix("...\n")
        with environment(**{written(path).removeprefix(PREFIX): text}):
            assert load_edge(None) == EdgeConfig(), path


def test_where_a_text_or_a_list_is_expected_brackets_make_a_list():
    with environment(MQTT__HOST="[a.lan, b.lan]"):
        assert load_edge(None).mqtt.host == ("a.lan", "b.lan")
    with environment(DEVICE__NAME="[a, b]"):
        assert load_edge(None).device.name == "[a, b]"


def test_it_stands_over_the_file_and_leaves_the_rest(tmp_path):
    (tmp_path / "c.yaml").write_text("edge: {mqtt: {host: a.lan, port: 1884}, device: {id: kitchen}, sensitivity: 20}")
    with (
        environment(MQTT__HOST="b.lan", AUDIO__COMMAND="[arecord, -t, raw]", SENSITIVITY="70", DEVICE__NAME="22:00"),
        environment(QUIET_HOURS="{start: '22:00', end: '07:00'}", QUIET_HOURS__END="06:30", MODEL="m.tflite"),
    ):
        config = load_edge(tmp_path / "c.yaml")
    assert (config.mqtt.host, config.mqtt.port, config.sensitivity) == ("b.lan", 1884, 70)
    assert (config.device.id, config.device.name) == ("kitchen", "22:00")
    assert config.audio.command == ("arecord", "-t", "raw")
    assert (config.quiet_hours.start, config.quiet_hours.end) == ("22:00", "06:30")
    assert config.model == f"{tmp_path}/m.tflite"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MQTT__PORT", "abc", "edge.mqtt.port: expected int, got 'abc'"),
        ("MQTT__HOTS", "h", "no such setting in the environment: did you mean ROOMTONE_MQTT__HOST?"),
        ("SENSITIVTY", "3", "no such setting in the environment: did you mean ROOMTONE_SENSITIVITY?"),
        ("DEVICE__ID__X", "3", "no such setting in the environment: did you mean ROOMTONE_DEVICE__ID?"),
        ("XYZ", "1", "no such setting in the environment: they begin with ROOMTONE_AUDIO, "),
        ("", "1", "no such setting in the environment: they begin with ROOMTONE_AUDIO, "),
        ("__MQTT", "1", "no such setting in the environment: "),
        ("OUTBOX", "[", ":1: not valid YAML: expected the node content, but found '<stream end>': close what"),
        ("OUTBOX__ROWS", "", "edge.outbox.rows: expected int, got None"),
        ("GATE", "5", "edge.gate: expected keys with values ({key: value}), got 5"),
        ("MQTT__TLS__KEY_FILE", "k.pem", "edge.mqtt.tls: expected cert_file beside key_file"),
        ("QUIET_HOURS", "{start: '22:00', end: '07:00', time_zone: Mars}", "edge.quiet_hours.time_zone: unknown time"),
        ("QUIET_HOURS__START", "22:00", "edge.quiet_hours: object missing required field end"),
        ("MQTT__HOST", "mqtt://h", "edge.mqtt.host: expected a host name alone, without mqtt://"),
        ("LOG_LEVEL", "loud", "edge.log_level: expected one of debug, info, warning, error, got 'loud'"),
        ("DEVICE__NAME", "K\udcfcche", "not UTF-8 text"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_variable(name, value, says):
    with environment(**{name: value}), pytest.raises(ConfigError) as raised:
        load_edge(None)
    assert str(raised.value).startswith(f"{PREFIX}{name}:")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_file_s_own_mistakes_are_still_the_file_s(tmp_path):
    for text, says in (
        ("gate: {margin_db: x}", "edge.gate.margin_db: expected float"),
        ("gate: 5", "edge.gate: expected"),
        ("model: m.tflite, model_store: {updates: ask, trusted_keys: [k]}", "edge: expected model: null beside"),
        ("mqtt: {tls: {key_file: k.pem}}", "edge.mqtt.tls: expected cert_file beside"),
    ):
        (tmp_path / "c.yaml").write_text(f"edge: {{{text}}}")
        given_ = {"DEVICE__NAME": "Kitchen", "MQTT__PORT": "80", "MQTT__TLS__CA_FILE": "a.pem"}
        with environment(**given_), pytest.raises(ConfigError) as raised:
            load_edge(tmp_path / "c.yaml")
        assert str(raised.value).startswith(f"{tmp_path}/c.yaml: {says}")


def test_of_two_that_say_it_the_one_that_began_is_named():
    given_ = {"QUIET_HOURS": "{start: '22:00', end: '07:00', time_zone: Mars}", "QUIET_HOURS__TIME_ZONE": "Mars"}
    with environment(**given_), pytest.raises(ConfigError, match=r"^ROOMTONE_QUIET_HOURS: "):
        load_edge(None)


def test_what_the_installer_and_the_tests_are_told_is_no_setting():
    with environment(CORPORA="/data", STOP_AT="switch", ROOT="/tmp"):
        assert load_edge(None) == EdgeConfig()


ANYTHING = st.one_of(
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text("ab:1-_. \n", max_size=9)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("abhost", max_size=5), inner)),
        max_leaves=6,
    ).map(lambda value: yaml.safe_dump(value, default_flow_style=True)),
)


@pytest.mark.heavy
@settings(max_examples=400, deadline=None)
@given(
    names_=st.lists(st.sampled_from(sorted({*names(EdgeConfig), "mqtt", "gate", "audio", "quiet_hours"})), max_size=3),
    other=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", max_size=12),
    values=st.lists(ANYTHING, min_size=4, max_size=4),
)
def test_whatever_stands_there_is_a_configuration_or_one_line(names_, other, values):
    variables = dict(zip([*map(written, names_), PREFIX + other], values, strict=False))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        said = None
        try:
            config = load_edge(None)
        except ConfigError as error:
            said = str(error)
    if said is None:
        assert msgspec.convert(msgspec.to_builtins(config), EdgeConfig) == config
    else:
        assert said.startswith(tuple(variables))
        assert "\n" not in said
        assert len(said) < 900
    assert not any(name in os.environ for name in variables if name != "ROOMTONE_CORPORA")  # which the tests have
