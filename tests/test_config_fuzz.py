"""Configurations that nobody would write, and some that somebody would: each one runs or is refused in one line."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from edge.commands.cli import main
from edge.commands.demo import RECORDING
from edge.config import EdgeConfig, load_edge
from edge.daemon.quiet_hours import QuietClock
from edge.environment import PREFIX
from edge.errors import ConfigError
from edge.hearing.pipeline import Pipeline
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import timed_blocks
from edge.sound.recording import load_recording
from tests.support.broker import free_port
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT

ARTIFACT, MODEL = load(DEFAULT_MODEL)
BLOCKS = list(timed_blocks([load_recording(RECORDING)[: 4 * 16_000]], started_at=0.0))

JUNK = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
    | st.lists(st.integers(), max_size=2) | st.dictionaries(st.text(max_size=4), st.integers(), max_size=2)
)  # fmt: skip
TEXT = st.text(max_size=12) | st.sampled_from(["room", "/nowhere/at/all", "~", "a\nb", "ключ", "\x00"])
CLOCK = st.sampled_from(["00:00", "22:00", "07:30", "23:59", "12:00", "24:00", "7:00", "ab:cd"])
ZONE = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "Mars", "../../etc", ""]) | TEXT
EXTREME = st.sampled_from([0.0, -1.0, float("inf"), float("nan")])
FLOAT = st.floats(1, 1e4) | st.sampled_from([1.0, 1e-300, 1e300, 1e18]) | st.floats(0.001, 100) | EXTREME
COUNT = st.integers(80, 3_600) | st.integers(5, 65_535) | st.sampled_from([-5, 0, 2**31, 2**64])
RATIO = st.floats(0, 1) | st.floats(0, 1) | st.floats(-0.5, 1.5)


def section(**fields: st.SearchStrategy) -> st.SearchStrategy:
    """Some of the fields, mostly of their own kind, seldom junk, and now and then one that is not there."""

    def mostly(kind: st.SearchStrategy) -> st.SearchStrategy:
        return st.integers(0, 59).flatmap(lambda n: JUNK if n == 0 else kind)

    known = st.fixed_dictionaries({}, optional={name: mostly(kind) for name, kind in fields.items()})
    misspelt = st.builds(lambda made, name: {**made, name: 1}, known, st.text(max_size=6))
    return st.integers(0, 59).flatmap(lambda n: (JUNK, misspelt)[n] if n < 2 else known)


EDGE = section(
    device=section(id=st.sampled_from(["room", "Living Room", "", "a" * 65, "küche"]) | TEXT, name=TEXT),
    audio=section(microphone=TEXT, give_up_after_s=FLOAT),
    gate=section(
        margin_db=FLOAT, floor_window_s=FLOAT, speech_probability=RATIO, doubtful_probability=RATIO,
        strong_margin_db=FLOAT, certain_probability=RATIO, certain_ms=COUNT, pre_roll_ms=st.integers(0, 2_000),
        hang_over_ms=st.integers(80, 5_000) | COUNT,
    ),
    decision=section(
        smoothing_ms=FLOAT, enter=RATIO, exit=RATIO, dwell_ms=COUNT, unknown_after_ms=COUNT, first_within_ms=COUNT,
        refractory_ms=COUNT, mood_enter=RATIO, arousal_enter=RATIO,
    ),
    mqtt=section(
        host=st.sampled_from(["127.0.0.1", "embedded", "", "a" * 300, "münchen.example", ["a", "b"], ["a", ""]]),
        port=COUNT, username=TEXT,
        password_file=TEXT, tls=section(ca_file=TEXT, cert_file=TEXT, key_file=TEXT), keepalive_s=COUNT,
        websockets_port=COUNT,
    ),
    quiet_hours=section(start=CLOCK, end=CLOCK, time_zone=ZONE),
    model=TEXT,
    state_folder=TEXT,
    health_interval_s=FLOAT,
    log_level=st.sampled_from(["debug", "info", "warning", "error", "loud"]),
)  # fmt: skip
SECTIONS = st.fixed_dictionaries({"edge": EDGE}) | st.dictionaries(
    st.sampled_from(["edge", "train", "x"]), EDGE, max_size=2
)
LINE = re.compile(r"^\S*c\.yaml(:\d+)?: [^\n]+$")


def written(made: object) -> Path:
    file = Path(tempfile.mkdtemp(dir=_folder)) / "c.yaml"
    file.write_text(yaml.safe_dump(made, allow_unicode=True), encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def folder(tmp_path):
    global _folder
    _folder = tmp_path


def runs_or_is_refused(made: object) -> None:
    """The part of a run that a configuration can upset, on four seconds of sound."""
    file = written(made)
    refusal = None
    try:
        config = load_edge(file)
    except ConfigError as error:
        refusal = str(error)
    file.unlink()
    event("valid" if refusal is None else "refused")
    if refusal is not None:
        assert LINE.match(refusal), refusal
        return
    assert isinstance(config, EdgeConfig)
    QuietClock(config.quiet_hours).quiet(0.0)
    pipeline = Pipeline(MODEL, ARTIFACT.manifest, gate=config.gate, decision=config.decision)
    for block in BLOCKS[:: len(BLOCKS) // 8]:
        pipeline.process(block)


NO_CLOCK = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=400, **NO_CLOCK)
@given(SECTIONS)
def test_a_configuration_runs_or_is_refused_in_one_line(made):
    runs_or_is_refused(made)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@settings(max_examples=10_000, **NO_CLOCK)
@given(SECTIONS)
def test_ten_thousand_configurations_run_or_are_refused_in_one_line(made):
    runs_or_is_refused(made)


def variables(made: dict, above: str = PREFIX) -> Iterator[tuple[str, str]]:
    """Yield the same settings as the environment says them: a text as it is, everything else as YAML."""
    for key, value in made.items():
        name = above + key.upper()
        if isinstance(value, dict) and value:
            yield from variables(value, f"{name}__")
        else:
            yield name, value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True)


@settings(max_examples=150, **NO_CLOCK)
@given(EDGE.filter(lambda made: isinstance(made, dict)))
def test_the_same_configuration_in_the_environment_means_the_same_or_is_refused_in_one_line(made):
    told = dict(variables(made))
    # What an environment can hold; a name of other letters is not shown as it is.
    assume(all(name.isprintable() and "=" not in name and "\0" not in text for name, text in told.items()))
    said, refusal = written({"edge": made}), None
    alone = said.with_name("empty.yaml")
    alone.write_text("edge: {}")
    with pytest.MonkeyPatch.context() as patch:
        for name, text in told.items():
            patch.setenv(name, text)
        try:
            config = load_edge(alone)
        except ConfigError as error:
            refusal = str(error)
    event("valid" if refusal is None else "refused")
    if refusal is not None:
        assert refusal.startswith(tuple(f"{name}:" for name in told)), refusal
        assert "\n" not in refusal
    try:
        meant = load_edge(said)
    except ConfigError:
        return  # a text that the file has to say otherwise may be a number here
    if "" not in told.values():  # which is nothing, here
        assert refusal is None, refusal
        assert config == meant


@settings(max_examples=25, **NO_CLOCK)
@given(SECTIONS)
def test_the_command_says_one_line_for_each_mistake(capsys, made):
    file = written(made)
    status = main(["--config", str(file), "check"])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert status in (0, 65, 78), said
    complaints = [line for line in said.splitlines() if line.startswith("roomtone: ")]
    assert bool(complaints) == bool(status), said
    assert "a fault of roomtone's own" not in said


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@settings(max_examples=60, **NO_CLOCK)
@given(EDGE)
def test_the_sensor_itself_runs_or_says_one_line(made):
    mqtt = {"host": "127.0.0.1", "port": free_port()}
    if isinstance(made, dict):
        made = {
            **made,
            "mqtt": {**made["mqtt"], **mqtt} if isinstance(made.get("mqtt"), dict) else made.get("mqtt", mqtt),
        }
    file = written({"edge": made})
    done = subprocess.run(
        [sys.executable, "-m", "edge", "--config", str(file), "run", "--input", "-"],
        cwd=file.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, input=bytes(64_000), capture_output=True,
        timeout=PATIENCE_S,
    )  # fmt: skip
    said = done.stderr.decode()
    assert "Traceback" not in said
    assert done.returncode in (0, 65, 69, 78), said
    assert sum(line.startswith("roomtone: ") for line in said.splitlines()) == bool(done.returncode), said
