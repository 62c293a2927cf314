"""Callback that ends a run cleanly when a signal asks for it."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning.pytorch as L
import torch.distributed
from torch import Tensor

from gpt_lightning.errors import Interrupted
from gpt_lightning.tasks import Task

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption(L.Callback):
    """Lets SIGTERM and Ctrl-C wait for the end of the step, or end a validation; ``Checkpoints`` then saves.

    A second Ctrl-C does not wait. Outside of training there is nothing to save, and no signal waits. With several ranks
    it is enough that one of them is asked: each step they agree, so that all end after the same one.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._training = False
        self._asked: tuple[Tensor, Any] | None = None

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Handle the signals while the block runs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self._handle) for each in SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From here on there is something to save."""
        self._training = True
        # Lightning has put a handler in front of ours that ends ranks one by one.
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGTERM, self._handle)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End between two steps."""
        assert isinstance(pl_module, Task)
        if not pl_module.is_accumulating:
            self._end_if_asked(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """End within a validation during training: it is run again."""
        if trainer.state.fn == "fit":
            self._end_if_asked(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Everything has been saved."""
        self._training = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if not self._training or (self.signum and signum == signal.SIGINT):
            self._training = False
            raise Interrupted(signum, between_steps=False)
        if not self.signum:
            print(f"\n{signal.Signals(signum).name}: the step is finished, then saved", file=sys.stderr, flush=True)
        self.signum = self.signum or signum

    def _end_if_asked(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        signum = self.signum
        if trainer.world_size > 1:
            # The answer to the question of the step before has come by now: nobody waits for it.
            answer = 0
            if self._asked is not None:
                flag, work = self._asked
                work.wait()
                answer = int(flag)
            flag = torch.tensor(float(self.signum), device=module.device)
            self._asked = flag, torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, async_op=True)
            signum = answer
        if signum:
            raise Interrupted(signum, between_steps=True)
