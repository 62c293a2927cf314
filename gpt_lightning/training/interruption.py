"""Callback that ends training cleanly on Ctrl-C and SIGTERM."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning.pytorch as L
import torch.distributed
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from gpt_lightning.errors import Interrupted
from gpt_lightning.tasks import Task

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption(L.Callback):
    """Callback that delays SIGTERM and Ctrl-C to the end of the step, where ``Checkpoints`` can save.

    A validation during training ends after its current batch. A second Ctrl-C stops at once, and so does any signal
    outside of training, where there is nothing to save. With several ranks, a signal to one of them is enough: the
    ranks agree after each step, so that all of them stop after the same one.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._process = os.getpid()
        self._training = False
        self._agreement: tuple[Tensor, Any] | None = None

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Handle the signals while the block runs, in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._process = os.getpid()
        before = {each: signal.signal(each, self._handle) for each in SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Delay signals from here on."""
        self._training = True
        self._replace_handler()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Handle SIGTERM without Lightning."""
        self._replace_handler()

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Handle SIGTERM without Lightning."""
        self._replace_handler()

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Handle SIGTERM without Lightning."""
        self._replace_handler()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after a whole step if a signal has arrived."""
        assert isinstance(pl_module, Task)
        if not pl_module.is_accumulating:
            self._stop_if_signaled(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop within a validation during training if a signal has arrived. The validation runs again on a resume."""
        if trainer.state.fn == "fit":
            self._stop_if_signaled(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop at once on signals from here on: everything has been saved."""
        self._training = False

    def _replace_handler(self) -> None:
        """Replace Lightning's handler of SIGTERM, in which the ranks wait for each other."""
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # workers of a data loader are copies of this process
        if not self._training or (self.signum and signum == signal.SIGINT):
            self._training = False
            raise Interrupted(signum, between_steps=False)
        if not self.signum and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            again = " Press Ctrl-C again to stop at once." if signum == signal.SIGINT else ""
            name = signal.Signals(signum).name
            print(f"\n{name}: finishing the current step, then saving.{again}", file=sys.stderr, flush=True)
        self.signum = self.signum or signum

    def _stop_if_signaled(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        signum = self.signum
        if trainer.world_size > 1:
            # Read the result of the step before, which has arrived by now, so that no rank waits.
            signum = 0
            if self._agreement is not None:
                flag, work = self._agreement
                work.wait()
                signum = int(flag)
            flag = torch.tensor(float(self.signum), device=module.device)
            self._agreement = flag, torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, async_op=True)
        if signum:
            raise Interrupted(signum, between_steps=True)
