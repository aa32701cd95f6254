"""`roomtone check`: what a sensor would stumble over is a line with the file, the key and what to do, status 78."""

import json
import os

import pytest
import yaml

from edge.commands.cli import main
from edge.config import Mqtt, Tls
from edge.delivery.access import access
from edge.errors import ConfigError
from edge.model.signatures import keygen
from tests.commands.test_cli import complaint, roomtone
from tests.support.broker import free_port
from tests.support.certificates import Authority
from tests.support.daemon import switched
from tests.test_files import LIKE_ANYBODY


def checked(folder, edge: dict, capsys) -> tuple[int, list[str]]:
    """Return the status of a check and what it complains about, without the file's name."""
    file = folder / "c.yaml"
    file.write_text(yaml.safe_dump({"edge": {"state_folder": str(folder / "state"), **edge}}))
    status = main(["check", str(file)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("roomtone: ")]
    assert all(line.startswith(f"roomtone: {file}: ") for line in lines), lines
    return status, [line.removeprefix(f"roomtone: {file}: ") for line in lines]


@pytest.fixture
def trouble(tmp_path):
    """A folder with a file, an empty one, a pipe and two kinds of key in it."""
    (tmp_path / "file").write_text("hello")
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "latin").write_bytes(b"K\xfcche")
    os.mkfifo(tmp_path / "pipe")
    keygen(tmp_path / "good")
    return tmp_path


STATE = {
    "file": "file is no folder",
    "file/in/it": "file is no folder",
    "pipe": "pipe is no folder",
    "x" * 300: "nothing can be written there (File name too long)",
    "/proc/x": "nothing can be written there (No such file or directory)",
}


@pytest.mark.parametrize("place", STATE, ids=lambda place: place[:8])
def test_a_state_folder_that_cannot_be_one(trouble, capsys, place):
    status, (line,) = checked(trouble, {"state_folder": str(trouble / place)}, capsys)
    assert status == 78
    assert line.startswith("edge.state_folder: ")
    assert STATE[place] in line
    assert line.endswith(": name a folder that this user may write to")


def test_a_state_folder_that_can_be_made_is_not(trouble, capsys):
    assert checked(trouble, {"state_folder": str(trouble / "new" / "state")}, capsys) == (0, [])
    assert not (trouble / "new").exists()


SECRETS = {
    "pipe": "cannot be read (a pipe (FIFO), expected a file)",
    "/dev/zero": "cannot be read (a device, expected a file)",
    ".": "cannot be read (a folder, expected a file)",
    "nowhere": "cannot be read (No such file or directory)",
    "empty": "is empty: write the password into it",
    "latin": "not UTF-8 text",
}


def verdict(capsys, *arguments: str) -> tuple[int, str]:
    """Return the status of a check, and the last line that it prints."""
    status = main(["check", *arguments])
    return status, capsys.readouterr().out.splitlines()[-1]


def test_valid_is_said_last_and_only_of_what_is(trouble, capsys):
    file = trouble / "c.yaml"
    broker = {"host": "h", "username": "u", "password_file": str(trouble / "nowhere")}
    camera = {"command": ["cat"], "command_input": "{password}", "password_file": str(trouble / "empty")}
    for edge, says in (
        ({}, "valid"),
        ({"mqtt": broker}, "not valid; look at: broker"),
        ({"audio": camera}, "not valid; look at: microphone"),
        ({"audio": camera, "mqtt": broker}, "not valid; look at: microphone, broker"),
        ({"model_store": {"trusted_keys": [str(trouble / "file")]}}, "not valid; look at: trusted keys"),
        ({"state_folder": str(trouble / "file")}, "not valid; look at: state folder"),
        ({"model": str(trouble / "file")}, "valid; look at: model"),
    ):
        file.write_text(yaml.safe_dump({"edge": {"state_folder": str(trouble / "state"), **edge}}))
        status, last = verdict(capsys, str(file))
        assert (status == 0, last) == (says == "valid", f"{file}: {says}")
        if "microphone" in says or "broker" in says or "keys" in says:
            main(["--config", str(file), "doctor"])
            assert f"FAIL  configuration: {file}: edge." in capsys.readouterr().out


