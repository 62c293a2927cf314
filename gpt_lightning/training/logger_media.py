"""Text and images for TensorBoard, CSV, MLflow, W&B, and loggers with W&B's methods."""

import inspect
import re
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as L
import numpy as np
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from numpy.typing import NDArray
from PIL import Image

from gpt_lightning.atomic_files import atomic_write

MEDIA: Final = "media"
"""Folder for text and images in the run folder of a ``CSVLogger``."""

_INLINE_MARKS: Final = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\`*_[]"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_LINE_MARKS: Final = re.compile(r"^((?:&nbsp;)*(?:\d+)?)([#+\-=~|.)])")
"""Characters that format a line which starts with them, such as ``# heading`` and ``1. item``."""


def show_text(trainer: L.Trainer, tag: str, markdown: str) -> None:
    """Log a text at the current step with every logger that can show text. Call this on rank zero only.

    Args:
        trainer: provides the loggers and the step.
        tag: name of the text in each logger, such as ``val/per_class``.
        markdown: the text.
    """
    step = trainer.global_step
    for logger in filter(shows_text, trainer.loggers):
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(tag, markdown, step)
        elif isinstance(logger, CSVLogger):
            with atomic_write(_media_file(logger, tag, step, ".md")) as file:
                file.write(markdown.encode())
        elif isinstance(logger, MLFlowLogger):
            name = _artifact(tag, step, ".md")
            logger.experiment.log_text(run_id=logger.run_id, text=markdown, artifact_file=name)
        else:
            _as_any(logger).log_text(key=tag, columns=["text"], data=[[markdown]], step=step)


def show_image(trainer: L.Trainer, tag: str, image: NDArray[np.uint8]) -> None:
    """Log an image at the current step with every logger that can show images. Call this on rank zero only.

    Args:
        trainer: provides the loggers and the step.
        tag: name of the image in each logger, such as ``val/confusion_matrix``.
        image: (H, W, 3) red, green and blue.
    """
    step = trainer.global_step
    for logger in filter(shows_images, trainer.loggers):
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, image, step, dataformats="HWC")
        elif isinstance(logger, CSVLogger):
            with atomic_write(_media_file(logger, tag, step, ".png")) as file:
                Image.fromarray(image).save(file, "PNG")
        elif isinstance(logger, MLFlowLogger):
            name = _artifact(tag, step, ".png")
            logger.experiment.log_image(run_id=logger.run_id, image=image, artifact_file=name)
        else:
            _as_any(logger).log_image(key=tag, images=[image], step=step)


def shows_text(logger: Logger) -> bool:
    """Return whether ``show_text`` reaches this logger."""
    return _is_known(logger) or _takes(logger, "log_text", {"key", "columns", "data", "step"})


def shows_images(logger: Logger) -> bool:
    """Return whether ``show_image`` reaches this logger."""
    return _is_known(logger) or _takes(logger, "log_image", {"key", "images", "step"})


def name_gaps(trainer: L.Trainer) -> None:
    """Print which loggers of a run cannot show text or images. Call this once, on rank zero only."""
    for logger in trainer.loggers:
        kinds = [kind for kind, shows in (("text", shows_text), ("images", shows_images)) if not shows(logger)]
        if kinds:
            print(
                f"{type(logger).__name__} cannot show {' or '.join(kinds)}; "
                "among those that can are TensorBoardLogger and CSVLogger (trainer.logger takes a list, too)",
                flush=True,
            )


def code_block(text: str) -> str:
    """Return Markdown that shows a text unchanged, as a block whose long lines do not wrap."""
    return "".join(f"    {line}\n" for line in text.splitlines())


def wrap_lines(text: str) -> str:
    """Return Markdown that shows a text with its line breaks and spaces, and wraps long lines."""
    lines = []
    for line in text.expandtabs(4).splitlines():
        escaped = re.sub("(?<= ) |^ ", "&nbsp;", line.translate(_INLINE_MARKS))
        # A backslash does not escape all of these characters.
        lines.append(_LINE_MARKS.sub(lambda found: f"{found[1]}&#{ord(found[2])};", escaped))
    return "  \n".join(lines)  # two spaces at the end of a line are a line break


def _is_known(logger: Logger) -> bool:
    return isinstance(logger, TensorBoardLogger | CSVLogger | MLFlowLogger)


def _takes(logger: Logger, method: str, arguments: set[str]) -> bool:
    """Return whether a logger has a method with Lightning's signature, which ``WandbLogger`` defines.

    Other packages have methods of the same name with different arguments.
    """
    found = getattr(logger, method, None)
    return callable(found) and arguments <= inspect.signature(found).parameters.keys()


def _as_any(logger: Logger) -> Any:
    """Return the logger without its type, as ``Logger`` declares no methods for text and images."""
    return logger


def _artifact(tag: str, step: int, suffix: str) -> str:
    return f"{tag}/step_{step}{suffix}"


def _media_file(logger: CSVLogger, tag: str, step: int, suffix: str) -> Path:
    """Return the path of a text or an image, and create its folder."""
    path = Path(logger.log_dir) / MEDIA / _artifact(tag, step, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
