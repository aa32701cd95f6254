"""What a training minimizes, and how: loss, optimizer and rate of a recipe."""

from typing import Any

import keras

from edge.errors import ConfigError
from train.config import Recipe
from train.fitting import contrast
from train.fitting.device import gpus


def compiled(model: keras.Model, recipe: Recipe, *, steps: int) -> keras.Model:
    """Return what is to be trained: the model with the recipe's optimizer and loss (cross-entropy on logits), and with
    a second output where the recipe asks for contrast. `cross_entropy` is measured besides: the loss may be a sum, and
    of smoothed labels.

    Raises ConfigError where it does and the model has one answer only, or where it asks for pretraining.
    """
    if recipe.pretraining:
        raise ConfigError(f"train.recipes: pretraining: {model.name} has none: another --recipe, or 0")
    if recipe.contrast:
        if len(model.output_shape) != 3:
            raise ConfigError(
                f"train.recipes: contrast: {model.name} answers once a clip and cannot use it: another --recipe"
            )
        model = contrast.with_head(model)
    optimizer = optimizer_of(model, recipe, steps=steps)
    # XLA on a CPU measured twelve times slower on convolutions and no faster on recurrent layers.
    jit = "auto" if gpus() else False
    # Weighted: where a network answers all along, padding and the first moment count nothing.
    right, entropy = (
        (keras.metrics.CategoricalAccuracy, keras.metrics.CategoricalCrossentropy) if recipe.votes
        else (keras.metrics.SparseCategoricalAccuracy, keras.metrics.SparseCategoricalCrossentropy)
    )  # fmt: skip
    measured = [right(name="accuracy"), entropy(name="cross_entropy", from_logits=True)]
    loss, shares = _loss(model, recipe), None
    if recipe.contrast:
        loss, shares, measured = [loss, contrast.loss], [1.0, recipe.contrast], [measured, []]
    model.compile(optimizer, loss=loss, loss_weights=shares, weighted_metrics=measured, jit_compile=jit)
    return model


def optimizer_of(model: keras.Model, recipe: Recipe, *, steps: int) -> keras.optimizers.Optimizer:
    """Return the recipe's optimizer for a model, with its rate over so many steps per epoch."""
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        total = steps * recipe.epochs
        warm = int(total * recipe.warmup)
        rate = keras.optimizers.schedules.CosineDecay(
            recipe.learning_rate / 25 if warm else recipe.learning_rate,
            total - warm,
            alpha=0.0,
            warmup_target=recipe.learning_rate if warm else None,
            warmup_steps=warm,
        )
    kinds = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}
    decay = {"weight_decay": recipe.weight_decay} if recipe.weight_decay or recipe.optimizer == "adamw" else {}
    optimizer = kinds[recipe.optimizer](rate, global_clipnorm=recipe.clip_norm, **decay)
    if decay:
        optimizer.exclude_from_weight_decay([value for value in model.trainable_variables if len(value.shape) < 2])
    # The first step would make these variables, and TensorFlow makes the graph of a step that does so twice.
    optimizer.build(model.trainable_variables)
    return optimizer


def _loss(model: keras.Model, recipe: Recipe) -> Any:
    if not recipe.label_smoothing and not recipe.votes:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    labels = model.outputs[0].shape[-1]

    def loss(truth, logits):  # per answer, so that weights of answers count
        wanted = truth  # a share of each label
        if not recipe.votes:
            shape = keras.ops.shape(logits)[:-1]
            wanted = keras.ops.one_hot(keras.ops.reshape(truth, shape), labels)
        return keras.losses.categorical_crossentropy(
            wanted, logits, from_logits=True, label_smoothing=recipe.label_smoothing
        )

    return loss
