"""The four ways a user's input can be wrong, each with its exit status (sysexits.h numbers).

Everything else that goes wrong is a fault of ours (70). Messages are one line: what, where, what to do.
"""


class RoomtoneError(Exception):
    """A mistake or circumstance the user can mend; `exit_status` is what the process returns."""

    exit_status = 70

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class ConfigError(RoomtoneError):
    """The configuration is wrong."""

    exit_status = 78


class InputError(RoomtoneError):
    """An input (recording, corpus, table) is missing or cannot be read."""

    exit_status = 66


class ArtifactError(RoomtoneError):
    """A model file is damaged, altered, or does not behave as its manifest says."""

    exit_status = 65


class UnavailableError(RoomtoneError):
    """A service or device (broker, microphone, system program) is not there."""

    exit_status = 69
