"""`python -m train`: from corpora to networks to honest reports."""

import argparse
import os
import sys

from edge.entry import Parser, concluded
from train import commands
from train.data.split import SIDES
from train.fitting.quiet import hush
from train.networks import registry
from train.study import protocols


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return its exit status."""

    def verb() -> int | None:
        options = _parser().parse_args(arguments)
        hush()
        return options.verb(options)

    return concluded(verb, called="error", interrupted="stopped")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected 1 or more, not {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m train", description=__doc__)
    parser.add_argument("--config", default="config.yaml", help="default: config.yaml")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    common = Parser(add_help=False)  # after the verb, too: what is not said there leaves what was said
    common.add_argument("--config", default=argparse.SUPPRESS, help="default: config.yaml")
    data = Parser(add_help=False)
    data.add_argument("--data", nargs="+", required=True, help="folders of sound, or CSVs: path,label[,speaker,corpus]")
    data.add_argument("--out", default="runs", help="folder for runs; default: runs")
    network = Parser(add_help=False)
    network.add_argument("--network", default="cnn", choices=registry.NAMES, help="default: cnn")
    recipe = Parser(add_help=False)
    recipe.add_argument("--protocol", default="random", choices=protocols.NAMES, help="who is tested; default: random")
    recipe.add_argument("--recipe", help="of train.recipes; default: the one named like the protocol, else `study`")
    recipe.add_argument("--epochs", type=_count, metavar="N", help="other than the recipe's")
    recipe.add_argument("--noise", help="folder of noise recordings (ESC-10); default: as the config says")

    verb = verbs.add_parser("index", parents=[common], help="a table of clips, and what is wrong with them")
    verb.add_argument("given", nargs="*", metavar="DATA", help="folders of sound, or CSVs: path,label[,speaker,corpus]")
    verb.add_argument("--data", nargs="+", default=[], metavar="DATA", help="the same, as the other verbs have it")
    verb.add_argument("--out", help="folder for index.csv and the report; default: runs/index-DATA")
    verb.set_defaults(verb=commands.run_index, complain=verb.error)

    verb = verbs.add_parser("fit", parents=[common, data, network, recipe], help="train one network under a protocol")
    verb.add_argument("--fold", type=int, help="only this fold (0, 1, ...); default: all")
    verb.add_argument("--seed", type=int, default=0, help="of weights and order; default: 0")
    verb.add_argument("--name", help="of the run's folder; default: network, protocol, fold, seed")
    verb.set_defaults(verb=commands.run_fit)

    verb = verbs.add_parser("speech", parents=[common, data], help="train the speech gate's network")
    verb.add_argument("--noise", nargs="+", default=[], metavar="FOLDER",
                      help="folders of what is not speech (ESC-50, ...); default: sounds by formula only")  # fmt: skip
    verb.add_argument("--rooms", help="folder of impulse responses; default: simulated rooms only")
    verb.add_argument("--without", nargs="+", default=[], metavar="CLASS", help="folders of --noise to leave out")
    verb.add_argument("--seed", type=int, default=0, help="of scenes and weights; default: 0")
    verb.add_argument("--name", help="of the run's folder; default: speech-seed0, with what it is without")
    verb.set_defaults(verb=commands.run_speech)

    verb = verbs.add_parser("evaluate", parents=[common], help="a model on anyone's data")
    verb.add_argument("given", nargs="?", metavar="MODEL", help="a run folder, its model.keras, or a .tflite artifact")
    verb.add_argument("--model", metavar="MODEL", help="the same")
    verb.add_argument("--data", "--index", nargs="+", required=True, metavar="DATA",
                      help="folders of sound, or CSVs: path,label[,speaker,corpus,side]")  # fmt: skip
    verb.add_argument("--side", choices=SIDES, help="only rows of this side of a run's split.csv; default: all")
    verb.add_argument(
        "--reading", choices=("last", "mean"), default="last", help="of an utterance's answers; default: last"
    )
    verb.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    verb.set_defaults(verb=commands.run_evaluate, complain=verb.error)

    verb = verbs.add_parser("compare", parents=[common, data, recipe], help="all networks under a protocol, one report")
    verb.add_argument("--networks", nargs="+", choices=registry.NAMES, help="default: train.compare.networks")
    verb.add_argument("--name", help="of the report's folder; default: compare-PROTOCOL")
    verb.add_argument(
        "--jobs", type=_count, metavar="N", default=os.cpu_count(), help="trainings at a time; default: one per core"
    )
    verb.add_argument("--scheduler", help="address of a dask.distributed scheduler: train on its workers instead")
    verb.add_argument("--robustness", action="store_true", help="accuracy in noise (with --noise) and in rooms")
    verb.add_argument("--scalability", action="store_true", help="train on shares of the data too")
    verb.set_defaults(verb=commands.run_compare)

    verb = verbs.add_parser(
        "strangers", parents=[common, data], help="small models on corpora they never heard, in rooms"
    )
    verb.add_argument("--never-trained", nargs="+", default=[], metavar="CORPUS", help="corpora to judge by only")
    verb.add_argument("--name", default="strangers", help="of the report's folder; default: strangers")
    verb.set_defaults(verb=commands.run_strangers)

    verb = verbs.add_parser(
        "rooms", parents=[common, data], help="train the network of utterances, heard against the room they are said in"
    )
    verb.add_argument("--protocol", default="default", choices=("default", "unheard", "yardsticks"),
                      help="default: one training of all voices; the others: one per fold, to judge by")  # fmt: skip
    verb.add_argument("--teachers", nargs="+", metavar="CORPUS",
                      help="corpora that may train, the others are judged by only; default: all")  # fmt: skip
    verb.add_argument("--seed", type=int, default=0, help="the first one, of weights and rooms; default: 0")
    verb.set_defaults(verb=commands.run_rooms)

    verb = verbs.add_parser(
        "tune", parents=[common, data, network, recipe], help="sizes and learning rate on validation speakers"
    )
    verb.add_argument("--fold", type=int, default=0, help="of the protocol; default: 0")
    verb.add_argument("--seed", type=int, default=0, help="of weights and order; default: 0")
    verb.add_argument(
        "--trials", type=_count, metavar="N", default=20, help="in all (20); the same command goes on where it stopped"
    )
    verb.set_defaults(verb=commands.run_tune)
    return parser


if __name__ == "__main__":
    sys.exit(main())
