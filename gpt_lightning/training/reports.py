"""What a head got wrong, seen at each validation."""

from collections.abc import Sequence

import lightning.pytorch as L
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from gpt_lightning.tasks import CausalLM, Task
from gpt_lightning.tasks.error_examples import escape
from gpt_lightning.training.confusion import draw


class Reports(L.Callback):
    """Writes the confusion matrix, a table of the classes and the worst errors to TensorBoard after each validation."""

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the errors of the validation before, on every rank."""
        if isinstance(pl_module, Task) and not trainer.sanity_checking:
            pl_module.hardest_examples.reset()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write what the task has kept, on rank zero."""
        logger = trainer.logger
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        # What comes next is no class: a language model has neither a matrix nor single errors.
        if not isinstance(pl_module, Task) or isinstance(pl_module, CausalLM):
            return
        if not isinstance(logger, TensorBoardLogger):
            return
        board, step, tables = logger.experiment, trainer.global_step, pl_module.tables["val"]
        if "confusion_matrix" in tables:
            picture = draw(tables["confusion_matrix"], pl_module.classes)
            board.add_image("val/confusion_matrix", picture, step, dataformats="HWC")
        if "per_class" in tables:
            board.add_text("val/per_class", class_table(tables["per_class"], pl_module.classes), step)
        board.add_text("val/worst_errors", error_list(pl_module.hardest_examples.texts(), trainer.world_size), step)


def class_table(per_class: Tensor, names: Sequence[str]) -> str:
    """Markdown of (K, 4) precision, recall, F1 and support of the K names."""
    lines = ["| class | precision | recall | F1 | support |", "|---|---:|---:|---:|---:|"]
    for name, (precision, recall, f1, support) in zip(names, per_class.tolist(), strict=True):
        lines.append(f"| {escape(name)} | {precision:.4f} | {recall:.4f} | {f1:.4f} | {support:.0f} |")
    return "\n".join(lines)


def error_list(errors: Sequence[str], world_size: int) -> str:
    """One page of Markdown of errors, each Markdown itself, the worst first."""
    if not errors:
        return "No errors."
    # Each rank keeps its own, and only one writes.
    whose = f"Among the rows of the first of {world_size} devices:\n\n" if world_size > 1 else ""
    return whose + "\n".join(f"{number}. {text}" for number, text in enumerate(errors, 1))
