"""config.yaml: strict, and every mistake is one line that says where."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import EdgeConfig, load_edge
from edge.errors import ConfigError
from tests.support.sounds import ROOT


def test_the_shipped_file_holds_the_defaults():
    assert load_edge(ROOT / "config.yaml") == EdgeConfig()
    assert load_edge(None) == EdgeConfig()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("edge: {mqtt: {port: abc}}", "edge.mqtt.port: expected int, got 'abc'"),
        ("edge: {mqtt: {prot: 1}}", "edge.mqtt.prot: unknown key (did you mean port?)"),
        ("edgy: {}", "edgy: unknown key (the file has features, train, convert, edge)"),
        ("edge: 3", "edge: expected object, got 3"),
        ("edge: [1]", "edge: expected object, got [1]"),
        ("edge: {gate: {margin_db: -1}}", "edge.gate.margin_db: expected float > 0.0, got -1"),
        (
            "edge: {device: {id: Living Room}}",
            "edge.device.id: expected a-z, 0-9 and - only (at most 64 of them), got 'Living Room'",
        ),
        ("edge: {decision: {enter: 1.5}}", "edge.decision.enter: expected float <= 1.0, got 1.5"),
        ("edge: {log_level: loud}", "edge.log_level: expected one of debug, info, warning, error, got 'loud'"),
        ("edge: {mqtt: {}, mqtt: {}}", ":1: not valid YAML (mqtt: stands twice)"),
        ("edge: {decision: {enter: 0.2, exit: 0.6}}", "edge.decision: expected exit at most as high as enter"),
        ("- a", "expected keys features, train, convert, edge, got list"),
        ("edge: {", ":1: not valid YAML"),
        ("\x00", "not valid YAML"),
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


def test_files_that_are_not_there_or_not_text(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_edge(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_edge(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"edge: {device: {name: K\xfcche}}")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_edge(tmp_path / "latin.yaml")


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
    import yaml

    file = tmp_path_factory.mktemp("c", numbered=True) / "c.yaml"
    file.write_text(yaml.safe_dump(made, allow_unicode=True), encoding="utf-8")
    with contextlib.suppress(ConfigError):
        assert isinstance(load_edge(file), EdgeConfig)
