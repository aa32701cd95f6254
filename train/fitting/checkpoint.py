"""Where a training stands after an epoch: weights, optimizer and curves, so that it can go on as if never stopped."""

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge.errors import ConfigError
from edge.files import write_atomically

STATE, BEST = "checkpoint/state.npz", "checkpoint/best.npz"


class Progress(msgspec.Struct, kw_only=True):
    """epochs done, a value per epoch in each curve, the epoch of the best validation, and seconds spent:
    by the clock in epochs, and of CPU in all, preparation too."""

    fingerprint: str
    epochs: int = 0
    best_epoch: int = 0
    curves: dict[str, list[float]] = {}
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def save(folder: Path, model: Any, progress: Progress) -> None:
    """Write the state atomically."""
    arrays = {f"weight_{index}": np.asarray(value) for index, value in enumerate(model.get_weights())}
    arrays |= {f"optimizer_{index}": _array(value) for index, value in enumerate(model.optimizer.variables)}
    arrays["progress"] = np.frombuffer(msgspec.json.encode(progress), np.uint8)
    write_atomically(folder / STATE, _packed(arrays))


def restore(folder: Path, model: Any, fingerprint: str) -> Progress:
    """Put a saved state into the model and its optimizer; a fresh Progress where none is saved.

    Raises ConfigError where the folder belongs to a training of other settings or data.
    """
    path = folder / STATE
    if not path.exists():
        return Progress(fingerprint=fingerprint)
    with np.load(path) as arrays:
        progress = msgspec.json.decode(arrays["progress"].tobytes(), type=Progress)
        if progress.fingerprint != fingerprint:
            raise ConfigError(
                f"{folder}: holds a training of other settings or data; give another --name, or remove it"
            )
        model.set_weights([arrays[f"weight_{index}"] for index in range(len(model.get_weights()))])
        model.optimizer.build(model.trainable_variables)
        for index, variable in enumerate(model.optimizer.variables):
            variable.assign(arrays[f"optimizer_{index}"])
    return progress


def reseed(model: Any, seed: int, epoch: int) -> None:
    """Let what a model draws in an epoch (dropout) depend on these alone, so that a resumed training is the same."""
    weights = {id(value) for value in model.weights}
    for index, state in enumerate(value for value in model.variables if id(value) not in weights):
        drawn = np.random.default_rng([seed, epoch, index]).integers(2**31, size=state.shape)
        state.assign(drawn.astype(state.dtype))


def epochs_done(folder: Path) -> int:
    """Return how many epochs a training in `folder` has behind it."""
    try:
        with np.load(folder / STATE) as arrays:
            return msgspec.json.decode(arrays["progress"].tobytes(), type=Progress).epochs
    except FileNotFoundError:
        return 0


def save_best(folder: Path, model: Any) -> None:
    """Keep the weights of the best epoch so far."""
    write_atomically(folder / BEST, _packed({f"{i:03d}": value for i, value in enumerate(model.get_weights())}))


def load_best(folder: Path, model: Any) -> None:
    """Put the weights of the best epoch into the model."""
    with np.load(folder / BEST) as arrays:
        model.set_weights([arrays[name] for name in sorted(arrays.files)])


def _array(variable: Any) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(variable)


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    box = io.BytesIO()
    np.savez(box, **arrays)
    return box.getvalue()
