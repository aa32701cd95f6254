"""One artifact: calibrated, converted, packed with its golden replay, verified, and only then put in place."""

import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from convert.config import ConvertConfig
from convert.graph import child
from convert.graph.ops import Graph, refuse_unsupported
from convert.graph.slim import slim
from convert.graph.worker import Job
from convert.verification.calibrate import Calibration, calibrate
from convert.verification.golden import TOLERANCE, with_golden
from convert.verification.reference import (
    embedding_of,
    forms_of,
    is_speech,
    logits,
    representative_rooms,
    representative_scenes,
    side_of,
    step_frames_of,
)
from convert.verification.verify import Verification, interpreters, verify
from edge.errors import ArtifactError, ConfigError
from edge.labels import trouble
from edge.model.artifact import write_artifact
from edge.model.embedding import Embedding
from edge.model.golden import Golden
from edge.model.manifest import DecisionDefaults, Manifest, Provenance
from train.data.features import Cache
from train.data.windows import standardized, windowed
from train.fitting.metrics import guesses
from train.fitting.runs import Run
from train.networks import registry

# A window that ends anywhere in the utterance, as the sensor asks while somebody still speaks.
_EARLIEST_END = 0.3


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact's calibration and verification, and where it was put; None if it failed a gate."""

    path: str | None
    calibration: Calibration | None
    verification: Verification


def make(
    run: Run, *, precision: str, form: str, out: Path, config: ConvertConfig, cache: Cache, name: str | None = None,
    calibration: Calibration | None = None,
) -> Result:  # fmt: skip
    """Convert a run and put the artifact at `out` if it passes every gate; a file already there stays otherwise.

    `calibration`: of the recipe, from other trainings; without it, the run's own validation side is asked.
    Raises ConfigError for labels that cannot be published, ArtifactError where the network has no such form, or the
    converter or a runtime fails.
    """
    if wrong := trouble(run.record.labels):
        raise ConfigError(f"{run.folder}: labels: {wrong}; train with others (train.labels)")
    if form not in (forms := forms_of(run)):
        raise ArtifactError(
            f"{run.folder}: {run.record.network} has the {' and the '.join(forms)} form, not {form} (--form {forms[0]})"
        )
    calibration = calibration or _calibration(run, form, config, cache)
    temperature = calibration.temperature if calibration else 1.0
    embedding = embedding_of(run, form)
    job = Job(
        run=str(run.folder), form=form, precision=precision, temperature=temperature,
        step_frames=step_frames_of(run, config.step_frames), embeds=bool(embedding and embedding.source == "graph"),
    )  # fmt: skip
    arrays = _representative(run, form, config, cache) if precision == "int8" else []
    graph = slim(child.convert(job, arrays, timeout_s=config.timeout_s))
    refuse_unsupported(Graph(graph))
    manifest = with_golden(
        graph,
        _manifest(run, job, calibration, name or run.record.name, config, embedding),
        interpreters(config),
        timeout_s=config.timeout_s,
    )
    with tempfile.TemporaryDirectory(prefix="roomtone-candidate-") as folder:
        candidate = Path(folder) / out.name
        write_artifact(candidate, graph, manifest)
        verification = verify(run, candidate, config, cache)
    if verification.failures:
        return Result(path=None, calibration=calibration, verification=verification)
    metrics = _metrics(run, calibration, verification)
    provenance = msgspec.structs.replace(manifest.provenance, metrics=metrics)
    write_artifact(out, graph, msgspec.structs.replace(manifest, provenance=provenance))
    verification = msgspec.structs.replace(verification, file_bytes=out.stat().st_size)  # with what was measured in it
    return Result(path=str(out), calibration=calibration, verification=verification)


def _calibration(run: Run, form: str, config: ConvertConfig, cache: Cache) -> Calibration | None:
    if not run.clips("validation"):
        return None
    side = side_of(run, "validation", cache)
    found = logits(run, side.frames, form=form, step_frames=step_frames_of(run, config.step_frames))
    return calibrate(side.truth, found, abstain_precision=config.abstain_precision)


