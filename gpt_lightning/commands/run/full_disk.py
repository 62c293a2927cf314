"""Errors of a training run on a full disk, whichever file it was writing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as L

from gpt_lightning.checkpoints.torch_files import cannot_write
from gpt_lightning.errors import is_full


@contextmanager
def reported_full_disk(trainer: L.Trainer) -> Iterator[None]:
    """Convert the errors of a full disk during the block, such as those of loggers, which name no file.

    TensorBoard writes in a thread of its own. Its next call in the main thread raises the error again, so the thread
    prints nothing.

    Raises:
        RunError: the disk is full.
    """
    before = threading.excepthook

    def ignore_repeated(arguments: threading.ExceptHookArgs) -> None:
        if not (isinstance(arguments.exc_value, OSError) and hasattr(arguments.thread, "exception")):
            before(arguments)

    threading.excepthook = ignore_repeated
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        place = error.filename or trainer.log_dir or trainer.default_root_dir
        raise cannot_write(Path(place), error) from error
    finally:
        threading.excepthook = before
