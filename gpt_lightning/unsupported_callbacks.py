"""Callbacks of Lightning that would train wrongly here, with the option that replaces each."""

from typing import Final

_FREEZING: Final = (
    "adds parameters to the optimizer during training, which the schedule of the learning rate does not support. "
    "Freeze layers with model.fine_tuning.freeze, or give them smaller learning rates with "
    "model.fine_tuning.layer_lr_decay"
)

_REASONS: Final = {
    "BackboneFinetuning": _FREEZING,
    "BaseFinetuning": _FREEZING,
    "BatchSizeFinder": (
        "changes data.batch_size after the model and the data are built, so the run could not be resumed. Set "
        "data.batch_size; if memory runs out, halve it and double trainer.accumulate_grad_batches"
    ),
    "LearningRateFinder": (
        "sets an attribute that the optimizer of this package does not read. Set model.optimizer.lr; short runs with "
        "several values show which one is best"
    ),
    "ModelPruning": (
        "replaces the weights of the model by masked copies, which checkpoints and the optimizer do not support. Train "
        "a smaller model instead, such as one with a lower model.backbone.n_layer"
    ),
    "SpikeDetection": (
        "cannot restore its state from a checkpoint, so the run could not be resumed. Gradient clipping "
        "(trainer.gradient_clip_val) bounds every step, and model.optimizer.max_skipped_steps skips steps whose loss "
        "is not finite"
    ),
    "StochasticWeightAveraging": (
        "would have no effect: model.schedule sets the learning rate of each step, and checkpoints hold weights that "
        "are not averaged. Use EMAWeightAveraging, whose checkpoints hold the averaged weights"
    ),
}
"""Class name -> reason and remedy."""

_HOME: Final = "lightning.pytorch.callbacks."


def why_unsupported(name: str) -> str | None:
    """Return why a callback is unsupported, or None if it is supported.

    Args:
        name: class name, such as ``BatchSizeFinder``, or the full name in a module of Lightning.
    """
    short = name.rpartition(".")[2]
    is_lightnings = name == short or name.startswith(_HOME)
    return f"{short} is not supported: it {_REASONS[short]}" if is_lightnings and short in _REASONS else None
