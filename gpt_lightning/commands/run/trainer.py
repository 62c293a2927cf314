"""Trainer that reports the folder of its run, whichever loggers it has."""

import lightning.pytorch as L
from lightning.pytorch.trainer.states import TrainerFn


class RunTrainer(L.Trainer):
    """Trainer whose ``log_dir`` is the run folder, which ``fit`` passes as ``default_root_dir``.

    Lightning takes ``log_dir`` from the first logger. It is None for a logger of a server, and the working directory
    without a logger.
    """

    val_check_interval: int | float | None = None  # type: ignore[assignment]
    """Interval of validations, or None if it is a time. Lightning sets no attribute then, but its callbacks read it."""

    @property
    def log_dir(self) -> str | None:
        """Return the run folder, or None for a development run (``fast_dev_run``), which writes no file.

        Every rank must call this, as rank zero broadcasts its folder.
        """
        if self.state.fn != TrainerFn.FITTING:
            return super().log_dir
        folder = None if self.fast_dev_run else self.default_root_dir  # type: ignore[attr-defined]
        return self.strategy.broadcast(folder)