def test_live_each_thing_is_said_once_and_a_verdict_last(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"edge": {
        "state_folder": str(tmp_path / "state"), "mqtt": {"host": "127.0.0.1", "port": free_port()},
        "audio": {"command": ["false"]},
    }}))  # fmt: skip
    switched(tmp_path / "state", "ON")
    done = roomtone("check", "--live", cwd=tmp_path)
    assert done.returncode == 69
    assert done.stdout.splitlines()[-1] == "config.yaml: valid; look at: microphone, broker"
    kinds = [line.removeprefix("roomtone: ").partition(" ")[0].rstrip(":") for line in done.stderr.splitlines()]
    assert kinds == ["microphone", "broker"]


@pytest.mark.parametrize("name", SECRETS)
def test_a_password_file_that_holds_none(trouble, capsys, name):
    path = str(trouble / name)
    status, lines = checked(trouble, {"mqtt": {"host": "h", "username": "u", "password_file": path}}, capsys)
    assert (status, lines) == (78, [f"edge.mqtt.password_file: {path}: {SECRETS[name]}"])


KEYS = {
    "nowhere.pub": "cannot be read (No such file or directory)",
    "pipe": "cannot be read (a pipe (FIFO), expected a file)",
    ".": "cannot be read (a folder, expected a file)",
    "file": "not a public key in PEM: `roomtone model keygen` makes NAME.pub",
    "good.key": "not a public key in PEM: `roomtone model keygen` makes NAME.pub",
}


@pytest.mark.parametrize("name", KEYS)
def test_a_trusted_key_that_is_none(trouble, capsys, name):
    keys = [str(trouble / "good.pub"), str(trouble / name)]
    status, lines = checked(trouble, {"model_store": {"trusted_keys": keys}}, capsys)
    assert (status, lines) == (78, [f"edge.model_store.trusted_keys: {keys[1]}: {KEYS[name]}"])


def test_everything_that_is_wrong_is_said(trouble, capsys):
    status, lines = checked(
        trouble,
        {"state_folder": "/proc/x", "model_store": {"trusted_keys": [str(trouble / "file")]},
         "mqtt": {"host": "h", "username": "u", "password_file": str(trouble / "empty")}},
        capsys,
    )  # fmt: skip
    assert status == 78
    assert [line.partition(": ")[0] for line in lines] == [
        "edge.model_store.trusted_keys", "edge.state_folder", "edge.mqtt.password_file"
    ]  # fmt: skip


def test_certificates_and_keys_that_are_none(tmp_path):
    authority = Authority(tmp_path)
    (certificate, key), (_, other_key) = authority.issue("attic"), authority.issue("cellar")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "broken").write_text("-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n")
    pipe, text, broken = (str(tmp_path / name) for name in ("pipe", "text", "broken"))
    ours = {"ca_file": str(authority.ca_file), "cert_file": str(certificate), "key_file": str(key)}
    assert access(Mqtt(host="h", tls=Tls(**ours))).tls is not None
    for wrong, says in [
        ({"ca_file": pipe}, f"edge.mqtt.tls.ca_file: {pipe}: cannot be read (a pipe (FIFO), expected a file)"),
        ({"ca_file": text}, f"edge.mqtt.tls.ca_file: {text}: no certificate in PEM (a line -----BEGIN CERTIFICATE"),
        ({"ca_file": broken}, f"edge.mqtt.tls.ca_file: {broken}: no certificate that can be read in it"),
        ({"ca_file": str(key)}, f"edge.mqtt.tls.ca_file: {key}: no certificate in PEM"),
        ({"cert_file": str(key)}, f"edge.mqtt.tls.cert_file: {key}: no certificate in PEM"),
        ({"key_file": pipe}, f"edge.mqtt.tls.key_file: {pipe}: cannot be read"),
        ({"key_file": str(certificate)}, f"edge.mqtt.tls.key_file: {certificate}: no private key in PEM"),
        ({"key_file": None}, f"edge.mqtt.tls.key_file: {certificate}: no private key in PEM"),
        ({"key_file": str(other_key)}, f"edge.mqtt.tls: {certificate} and {other_key} are no certificate with its own"),
        ({"key_file": str(locked(key))}, "has a password, which nobody could type here"),
    ]:
        with pytest.raises(ConfigError) as raised:
            access(Mqtt(host="h", tls=Tls(**{**ours, **wrong})))
        assert says in str(raised.value)


def locked(key):
    """Return a copy of a private key that OpenSSL asks a password for."""
    from cryptography.hazmat.primitives import serialization as form

    secret = form.load_pem_private_key(key.read_bytes(), password=None).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"secret")
    )
    path = key.with_suffix(".locked")
    path.write_bytes(secret)
    return path