def _representative(run: Run, form: str, config: ConvertConfig, cache: Cache) -> list[np.ndarray]:
    """Return standardized frames of the training side: utterances for a step network, windows otherwise."""
    if is_speech(run):
        return representative_scenes(run)
    if form == "utterance":
        return [representative_rooms(run)]
    side = side_of(run, "train", cache, limit=config.representative_clips)
    utterances = standardized(side.frames, run.record.normalization)
    if form == "step":
        return utterances
    rng = np.random.default_rng(0)
    ends = [max(1, int(len(frames) * rng.uniform(_EARLIEST_END, 1))) for frames in utterances]
    early = [frames[:end] for frames, end in zip(utterances, ends, strict=True)]
    return [windowed(utterances + early, run.record.window_frames)]


def _manifest(
    run: Run, job: Job, calibration: Calibration | None, name: str, config: ConvertConfig, embedding: Embedding | None
) -> Manifest:
    record = run.record
    step = job.form == "step"
    states: dict[str, Any] = {}
    if step:
        network = registry.module(record.network).step(run.model, frames=job.step_frames)
        states = {state: list(shape) for state, shape in network.states.items()}
    decision, moods = DecisionDefaults(), {}
    if calibration:
        decision = DecisionDefaults(enter=calibration.enter, exit=calibration.exit)
        if calibration.mood_enter is not None:
            moods = config.moods_of(record.labels)
            decision = msgspec.structs.replace(
                decision, mood_enter=calibration.mood_enter, arousal_enter=calibration.arousal_enter
            )
    return Manifest(
        name=re.sub(r"[^a-z0-9._-]+", "-", name.lower())[:64],
        version=re.sub(r"[^0-9]", "", record.created)[:12],
        architecture=record.network,
        form=job.form,
        precision=job.precision,
        labels=record.labels,
        features=record.features,
        normalization=record.normalization,
        window_frames=record.window_frames if job.form == "window" else None,
        functionals=record.functionals,
        baseline=record.baseline,
        embedding=embedding,
        step_frames=job.step_frames if step else None,
        states=states,
        temperature=job.temperature,
        decision=decision,
        moods=moods,
        golden=Golden(features=[], probs=[], probs_tolerance=TOLERANCE[job.precision]),  # chosen once it runs
        provenance=Provenance(
            corpora=record.corpora,
            protocol=f"{record.protocol} ({record.fold})",
            seed=record.seed,
            commit=record.commit,
            created=record.created,
        ),
    )


def _metrics(run: Run, calibration: Calibration | None, verification: Verification) -> dict[str, Any]:
    """Return what the manifest says about how good the model is: the artifact's own figures on the test side."""
    device = verification.devices[0]
    metrics: dict[str, Any] = {
        "test_clips": verification.clips,
        **({"figures_of": verification.heard} if verification.heard else {}),
        "test_accuracy": round(device.accuracy, 4),
        "test_uar": round(float(np.mean(list(device.recall.values()))), 4),
        "test_recall": {label: round(value, 4) for label, value in device.recall.items()},
        "keras_test_accuracy": round(verification.keras_accuracy, 4),
        "verified_in": [f"{device.runtime} {device.version}" for device in verification.devices],
    }
    if per_class := run.record.metrics["test"].get("per_class"):
        by_guessing = guesses(per_class)
        commonest = {"majority_label": by_guessing.commonest} if by_guessing.commonest else {}
        metrics |= {**commonest, "majority_accuracy": round(by_guessing.accuracy, 4)}
    if "noise" in run.record.metrics:
        metrics["noise"] = run.record.metrics["noise"]
    if calibration:
        metrics["calibration"] = {
            "clips": calibration.clips,
            "precision_at_enter": None if calibration.precision is None else round(calibration.precision, 4),
            "coverage_at_enter": round(calibration.coverage, 4),
            "ece": round(calibration.ece_after, 4),
        }
    return metrics
