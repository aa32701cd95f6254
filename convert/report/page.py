"""Size against accuracy against cost: a table on the terminal, JSON, and one HTML page to read in a minute."""

import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

import jinja2
import markupsafe
import msgspec

from convert.config import ConvertConfig
from convert.make import Result
from convert.report import charts
from convert.verification.calibrate import MIN_MISTAKES, MIN_SAID, Calibration
from convert.verification.verify import Verification
from edge.model.manifest import SELDOM
from train import pages
from train.data.clip import counted
from train.fitting.metrics import too_few

ONE_RUNTIME = "Not verified in a second runtime: convert.second_runtime is null or not set up (make setup-dev)."


def lines(result: Result) -> Iterator[str]:
    """Yield the artifact's figures as text, and why it was not put in place if it was not."""
    found = result.verification
    yield (
        f"{found.model_id}: {found.file_bytes / 1e3:.1f} kB, {found.multiply_adds_per_audio_s / 1e6:.2f} M "
        f"multiply-adds per second of audio; Keras {found.keras_accuracy:.4f} on {counted(found.clips, 'test clip')}"
    )
    if found.heard:
        yield f"  accuracies are of {found.heard}"
    if in_windows := of_windows(found):
        yield f"  ({in_windows})"
    if few := too_few(found.clips):
        yield f"  {few}"
    if said := result.calibration:
        right = "" if said.precision is None else f", {said.precision:.0%} of those right"
        yield (
            f"  calibrated on {said.clips} clips: temperature {said.temperature:.2f}; labels are said from "
            f"{said.enter:.2f} on, for {said.said} of them ({said.coverage:.0%}){right}"
        )
        if what := silence(said):
            yield f"  {what}"
        if why := doubt(said):
            yield f"  NOT a threshold to rely on: {why}"
        if said.mistakes < MIN_MISTAKES:
            yield (
                f"  of these clips it mistakes {said.mistakes}: {MIN_MISTAKES} at least are needed to correct how sure "
                "it is, so its probabilities stay as they are"
            )
    else:
        yield "  not calibrated: the run has no validation side, and no --calibration was given"
    for device in found.devices:
        yield (
            f"  {device.runtime} {device.version}: accuracy {device.accuracy:.4f}, agreement {device.agreement:.4f}, "
            f"largest probability difference {device.probs_difference:.2g}, load {device.load_ms:.1f} ms, "
            f"{device.inference_us:.0f} us per inference, {device.us_per_audio_s:.0f} us per second of audio"
        )
        if device.confusion_shift:
            yield "    changed: " + ", ".join(f"{what} ({count})" for what, count in device.confusion_shift.items())
    if len(found.devices) == 1:
        yield f"  {ONE_RUNTIME}"
    for failure in found.failures:
        yield f"  FAILED {failure}"
    yield f"  {result.path}" if result.path else "  not put in place"


def of_windows(found: Verification) -> str | None:
    """Return why Keras's accuracy is another than the training's; None where it is the same."""
    if found.keras_accuracy == found.window_accuracy:
        return None
    return (
        f"`fit` has {found.window_accuracy:.4f}, on the last window of each clip; the {found.form} form, as the sensor "
        "runs it, hears the whole clip"
    )


def silence(calibration: Calibration) -> str | None:
    """Return in words that the artifact will hardly ever say a label, and what helps; None where it will."""
    if calibration.coverage >= SELDOM:
        return None
    rest = "`unknown`" if calibration.mood_enter is None else "a mood or `unknown`"
    what = (
        f"ALMOST NOTHING: {calibration.said} of these {calibration.clips} clips get a label, the others {rest}"
        if calibration.said
        else f"NOTHING: none of these {calibration.clips} clips gets a label, all get {rest}"
    )
    return f"WILL NAME {what}; give it more clips, or train it longer (--epochs)"


def doubt(calibration: Calibration) -> str | None:
    """Return why labels are said from the highest threshold there is only; None where a threshold was found."""
    if calibration.reached:
        return None
    if calibration.clips < MIN_SAID:
        why = f"{MIN_SAID} clips at least are needed to find one"
    else:
        why = f"none at which {MIN_SAID} clips or more get a label is as right as convert.abstain_precision asks"
    return f"{why}; it is the highest there is"


def write(path: Path, results: Sequence[Result], config: ConvertConfig) -> None:
    """Write `path`.json and `path`.html."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "gates": config.gates, "results": results}
    Path(f"{path}.json").write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1))
    Path(f"{path}.html").write_text(page(results), encoding="utf-8")


def page(results: Sequence[Result]) -> str:
    """Return the report as one self-contained HTML page."""
    found = [result.verification for result in results]
    runtimes = list(dict.fromkeys(device.runtime for verification in found for device in verification.devices))
    labels = dict.fromkeys(label for verification in found for label in verification.keras_recall)
    # Precisions of a run and form share their calibration.
    calibrations = {
        f"{result.verification.run} {result.verification.form}": result.calibration
        for result in results
        if result.calibration
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([Path(__file__).parent, *pages.__path__]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.j2").render(
        results=results,
        passed=sum(result.path is not None for result in results),
        machine=machine(),
        runtimes=runtimes,
        first=runtimes[0],
        one_runtime=ONE_RUNTIME if len(runtimes) == 1 else "",
        artifacts=counted(len(results), "artifact"),
        of_windows=of_windows,
        labels=list(labels),
        too_few=too_few,
        doubt=doubt,
        silence=silence,
        chart=markupsafe.Markup(charts.size_and_cost(found)),
        calibrations=[
            {"name": name, "calibration": calibration, "chart": markupsafe.Markup(charts.reliability(calibration))}
            for name, calibration in calibrations.items()
        ],
        by_name=lambda devices, name: next((device for device in devices if device.runtime == name), None),
    )


def machine() -> str:
    """Return what the times were measured on."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()
