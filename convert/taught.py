"""What lessons are worth to strangers: artifacts in rooms of voices never heard, taught by the sensor's own code.

python -m convert.taught MODEL.tflite... --data FOLDERS --noise /data/ESC-10 --out train/reports/taught

Each artifact is heard by the corpora that it was not trained on (its manifest says which it was); of several of one
architecture, a corpus is heard by the first. `--voices` and `--clips` take a share of the voices of each corpus, and of
the clips of each voice and label. Stopped, the same command goes on with what it has heard.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from edge.entry import Parser, concluded
from edge.errors import InputError
from edge.files import output, write_atomically
from edge.lessons.lesson import Lesson, as_half, as_log
from edge.lessons.personal import Usual, fit
from edge.model.artifact import Artifact, read_artifact
from edge.section import load_section
from train.config import TrainConfig
from train.data import corpora, index
from train.data.clip import Clip
from train.data.features import Cache
from train.fitting import metrics, runs
from train.fitting.progress import bar
from train.pages import pictures
from train.pages.tables import markdown
from train.study import robustness
from train.study.ears import Ear, ear_of
from train.study.robustness import CLEAN
from train.study.taught import SCENARIOS, Exam, Scenario, exams, some_of

_MEASURES = ("uar", "untaught", "ece", "others", "in_use")


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the report; return the exit status."""
    return concluded(lambda: _measured(arguments), called="error")


def _measured(arguments: list[str] | None) -> None:
    parser = Parser(prog="python -m convert.taught", description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="artifacts that can be taught")
    parser.add_argument(
        "--data", nargs="+", required=True, help="folders of sound, or CSVs: path,label[,speaker,corpus]"
    )
    parser.add_argument("--noise", required=True, help="folder of noise recordings (ESC-10, of which the fifth fold)")
    parser.add_argument("--out", required=True, help="folder for report.json, report.md and the picture")
    parser.add_argument("--voices", type=int, help="of each corpus; default: all")
    parser.add_argument("--clips", type=int, help="of each voice and label; default: all")
    parser.add_argument("--config", default="config.yaml", help="default: config.yaml")
    options = parser.parse_args(arguments)
    out = output(options.out, "--out")
    artifacts = [read_artifact(path) for path in options.models]
    config = load_section(options.config, "train", TrainConfig)
    noises = robustness.noise_recordings(options.noise, config.cache)
    clips = some_of(index.scan(options.data, config).clips, voices=options.voices, each=options.clips)
    pairs = list(_pairs(artifacts, clips))
    if not pairs:
        raise InputError("--data: no corpus in it that one of the models was not trained on")
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    with bar("corpora") as tell:
        for number, (artifact, corpus) in enumerate(pairs):
            kind = artifact.manifest.architecture
            tell(number, len(pairs), f"{kind}: {corpus}")
            mine = [clip for clip in clips if clip.corpus == corpus and clip.label in artifact.manifest.labels]
            ear = ear_of(artifact, mine, noises, Cache(config.cache))
            found[kind][corpus] = measure(ear, mine, artifact.manifest.labels)
        tell(len(pairs), len(pairs), "")
    made = {
        "kinds": found,
        "draws_of": {"voices": options.voices, "clips": options.clips},
        "created": runs.now(), "commit": runs.commit(), "versions": runs.versions(),
    }  # fmt: skip
    write_atomically(out / "report.json", msgspec.json.format(msgspec.json.encode(made), indent=1))
    write_atomically(out / "report.md", table(made).encode())
    write_atomically(out / "lessons.png", pictures.lessons(curves(made), apart=list(corpora.NEVER_TRAINED)))
    print(table(made))


def _pairs(artifacts: Sequence[Artifact], clips: Sequence[Clip]) -> list[tuple[Artifact, str]]:
    """Return which artifact hears which corpus."""
    found: dict[tuple[str, str], Artifact] = {}
    for corpus in sorted({clip.corpus for clip in clips}):
        for artifact in artifacts:
            if corpus not in {trained.name for trained in artifact.manifest.provenance.corpora}:
                found.setdefault((artifact.manifest.architecture, corpus), artifact)
    return [(artifact, corpus) for (_, corpus), artifact in found.items()]


