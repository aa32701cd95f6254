"""The report's pictures, each as PNG bytes."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from edge.features.mfcc import MfccSpec, dct_matrix
from edge.sound.blocks import SAMPLE_RATE_HZ
from train.fitting import metrics

DPI = 80
_WIDE = 10.0  # as many times the least is the most, or more: on a logarithmic axis
# Said under `curves`, beside tables of the finished network's figures.
OF_CURVES = (
    "A training curve is the mean over each epoch's batches as they trained: while the weights still changed, with "
    "dropout, with each batch's own statistics where a network has BatchNorm, and on sounds changed where the recipe "
    "augments them. Tables, and validation curves, are of the network as it is used, on the clips as they are. Where a "
    "training is short the two can lie far apart. Both sides' cross-entropy is of labels as they are: what a training "
    "minimizes may be another sum (smoothed labels, contrast), and is the curve loss of run.json and TensorBoard."
)


def curves(rows: dict[str, Any]) -> bytes:
    """Loss and accuracy per epoch, a row per network: the study's Figures 1 to 4."""
    networks = [name for name, row in rows.items() if "curves" in row]
    figure, axes = plt.subplots(len(networks), 2, figsize=(9, 2.3 * len(networks)), squeeze=False)
    for name, (loss, accuracy) in zip(networks, axes, strict=True):
        found = rows[name]["curves"]
        entropy = "cross_entropy" if "cross_entropy" in found else "loss"  # reports from before have that alone
        for axis, key in ((loss, entropy), (accuracy, "accuracy")):
            for curve, side in ((key, "training"), (f"val_{key}", "validation")):
                if curve in found:
                    axis.plot(range(1, len(found[curve]) + 1), found[curve], label=side, linewidth=1)
            axis.set(xlabel="epoch", ylabel=key.replace("_", "-"), title=name.upper())
            axis.xaxis.get_major_locator().set_params(integer=True)
        _logarithmic_if_wide(loss)
        _legend(accuracy)
    return _png(figure)


def _legend(axis: plt.Axes) -> None:
    """Say what the lines are to the right of them, where they cover none."""
    axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)


def _logarithmic_if_wide(axis: plt.Axes) -> None:
    """Give values of very different size a logarithmic axis with plain figures at 1, 2 and 5 (or powers of ten)."""
    values = np.concatenate([line.get_ydata() for line in axis.get_lines()] or [np.ones(1)])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values) or values.max() < _WIDE * values.min():
        return
    axis.set_yscale("log")
    several = values.max() > _WIDE**2 * values.min()
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0,) if several else (1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())


def confusion(name: str, counts: Sequence[Sequence[int]], labels: Sequence[str]) -> bytes:
    """A confusion matrix: rows are the truth, in shares of it, with counts written in."""
    matrix = np.array(counts, float)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(4.2, 3.9))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column]:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, f"{matrix[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=7)
    axis.set_xticks(range(len(labels)), labels, rotation=45, ha="right", fontsize=8)
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set(xlabel="answer", ylabel="truth", title=name.upper())
    return _png(figure)


def robustness(found: dict[str, dict[str, float]]) -> bytes:
    """Accuracy by condition, a line per network."""
    figure, axis = plt.subplots(figsize=(7, 3.2))
    for network, accuracies in found.items():
        axis.plot(list(accuracies), list(accuracies.values()), marker="o", markersize=3, label=network.upper())
    axis.set(ylabel="accuracy", ylim=(0, 1.02), title="noise (speech to noise) and rooms")
    axis.tick_params(axis="x", labelsize=8)
    _legend(axis)
    return _png(figure)


def coverage(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Accuracy of the surest answers over their share of all, and how sure against how right: a line per corpus.

    found: truth (n,) and probabilities (n, labels) by corpus.
    """
    figure, (kept, sure) = plt.subplots(1, 2, figsize=(9, 3.4))
    sure.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    for corpus, (truth, probs) in found.items():
        shares, accuracy = metrics.coverage_curve(truth, probs)
        kept.plot(shares[10:], accuracy[10:], label=corpus)
        confidence, right, _ = metrics.equal_mass(truth, probs)
        sure.plot(confidence, right, marker="o", markersize=3, label=corpus)
    kept.set(xlabel="share of clips that get a label", ylabel="accuracy of these", xlim=(0, 1), ylim=(0, 1.02))
    sure.set(xlabel="probability", ylabel="share right", xlim=(0, 1), ylim=(0, 1.02))
    _legend(sure)
    return _png(figure)


def scalability(found: dict[str, list[dict[str, float]]]) -> bytes:
    """Accuracy and seconds against training clips, a line per network."""
    figure, (accuracy, seconds) = plt.subplots(1, 2, figsize=(9, 3))
    for network, points in found.items():
        clips = [point["clips"] for point in points]
        accuracy.plot(clips, [point["accuracy"] for point in points], marker="o", markersize=3, label=network.upper())
        seconds.plot(clips, [point["seconds"] for point in points], marker="o", markersize=3, label=network.upper())
    accuracy.set(xlabel="training clips", ylabel="test accuracy")
    seconds.set(xlabel="training clips", ylabel="seconds of training")
    _logarithmic_if_wide(seconds)
    _legend(seconds)
    return _png(figure)


def sound(title: str, samples: np.ndarray, frames: np.ndarray, spec: MfccSpec) -> bytes:
    """Waveform, log-mel bands and MFCC of a clip."""
    figure, (wave, mel, cepstrum) = plt.subplots(3, 1, figsize=(6, 5), height_ratios=[1, 2, 2])
    wave.plot(np.arange(len(samples)) / SAMPLE_RATE_HZ, samples, linewidth=0.4)
    wave.set(title=title, ylabel="sample", xlim=(0, len(samples) / SAMPLE_RATE_HZ))
    bands = frames @ dct_matrix(spec.coefficients, spec.mels)
    end_s = len(frames) / spec.frames_per_s
    for axis, values, name in ((mel, bands, "mel band"), (cepstrum, frames[:, 1:], "MFCC (from 1)")):
        axis.imshow(values.T, aspect="auto", origin="lower", cmap="magma", extent=(0, end_s, 0, values.shape[1]))
        axis.set(ylabel=name)
    cepstrum.set(xlabel="s")
    return _png(figure)


def _png(figure: plt.Figure) -> bytes:
    figure.tight_layout()
    box = io.BytesIO()
    figure.savefig(box, format="png", dpi=DPI)
    plt.close(figure)
    return box.getvalue()


def lessons(found: dict[str, dict[str, dict[int, float]]], *, apart: Sequence[str]) -> bytes:
    """UAR by lessons per label, a panel per kind of model, a line per corpus; dashed for those that stand `apart`."""
    names = sorted({corpus for corpora in found.values() for corpus in corpora})
    figure, axes = plt.subplots(1, len(found), figsize=(4.5 * len(found), 3.6), sharey=True, squeeze=False)
    for axis, (kind, corpora) in zip(axes[0], found.items(), strict=True):
        for corpus, uar in corpora.items():
            axis.plot(
                list(uar), [100 * value for value in uar.values()], "--" if corpus in apart else "-", marker="o",
                markersize=3, color=f"C{names.index(corpus)}",
            )  # fmt: skip
        counts = sorted({count for uar in corpora.values() for count in uar})
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.set(xlabel="lessons per label", title=kind, ylim=(0, 100))
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("UAR, %")
    for corpus in names:  # of every panel, beside the last
        axes[0][-1].plot([], [], "--" if corpus in apart else "-", color=f"C{names.index(corpus)}", label=corpus)
    _legend(axes[0][-1])
    return _png(figure)