@pytest.mark.parametrize("arguments", [["check", ""], ["--config", "", "check"], ["--config", "", "classify", "a.wav"]])
def test_a_configuration_without_a_name(tmp_path, arguments):
    (tmp_path / "config.yaml").write_text("edge: {}")  # which is not what was asked for
    assert "'': no file: give the name of a configuration" in complaint(roomtone(*arguments, cwd=tmp_path), 78)


def test_a_configuration_here_that_cannot_be_read_is_not_passed_over(tmp_path):
    (tmp_path / "config.yaml").symlink_to("nowhere")
    assert "config.yaml: no such file" in complaint(roomtone("check", cwd=tmp_path), 78)
    (tmp_path / "config.yaml").unlink()
    (tmp_path / "config.yaml").symlink_to("config.yaml")
    assert "config.yaml: cannot be read (Too many levels" in complaint(roomtone("check", cwd=tmp_path), 78)


def test_every_command_says_in_which_file_a_setting_is_wrong(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "mine.yaml").write_text(
        "edge: {mqtt: {host: 127.0.0.1, username: u, password_file: nowhere}}"
    )
    for command in (["watch", "--once"], ["forget", "attic"], ["run", "--input", "-"]):
        done = roomtone("--config", "config/mine.yaml", *command, cwd=tmp_path, HOME=str(tmp_path))
        why = f"config/mine.yaml: edge.mqtt.password_file: {tmp_path}/config/nowhere: cannot be read"
        assert why in complaint(done, 78)


def test_a_home_whose_state_folder_is_closed(tmp_path, monkeypatch):
    """What only looks takes the bundled model and says so; what relies on the folder is 78 or 73; nothing is 70."""
    closed = tmp_path / ".local" / "state"
    closed.mkdir(parents=True)
    closed.chmod(0)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    environment = {"before": LIKE_ANYBODY, "HOME": str(tmp_path), "XDG_STATE_HOME": ""}
    said = complaint(roomtone("check", cwd=tmp_path, **environment), 78)
    assert f"edge.state_folder: {closed}/roomtone: nothing can be written there (Permission denied)" in said
    for command in (["model", "info"], ["homeassistant"]):
        done = roomtone(*command, cwd=tmp_path, **environment)
        assert done.returncode == 0
        assert "not readable by this user (Permission denied): taking the bundled model" in done.stderr
    (tmp_path / "config.yaml").write_text("edge: {model_store: {allow_unsigned: true}}")
    said = complaint(roomtone("model", "rollback", cwd=tmp_path, **environment), 73)
    assert f"{closed}/roomtone/models: cannot be used (edge.state_folder; Permission denied)" in said


def test_a_services_state_folder_is_none_of_another_users_business(tmp_path):
    for service in (tmp_path / "service", tmp_path / "private" / "service"):
        service.mkdir(parents=True)
    (tmp_path / "service").chmod(0)
    (tmp_path / "private").chmod(0)
    for service in (tmp_path / "service", tmp_path / "private" / "service"):
        done = roomtone("check", cwd=tmp_path, before=LIKE_ANYBODY, STATE_DIRECTORY=str(service))
        assert done.returncode == 0, done.stderr
        assert f"{service}: the service's own" in done.stdout
    (tmp_path / "private").chmod(0o700)
    (tmp_path / "config.yaml").write_text(f"edge: {{state_folder: {tmp_path}/service}}")  # named: then it counts
    done = roomtone("check", cwd=tmp_path, before=LIKE_ANYBODY)
    assert "edge.state_folder: " in complaint(done, 78)


def test_what_was_set_over_mqtt_stands_beside_the_configuration(tmp_path):
    (tmp_path / "state").mkdir()
    kept = {"sensitivity": 60, "quiet_hours": None, "state_interval_s": 12.5}
    (tmp_path / "state" / "settings-room.json").write_text(json.dumps(kept))
    hours = {"start": "22:00", "end": "07:00"}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"edge": {"state_folder": str(tmp_path / "state"), "quiet_hours": hours}}))
    for command in ("check", "doctor"):
        done = roomtone("--config", config, command, cwd=tmp_path)
        assert "sensitivity 60 (the configuration: 50)" in done.stdout
        assert "quiet_hours none (the configuration: 22:00 to 07:00 UTC)" in done.stdout
        assert "state_interval_s 12.5 (the configuration: 30)" in done.stdout
        assert "log_level" not in done.stdout
