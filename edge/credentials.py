"""Secrets and where they are: systemd hands a service its credentials in a folder of their own."""

import os
import shutil

from edge.errors import ConfigError
from edge.files import contents

PREFIX = "mqtt_"  # what deploy/roomtone.service calls them


def located(name: str) -> str:
    """Return the path of a secret's file: a bare name is a credential where there is one, anything else a path."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and os.sep not in name:
        for candidate in (PREFIX + name, name):
            if os.path.exists(path := os.path.join(folder, candidate)):
                return path
        if os.path.isdir(folder) and not os.access(folder, os.X_OK):
            return os.path.join(folder, name)  # whoever opens it hears that it is root's, not that it is missing
    return name


def beside(folder: str, name: str) -> str:
    """Return where a secret is that a file in `folder` names: a credential's bare name stays one."""
    return name if located(name) != name else os.path.join(folder, name)


def secret(key: str, path: str | None) -> str | None:
    """Return the secret in a file, without blanks around it; None without a file.

    Raises ConfigError, which names the setting `key`, where there is none.
    """
    if path is None:
        return None
    try:
        found = held(key, path).decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key}: {path}: not UTF-8 text") from error
    if not found:
        raise ConfigError(f"{key}: {path}: is empty: write the password into it")
    return found


def held(key: str, path: str) -> bytes:
    """Return what a secret's file holds. Raises ConfigError, which names the setting `key`."""
    try:
        return contents(located(path))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        hint = ""
        if isinstance(error, PermissionError):
            # A credential is root's, and stays so. Of another file: there is no sudo in a container.
            root_helps = located(path) != path or shutil.which("sudo")
            hint = ": try with sudo" if root_helps else f": give the file to user {os.geteuid()}"
        if isinstance(error, FileNotFoundError) and (folder := os.environ.get("CREDENTIALS_DIRECTORY")):
            hint = f", nor is it in {folder}"
        raise ConfigError(f"{key}: {path}: cannot be read ({why}{hint})") from error
