"""The command line. A user's mistake becomes one line on standard error and an exit status (edge/errors.py)."""

import argparse
import json
import logging
import os
import sys
import traceback

from edge.commands.parser import DEFAULT_CONFIG, parser
from edge.commands.said import CALLED, complained, remark, say
from edge.config import EdgeConfig, load_edge
from edge.entry import concluded
from edge.errors import InputError, RoomtoneError, printable
from edge.instances import instance, take_recorders_place, unit_of

FAULT_OF_OURS = 70


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""

    def command() -> int | None:
        options = parser().parse_args(arguments)
        try:
            if options.instance is not None:
                options.config = instance(options.instance).take_place()
            return _COMMANDS[options.command](options)
        except RoomtoneError as error:
            read_from = getattr(options, "read_from", None)
            if read_from and str(error).startswith("edge."):  # a setting's name alone does not say whose
                raise type(error)(f"{read_from}: {error}") from error
            raise

    try:
        return concluded(command, called=CALLED)
    except Exception as error:
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        said = f"a fault of roomtone's own: {type(error).__name__}: {error} (--log-level debug shows where)"
        return complained(said, FAULT_OF_OURS)


def _configured(options: argparse.Namespace, file: str | None = None) -> tuple[EdgeConfig, str]:
    """Return the configuration, and what to call it; logging follows it."""
    config, name = _read_config(options, options.config if file is None else file)
    options.read_from = name
    level = options.log_level or config.log_level
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s")
    return config, name


def _read_config(options: argparse.Namespace, file: str | None) -> tuple[EdgeConfig, str]:
    path = _default_config() if file is None else file
    if path is not None:
        take_recorders_place(path)
    return load_edge(path), "built-in configuration" if path is None else path


def _default_config() -> str | None:
    """Return the configuration that lies here; None where there is surely none."""
    try:
        os.lstat(DEFAULT_CONFIG)
    except FileNotFoundError:
        return None
    except OSError:
        pass  # whoever reads it says why it cannot be
    return DEFAULT_CONFIG


def _run(options: argparse.Namespace) -> None:
    from edge.daemon.run import run

    def read_again() -> EdgeConfig:
        config, _ = _read_config(options, options.config)
        logging.getLogger().setLevel((options.log_level or config.log_level).upper())
        return config

    run(_configured(options)[0], recording=options.input, read_config=read_again)


def _demo(options: argparse.Namespace) -> None:
    from edge.commands.demo import demo

    options.log_level = options.log_level or "warning"  # its page and events are what a newcomer wants to read
    demo(_configured(options)[0], seconds=options.seconds)


def _classify(options: argparse.Namespace) -> int:
    from edge.commands.classify import as_json, as_text, classify, nobody
    from edge.commands.plot import Track, drawn, require_drawing
    from edge.daemon.run import model_path
    from edge.model.artifact import load

    config, _ = _configured(options)
    if options.plot:
        require_drawing()
    artifact, model = load(model_path(config))
    if silence := artifact.manifest.silence_from(config.decision.enter):
        remark(f"model {artifact.manifest.model_id} {silence}")
    status = 0
    for file in options.files:
        try:
            track = Track() if options.plot else None
            if not options.json:
                print(printable(file))
            heard = classify(file, model, artifact.manifest, config, also=track.add if track else nobody, tell=remark)
            for line in heard:
                print(as_json(line) if options.json else as_text(line), flush=True)
            if track:
                print(f"  drawn in {printable(drawn(file, track, artifact.manifest, config.decision))}")
        except InputError as error:  # the others are still worth their answer
            status = complained(str(error), error.exit_status)
    return status


def _watch(options: argparse.Namespace) -> None:
    from edge.commands.act import doubts, wish_of
    from edge.commands.watch import watch

    config, wish = _configured(options)[0], wish_of(options)
    for doubt in doubts(wish, config) if wish else ():
        remark(doubt)
    watch(config.mqtt, host=options.host, port=options.port, as_json=options.json, once=options.once, wish=wish)


def _devices(options: argparse.Namespace) -> None:
    from edge.commands.devices import list_devices

    options.log_level = options.log_level or "error"  # its own lines say the rest
    list_devices(_configured(options)[0], live_s=options.live, anyway=options.anyway)


