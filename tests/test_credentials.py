"""Secrets that cannot be read."""

import errno
import os

import pytest

from edge.credentials import held
from edge.errors import ConfigError


@pytest.mark.parametrize(
    ("sudo", "helps"), [(None, f"give the file to user {os.geteuid()}"), ("/bin/sudo", "try with sudo")],
    ids=["in a container", "elsewhere"],
)  # fmt: skip
def test_what_helps_where_a_secret_is_somebody_else_s(monkeypatch, sudo, helps):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("edge.credentials.contents", refused)
    monkeypatch.setattr("shutil.which", lambda program: sudo)
    with pytest.raises(ConfigError, match=rf"password_file: /pw: cannot be read \(Permission denied: {helps}\)"):
        held("edge.mqtt.password_file", "/pw")
