"""Secrets that cannot be read."""

import errno
import os

import pytest

from edge.credentials import held
from edge.errors import ConfigError


@pytest.mark.parametrize(
    ("sudo", "credential", "helps"),
    [
        (None, False, f"give the file to user {os.geteuid()}"),
        (None, True, "try with sudo"),
        ("/bin/sudo", False, "try with sudo"),
    ],
    ids=["in a container", "a credential where no sudo is", "elsewhere"],
)
def test_what_helps_where_a_secret_is_somebody_else_s(monkeypatch, tmp_path, sudo, credential, helps):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("edge.credentials.contents", refused)
    monkeypatch.setattr("shutil.which", lambda program: sudo)
    if credential:
        (tmp_path / "pw").touch()
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigError, match=rf"password_file: pw: cannot be read \(Permission denied: {helps}\)"):
        held("edge.mqtt.password_file", "pw")