def _check(options: argparse.Namespace) -> int:
    from edge.commands.check import check

    if options.live:
        options.log_level = options.log_level or "error"  # its own lines say the rest
    return say(check(*_configured(options, options.file), live=options.live, anyway=options.anyway))


def _doctor(options: argparse.Namespace) -> int:
    from edge.commands.doctor.examination import examine, examine_all, printed

    options.log_level = options.log_level or "error"  # its own lines say the rest
    logging.basicConfig(level=options.log_level.upper())
    anyway = options.anyway
    return printed(examine_all(anyway=anyway) if options.all else examine(*_configured(options), anyway=anyway))


def _health(options: argparse.Namespace) -> int:
    from edge.pulse import require_life

    return say(iter([f"alive: {require_life()}"]))


def _homeassistant(options: argparse.Namespace) -> int:
    from edge.daemon.run import model_path
    from edge.delivery.forget import remove_from_homeassistant
    from edge.hearing import mood
    from edge.model.artifact import read_artifact
    from edge.voice import homeassistant

    config, _ = _configured(options)
    if options.remove:
        return say(remove_from_homeassistant(config))
    manifest = read_artifact(model_path(config)).manifest
    where = homeassistant.topic(config, config.device.id)
    described = homeassistant.discovery(
        config.device, manifest.labels, manifest.model_id, mood.names(manifest.moods), teachable=manifest.teachable,
        updated=config.model_store.updates != "never",
    )  # fmt: skip
    print(f"With edge.homeassistant.enabled, `roomtone run` publishes this, retained, on {where}:")
    print(json.dumps(described, indent=1))
    return 0


def _forget(options: argparse.Namespace) -> None:
    from edge.delivery.forget import forget

    options.log_level = options.log_level or "error"  # its own lines say the rest
    say(forget(_configured(options)[0], options.device, everything=options.everything, force=options.force))


def _model(options: argparse.Namespace) -> None:
    from edge.commands import model
    from edge.daemon.run import model_path

    over_the_air = dict.fromkeys(("publish", "promote"), lambda: model.over_the_air(options, config))
    options.log_level = options.log_level or (options.verb in over_the_air and "error")  # their own lines say the rest
    config, _ = _configured(options)
    verbs = {
        "info": lambda: model.info(options.file or model_path(config), as_json=options.json),
        "verify": lambda: model.verify(options.file or model_path(config)),
        "keygen": lambda: model.keygen(options.name),
        "sign": lambda: model.sign(options.file, options.key),
        "install": lambda: model.install(options.file, config, unit_of(options.instance)),
        "rollback": lambda: model.roll_back(config, unit_of(options.instance)),
    } | over_the_air
    say(verbs[options.verb]())


def _teach(options: argparse.Namespace) -> int:
    from edge.commands.teach import from_recordings, guided

    if not options.guided and not (options.files and options.label):
        options.complain("name recordings and what is said in them (FILE... --label LABEL), or use --guided")
    if options.guided:
        options.log_level = options.log_level or "error"  # its own lines say the rest
    config, _ = _configured(options)
    if options.guided:
        return say(guided(config, options.label, options.rounds, anyway=options.anyway, tell=remark))
    return say(from_recordings(config, options.files, options.label, tell=remark))


def _lessons(options: argparse.Namespace) -> int:
    from edge.commands import lessons

    config, _ = _configured(options)
    verbs = {
        "list": lambda: lessons.show(config),
        "forget": lambda: lessons.forget(config, options.event_id),
        "export": lambda: lessons.export_to(config, options.file),
        "import": lambda: lessons.import_from(config, options.file),
    }
    return say(verbs[options.verb]())


def _history(options: argparse.Namespace) -> int:
    from edge.commands.history.verbs import history

    return say(history(_configured(options)[0], options))


_COMMANDS = {
    "run": _run, "demo": _demo, "classify": _classify, "watch": _watch, "devices": _devices, "check": _check,
    "doctor": _doctor, "health": _health, "homeassistant": _homeassistant, "forget": _forget, "model": _model,
    "teach": _teach, "lessons": _lessons, "history": _history,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