def measure(
    ear: Ear, clips: Sequence[Clip], labels: Sequence[str], scenarios: Sequence[Scenario] = SCENARIOS
) -> dict[str, Any]:
    """Return the figures of one corpus: by scenario and lessons per label, means over its rooms."""
    found: dict[str, Any] = {"clips": len(clips), "voices": len({clip.speaker for clip in clips})}
    found["names_the_speaker"] = names_the_speaker(ear.embeddings(CLEAN), clips)
    found["scenarios"] = {}
    for scenario in scenarios:
        rows: dict[int, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
        for exam in exams(clips, scenario):
            rows[exam.lessons_per_label][exam.voice].append(_examined(ear, clips, labels, scenario, exam))
        found["scenarios"][scenario.name] = {
            str(count): {"rooms": len(rooms)} | {key: _mean(rooms, key) for key in _MEASURES}
            for count, rooms in rows.items()
        }
    return found


def _mean(rooms: dict[str, list[dict[str, float]]], key: str) -> float:
    return float(np.mean([np.mean([draw[key] for draw in draws]) for draws in rooms.values()]))


def _examined(
    ear: Ear, clips: Sequence[Clip], labels: Sequence[str], scenario: Scenario, exam: Exam
) -> dict[str, float]:
    heard, said = ear.embeddings(scenario.heard_in), ear.embeddings(scenario.said_in)
    usual = Usual(heard.shape[1])
    for number in exam.past:
        usual.hear(heard[number])
    lessons = []
    if len(exam.lessons):
        own = ear.probs(exam.past, exam.lessons, scenario.said_in)
        lessons = [
            Lesson(str(number), label, 0.0, as_half(said[number]), as_log(probs))
            for number, label, probs in zip(exam.lessons, exam.called, own, strict=True)
        ]
    layer = fit(lessons, labels, usual)
    untaught = ear.probs(exam.past, exam.tested, scenario.heard_in)
    probs = np.array([layer.answer(heard[n], own) for n, own in zip(exam.tested, untaught, strict=True)])
    truth = np.array([list(labels).index(clips[number].label) for number in exam.tested])
    had = np.isin(np.arange(len(labels)), truth)
    before, after = (np.where(had, said, -1.0).argmax(axis=1) for said in (untaught, probs))
    rest = ~np.isin(truth, [list(labels).index(label) for label in exam.called])
    return {
        "uar": metrics.uar(truth, after),
        "untaught": metrics.uar(truth, before),
        "ece": metrics.ece(truth, probs),
        "others": metrics.uar(truth[rest], after[rest]) - metrics.uar(truth[rest], before[rest]) if rest.any() else 0.0,
        "in_use": float(layer.in_use),
    }


def names_the_speaker(embeddings: np.ndarray, clips: Sequence[Clip]) -> dict[str, float]:
    """Return in how many cases a linear model tells by an embedding which of a corpus's voices it is, learned from half
    of the clips and asked for the others, and how often guessing would be right."""
    speakers = np.array([clip.speaker for clip in clips])
    order = np.random.default_rng(2).permutation(len(clips))
    learned, asked = order[::2], order[1::2]
    scale = StandardScaler().fit(embeddings[learned])
    model = LogisticRegression(C=0.1, max_iter=300).fit(scale.transform(embeddings[learned]), speakers[learned])
    right = float((model.predict(scale.transform(embeddings[asked])) == speakers[asked]).mean())
    return {"right": right, "chance": 1 / len(np.unique(speakers))}


def curves(found: dict[str, Any]) -> dict[str, dict[str, dict[int, float]]]:
    """Return UAR by kind, corpus and lessons per label, of rooms of one voice."""
    return {
        kind: {
            corpus: {int(count): row["uar"] for count, row in figures["scenarios"]["1 voice"].items()}
            for corpus, figures in rows.items()
        }
        for kind, rows in found["kinds"].items()
    }


def table(found: dict[str, Any]) -> str:
    """Return the report as Markdown. Means leave out corpora that must not train: lessons are training, too."""
    parts = ["# What lessons are worth to strangers\n"]
    for kind, rows in found["kinds"].items():
        counted = [corpus for corpus in rows if corpus not in corpora.NEVER_TRAINED]
        lines = []
        for name in next(iter(rows.values()))["scenarios"]:
            counts = sorted({int(count) for figures in rows.values() for count in figures["scenarios"][name]})
            for count in counts:
                cells = [figures["scenarios"][name].get(str(count)) for figures in rows.values()]
                both = [row for corpus in counted if (row := rows[corpus]["scenarios"][name].get(str(count)))]
                gains = [row["uar"] - row["untaught"] for row in both]
                lines.append([
                    name, str(count), *("-" if cell is None else f"{100 * cell['uar']:.1f}" for cell in cells),
                    f"{100 * np.mean(gains):+.1f}" if gains and count else "",
                    f"{100 * min(gains):+.1f}" if gains and count else "",
                    f"{np.mean([row['ece'] for row in both]):.2f}" if gains else "",
                    f"{100 * np.mean([row['in_use'] for row in both]):.0f}" if gains and count else "",
                ])  # fmt: skip
        voices = ", ".join(f"{corpus} {figures['voices']} voices, {figures['clips']:,} clips"
                           for corpus, figures in rows.items())  # fmt: skip
        parts += [
            f"## {kind}\n",
            f"UAR in % over the labels of each corpus, none of which trained ({voices}), by lessons per label; a voice "
            "with too few clips for so many is left out, and gains are on the same clips:\n",
            markdown(["", "lessons", *rows, "mean gain", "least gain", "ECE", "in use, %"], lines),
            "Only two labels taught, recall of the others, in points: "
            + ", ".join(f"{corpus} {100 * figures['scenarios']['only two labels taught']['5']['others']:+.1f}"
                        for corpus, figures in rows.items()
                        if "5" in figures["scenarios"].get("only two labels taught", {})) + ".\n",
            "An embedding names the speaker, in % (guessing): "
            + ", ".join(f"{corpus} {100 * figures['names_the_speaker']['right']:.0f} "
                        f"({100 * figures['names_the_speaker']['chance']:.0f})" for corpus, figures in rows.items())
            + ".\n",
        ]  # fmt: skip
    if left_out := sorted({c for rows in found["kinds"].values() for c in rows if c in corpora.NEVER_TRAINED}):
        parts.append(
            "Not in the means: " + "; ".join(f"{name} ({corpora.NEVER_TRAINED[name]})" for name in left_out) + ".\n"
        )
    for kind, when in found.get("earlier", {}).items():
        parts.append(f"{kind} was measured earlier than the rest, with other draws: {when}.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
