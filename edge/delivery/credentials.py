"""Where secrets are: systemd hands a service its credentials in a folder of their own."""

import os

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
