"""The manifest: what stands inside an artifact, and is the truth after training."""

from typing import Annotated, Any, Literal, get_args

import msgspec

from edge.errors import ArtifactError
from edge.features.baseline import Prior
from edge.features.functionals import names
from edge.features.mfcc import MfccSpec
from edge.features.normalize import Normalization
from edge.labels import mood_trouble, trouble
from edge.model.embedding import MOMENTS, Embedding
from edge.model.golden import Golden

SCHEMA = 1
SELDOM = 0.1  # of the clips: a model that names fewer is as good as silent
Form = Literal["window", "step", "utterance"]
Precision = Literal["float32", "float16", "dynamic", "int8"]
FORMS, PRECISIONS = get_args(Form), get_args(Precision)

Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=600_000)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class DecisionDefaults(_Part, kw_only=True):
    """How probabilities become labels and moods, unless the sensor's config says otherwise (edge/hearing/decision.py,
    edge/hearing/mood.py)."""

    smoothing_ms: Milliseconds = 240
    enter: Ratio = 0.5
    exit: Ratio = 0.35
    dwell_ms: Milliseconds = 240
    unknown_after_ms: Milliseconds = 800
    first_within_ms: Milliseconds = 960
    refractory_ms: Milliseconds = 800
    mood_enter: Ratio = 0.5
    arousal_enter: Ratio | None = None


class Corpus(_Part, kw_only=True):
    """A corpus the model was trained on."""

    name: str
    licence: str


class Provenance(_Part, kw_only=True):
    """Where the model comes from; `metrics` are the honest figures of its report."""

    corpora: list[Corpus]
    protocol: str
    seed: int
    commit: str
    created: str
    metrics: dict[str, Any] = {}


class Manifest(_Part, kw_only=True):
    """Everything the sensor needs to know about a graph.

    `labels` are in the order of the graph's output. A `window` graph maps `window_frames` standardized frames to
    probabilities; a `step` graph maps `step_frames` frames and the `states` (shapes by input name; the output of the
    same name with `_out`) to probabilities and the next states; an `utterance` graph maps `functionals` (names of
    edge/features/functionals.py, in the order of its input), heard against the room's baseline, to probabilities.
    `temperature` is already folded into the graph. `moods` groups labels, each in one mood at most. Only a model with
    an `embedding` can be taught.
    """

    schema: Literal[1] = SCHEMA
    name: Name
    version: str
    architecture: str
    form: Form
    precision: Precision
    labels: Annotated[list[str], msgspec.Meta(max_length=64)]  # what each may be: edge/labels.py
    features: MfccSpec
    normalization: Normalization | None = None
    window_frames: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None
    step_frames: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    states: dict[str, list[Annotated[int, msgspec.Meta(ge=1, le=65_536)]]] = {}
    functionals: list[Annotated[str, msgspec.Meta(max_length=64)]] | None = None
    baseline: Prior | None = None
    embedding: Embedding | None = None
    temperature: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    decision: DecisionDefaults = DecisionDefaults()
    moods: dict[str, list[str]] = {}
    golden: Golden
    provenance: Provenance

    @property
    def model_id(self) -> str:
        """What every message says about the model: name, version, form and precision."""
        return f"{self.name}-{self.version}-{self.form}-{self.precision}"

    @property
    def teachable(self) -> bool:
        """Whether lessons can be learned from what it hears: older models say nothing of an utterance but its label."""
        return self.embedding is not None

    @property
    def silence(self) -> str:
        """In words that it will hardly ever say a label, as its calibration found; empty where it will, or where that
        is not known."""
        calibration = self.provenance.metrics.get("calibration")
        coverage = calibration.get("coverage_at_enter") if isinstance(calibration, dict) else None
        if not isinstance(coverage, int | float) or coverage >= SELDOM:
            return ""
        rest = "a mood or `unknown`" if self.moods else "`unknown`"
        return (
            f"names {'almost ' if coverage > 0 else ''}nothing: from {self.decision.enter:g} on, {coverage:.1%} of the "
            f"clips that it was calibrated on get a label, all others {rest}"
        )

    def silence_from(self, enter: float | None) -> str:
        """`silence` of a sensor whose configuration says from where on to name a label (None: it leaves that to the
        model): nothing is known of another threshold."""
        return self.silence if enter is None else ""


# Which fields belong to which forms.
_BELONGS = {
    "normalization": ("window", "step"),
    "window_frames": ("window",),
    "step_frames": ("step",),
    "functionals": ("utterance",),
    "baseline": ("utterance",),
}


def decode(data: bytes) -> Manifest:
    """Return the manifest in `data` (JSON). Raises ArtifactError where it is not one or contradicts itself."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ArtifactError(f"manifest: {error}") from error
    if wrong := trouble(manifest.labels):
        raise ArtifactError(f"manifest: labels: {wrong}")
    if wrong := mood_trouble(manifest.moods, manifest.labels):
        raise ArtifactError(f"manifest: moods: {wrong}")
    if manifest.features.sample_rate_hz != (heard := MfccSpec().sample_rate_hz):
        raise ArtifactError(f"manifest: features.sample_rate_hz: the sensor hears {heard} samples a second")
    for field, forms in _BELONGS.items():
        if (manifest.form in forms) != (getattr(manifest, field) is not None):
            raise ArtifactError(f"manifest: {field}: belongs to the {' and the '.join(forms)} form, and only there")
    if manifest.form == "utterance":
        _check_functionals(manifest)
    else:
        width = manifest.features.coefficients
        if len(manifest.normalization.mean) != width or len(manifest.normalization.std) != width:
            raise ArtifactError(f"manifest: normalization: expected {width} values in mean and std")
    if manifest.embedding is not None:
        _check_embedding(manifest)
    return manifest


def _check_functionals(manifest: Manifest) -> None:
    """Raise ArtifactError where functionals and baseline are not those of one front end, one value for each."""
    wanted, known = manifest.functionals, names(manifest.features)
    if unknown := [name for name in wanted if name not in known]:
        raise ArtifactError(f"manifest: functionals: there is none called {unknown[0]!r}")
    if not wanted or len(set(wanted)) != len(wanted):
        raise ArtifactError("manifest: functionals: expected at least one, and none twice")
    for field in ("mean", "within", "between"):
        if len(getattr(manifest.baseline, field)) != len(wanted):
            raise ArtifactError(f"manifest: baseline.{field}: expected {len(wanted)} values, one per functional")
    if manifest.states:
        raise ArtifactError("manifest: states: belongs to the step form, and only there")


def _check_embedding(manifest: Manifest) -> None:
    """Raise ArtifactError where the model has no such embedding."""
    source, dimensions = manifest.embedding.source, manifest.embedding.dimensions
    if source == "moments" and (dimensions % 2 or manifest.states.get(MOMENTS) != [1, 1 + dimensions]):
        raise ArtifactError(f"manifest: embedding: needs a state {MOMENTS!r} of [1, {1 + dimensions}], half of it sums")
    if source == "functionals" and len(manifest.functionals or ()) != dimensions:
        raise ArtifactError(f"manifest: embedding: expected {dimensions} functionals")


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as JSON, ordered and indented to be read by people."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)
