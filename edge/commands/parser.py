"""The words of the command line."""

import argparse
import re
import shlex
from collections.abc import Callable

from edge import __version__
from edge.addresses import host_name
from edge.commands.history.words import history_parser
from edge.entry import Parser
from edge.instances import is_name

DEFAULT_CONFIG = "config.yaml"
ANYWAY = "open the microphone although listening is switched off, or in quiet hours"
FIELDS = ("device", "emotion", "mood", "microphone", "status")  # that `watch --on` looks at


def parser() -> argparse.ArgumentParser:
    """Return the parser; `options.command` names what was asked for, as edge/commands/cli.py has it."""
    whole = Parser(prog="roomtone", description="A room sensor that hears how a room feels.")
    whole.add_argument("--version", action="version", version=f"roomtone {__version__}")
    _add_common(whole, None)
    commands = whole.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        _add_common(made)
        made.set_defaults(command=name)
        return made

    made = command("run", "sense the microphone and publish")
    made.add_argument(
        "--input",
        metavar="FILE",
        help="a recording played as a microphone; - for standard input, heard as fast as it comes: sound file or raw "
        "PCM (s16le, 16 kHz, mono)",
    )
    made = command("demo", "sense a bundled recording with an embedded broker and a live page")
    made.add_argument("--seconds", type=_seconds, metavar="S", help="end after this long")
    made = command("classify", "classify recordings")
    made.add_argument("files", nargs="+", metavar="FILE", help="sound files, or - for standard input")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="one JSON object per event, then one summary per file")
    how.add_argument("--plot", action="store_true", help="also draw each recording, into FOLDER-NAME.png here")
    made = command("watch", "show what sensors say, live")
    made.add_argument("--host", type=_host, metavar="HOST", help="the broker; default: as configured, or this machine")
    made.add_argument("--port", type=_port, metavar="PORT", help="default: as configured, or 1883 (8883 with TLS)")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="one JSON object per message")
    how.add_argument("--exec", type=_command, metavar="COMMAND", help="run this with each event, as JSON on its input")
    made.add_argument("--once", action="store_true", help="what is known now, and end")
    made.add_argument("--on", type=_condition, action="append", metavar="FIELD=WORD[,WORD]", default=[],
                      help="with --exec: only when all of these begin (device, emotion, mood, microphone, status)")
    made.add_argument("--for", type=_duration, metavar="TIME", dest="for_s",
                      help="with --on: held so long in all (20s, 5m); pauses do not count, one as long ends it")
    made.add_argument("--timeout", type=_duration, metavar="TIME", help="with --exec: how long it may take (30s)")
    made = command("devices", "list the microphones")
    made.add_argument(
        "--live", type=_seconds, nargs="?", const=10.0, metavar="S", help="show levels for S seconds (10)"
    )
    made.add_argument("--anyway", action="store_true", help=ANYWAY)
    made = command("check", "check a configuration, the model and its golden replay")
    made.add_argument("file", nargs="?", metavar="CONFIG", help="default: that of --config")
    made.add_argument("--live", action="store_true", help="also look for the microphone and the broker")
    made.add_argument("--anyway", action="store_true", help=ANYWAY)
    made = command("doctor", "look at everything a sensor or a recorder needs, and say what helps")
    made.add_argument("--all", action="store_true", help="of each sensor, and the recorder, installed on this machine")
    made.add_argument("--anyway", action="store_true", help=ANYWAY)
    command("health", "whether the sensor in the same container works; for its health check")
    made = command("homeassistant", "say how Home Assistant finds this sensor, or take it out again")
    made.add_argument("--remove", action="store_true", help="take the device and its entities out of Home Assistant")
    made = command("forget", "take everything that a device left behind off the broker")
    made.add_argument("device", type=_device, metavar="DEVICE", help="its edge.device.id, or the one it had before")
    made.add_argument("--everything", action="store_true", help="also delete what it kept on this machine: lessons, "
                      "settings, the switch, events")  # fmt: skip
    made.add_argument("--force", action="store_true", help="although it says that it is online")
    _model_parser(command("model", "look at a model file, sign it, install it"))
    made = command("teach", "say what recordings, or sentences at the microphone, are; only numbers are kept")
    what = made.add_mutually_exclusive_group()
    what.add_argument("files", nargs="*", default=[], metavar="FILE", help="sound files; every utterance is a lesson")
    what.add_argument("--guided", action="store_true", help="be asked for sentences in each emotion, at the microphone")
    made.add_argument("--label", metavar="LABEL", help="what is said in the files; with --guided: ask for this alone")
    made.add_argument("--rounds", type=_rounds, default=3, metavar="N", help="with --guided: sentences for each (3)")
    made.add_argument("--anyway", action="store_true", help=ANYWAY)
    made.set_defaults(complain=made.error)
    _lessons_parser(command("lessons", "list what the sensor was taught, forget, export, import"))
    history_parser(_verbs(command("history", "keep the past of every room, look at it, forget it")))
    return whole


