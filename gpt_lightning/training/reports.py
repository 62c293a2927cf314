"""Confusion matrix, per-class metrics, hardest examples and answers in the loggers after each validation."""

from collections.abc import Sequence

import lightning.pytorch as L
from torch import Tensor

from gpt_lightning.tasks import CausalLM, Task
from gpt_lightning.tasks.error_examples import escape
from gpt_lightning.training.answer_samples import show_answers
from gpt_lightning.training.confusion import draw
from gpt_lightning.training.logger_media import show_image, show_text


class Reports(L.Callback):
    """Callback that logs the confusion matrix, per-class metrics, hardest examples and answers after each validation.

    Every logger receives those of them that it can show.
    """

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Delete the examples of the previous validation, on every rank."""
        if isinstance(pl_module, Task) and not trainer.sanity_checking:
            pl_module.hardest_examples.reset()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the results that the task collected, on rank zero."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        if not isinstance(pl_module, Task):
            return
        show_answers(trainer, pl_module.answer_examples)
        if isinstance(pl_module, CausalLM) and not pl_module.answer_examples:
            return  # a language model that generated no text has no errors to report
        tables = pl_module.tables["val"]
        if "confusion_matrix" in tables:
            show_image(trainer, "val/confusion_matrix", draw(tables["confusion_matrix"], pl_module.classes))
        if "per_class" in tables:
            show_text(trainer, "val/per_class", class_table(tables["per_class"], pl_module.classes))
        examples = example_list(pl_module.hardest_examples.texts(), trainer.world_size)
        show_text(trainer, "val/hardest_examples", examples)


def class_table(per_class: Tensor, names: Sequence[str]) -> str:
    """Return a Markdown table of (K, 4) precision, recall, F1 and support of K classes."""
    lines = ["| class | precision | recall | F1 | support |", "|---|---:|---:|---:|---:|"]
    for name, (precision, recall, f1, support) in zip(names, per_class.tolist(), strict=True):
        lines.append(f"| {escape(name)} | {precision:.4f} | {recall:.4f} | {f1:.4f} | {support:.0f} |")
    return "\n".join(lines)


def example_list(examples: Sequence[str], world_size: int) -> str:
    """Return a numbered Markdown list of the hardest examples, each of them Markdown, the hardest first."""
    if not examples:
        return "No errors."
    # Each rank collects its own examples, and only rank zero logs.
    origin = f"From the rows of the first of {world_size} devices:\n\n" if world_size > 1 else ""
    return origin + "\n".join(f"{number}. {text}" for number, text in enumerate(examples, 1))