def _add_common(made: argparse.ArgumentParser, default: str | None = argparse.SUPPRESS) -> None:
    """Add what every command takes, before its name and after it: what is not said there does not undo what is here."""
    made.add_argument("--config", metavar="FILE", default=default, help=f"default: {DEFAULT_CONFIG} where there is one")
    made.add_argument("--instance", type=_room, metavar="ROOM", default=default,
                      help="that sensor of several which are installed on this machine")
    made.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default=default, help="default: as configured"
    )


def _verbs(command: argparse.ArgumentParser) -> Callable[[str, str], argparse.ArgumentParser]:
    """Return what adds a verb, of this name and with this help, to a command."""
    verbs = command.add_subparsers(metavar="VERB", required=True, dest="verb")

    def verb(name: str, help: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=help, description=help)
        _add_common(made)
        return made

    return verb


def _model_parser(model: argparse.ArgumentParser) -> None:
    verb = _verbs(model)
    made = verb("info", "say what a model file is and where it comes from")
    made.add_argument("file", nargs="?", metavar="FILE", help="default: the configured one")
    made.add_argument("--json", action="store_true", help="the whole manifest")
    made = verb("verify", "check hash, manifest and golden replay")
    made.add_argument("file", nargs="?", metavar="FILE", help="default: the configured one")
    made = verb("keygen", "make a pair of keys to sign models with")
    made.add_argument("name", nargs="?", default="model", metavar="NAME", help="writes NAME.key, NAME.pub (model)")
    made = verb("sign", "sign a model file in place")
    made.add_argument("file", metavar="FILE", help="the model file; it is written anew, with its signature inside")
    made.add_argument("--key", required=True, metavar="FILE", help="a private key of `roomtone model keygen`")
    made = verb("install", "verify a model file and have the sensor run it; it goes back by itself where that fails")
    made.add_argument("file", metavar="FILE", help="a model file, signed by one of edge.model_store.trusted_keys")
    verb("rollback", "have the sensor run the model before")
    made = verb("publish", "put a signed model on the broker, for sensors with edge.model_store.updates: ask or auto")
    made.add_argument("file", nargs="?", metavar="FILE", help="a signed model file; none with --remove")
    made.add_argument("--ring", type=_ring, default="house", metavar="RING",
                      help="for the sensors with this edge.model_store.ring (house)")  # fmt: skip
    made.add_argument("--remove", action="store_true", help="take the ring's model off the broker again")
    made.set_defaults(complain=made.error)
    made = verb("promote", "publish the canaries' model to the house when it has run well there for so long")
    made.add_argument("--from", type=_ring, default="canary", metavar="RING", dest="first", help="default: canary")
    made.add_argument("--to", type=_ring, default="house", metavar="RING", dest="rest", help="default: house")
    made.add_argument("--after", type=_duration, default=7_200.0, metavar="TIME", help="for how long (2h)")


def _lessons_parser(lessons: argparse.ArgumentParser) -> None:
    verb = _verbs(lessons)
    verb("list", "a line each, and how much they help")
    made = verb("forget", "forget a lesson, or all")
    made.add_argument("event_id", metavar="ID", help="as in the list; last: the newest; all: every one")
    made = verb("export", "write all lessons of the model into a file: numbers, no sound")
    made.add_argument("file", metavar="FILE", help="- for standard output")
    made = verb("import", "take in the lessons of such a file; they must be the same model's")
    made.add_argument("file", metavar="FILE", help="- for standard input")


def _rounds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 100, got {text!r}")
    return int(text)


def _device(text: str) -> str:
    if not re.fullmatch("[a-z0-9-]{1,64}", text):
        raise argparse.ArgumentTypeError(f"expected a device's id (a-z, 0-9 and - only), got {text!r}")
    return text


def _ring(text: str) -> str:
    if not re.fullmatch("[a-z0-9-]{1,64}", text):
        raise argparse.ArgumentTypeError(f"expected a ring's name, such as canary (a-z, 0-9 and -), got {text!r}")
    return text


def _room(text: str) -> str:
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"expected a room's name, such as kitchen (a-z, 0-9 and - only), got {text!r}")
    return text


def _host(text: str) -> str:
    try:
        return host_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from error


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


def _command(text: str) -> list[str]:
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{str(error).lower()}, got {text!r}") from error
    if not command:
        raise argparse.ArgumentTypeError("expected a program and its arguments, got nothing")
    return command


def _condition(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, words = text.partition("=")
    if name not in FIELDS or not all(words.split(",")):
        raise argparse.ArgumentTypeError(f"expected e.g. emotion=angry ({', '.join(FIELDS)}), got {text!r}")
    return name, tuple(words.split(","))


def _duration(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected a time such as 20s, 5m or 1h, got {text!r}")
    return float(found[1]) * {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3_600}[found[2]]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds, got {text!r}")
    return seconds
