"""Callback that logs the validation loss of language models by position, token frequency and document length."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import lightning.pytorch as L
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.models.lm_head import LMHead
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.tags import LOSS_BY_FREQUENCY, LOSS_BY_LENGTH, LOSS_BY_POSITION
from gpt_lightning.training.checkpoint_callback import tokenizer_of
from gpt_lightning.training.diagnostics.layers import is_sharded

MAX_BATCHES: Final = 20
"""Validation batches that are measured, from the first. Each of them computes the output layer twice."""
_FREQUENCIES: Final = {"at_least_1e-2": 1e-2, "at_least_1e-3": 1e-3, "at_least_1e-4": 1e-4, "below_1e-4": 0.0}
"""Name of a range -> its lowest share of all tokens."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class LossDiagnostics(L.Callback):
    """Callback that logs mean losses of ranges of tokens after each validation of a language model.

    ``val_loss_by_position/0004-0015`` is the mean loss of the tokens at these positions of a row, from 0.
    ``val_loss_by_token_frequency/at_least_1e-3`` is that of the tokens that make up at least 0.1 % of the measured
    tokens, but less than the next larger range. ``val_loss_by_document_length/0016-0063`` is that of the documents with
    so many tokens in their row, in data where the end-of-text token separates documents. The first 20 batches of the
    first device are measured.
    """

    def __init__(self) -> None:
        self._sums: TokenLosses | None = None
        self._hook: RemovableHandle | None = None
        self._measured: tuple[Tensor, Tensor] | None = None
        """Losses and labels of the tokens of the batch, (B, T) each."""

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start new sums."""
        is_measured = trainer.state.fn == "fit" and not trainer.sanity_checking and trainer.is_global_zero
        has_losses = isinstance(getattr(pl_module, "head", None), LMHead) and not is_sharded(trainer)
        self._sums = TokenLosses() if is_measured and has_losses else None

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Follow the output layer."""
        if self._sums is None or batch_idx >= MAX_BATCHES:
            return
        assert isinstance(pl_module, Task)
        self._measured = None
        self._hook = pl_module.head.register_forward_hook(self._measure, with_kwargs=True)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the losses of the batch."""
        if self._hook is None or self._sums is None:
            return
        self._hook.remove()
        self._hook = None
        if self._measured is None:
            return
        losses, labels = self._measured
        tokenizer = tokenizer_of(trainer)
        has_documents = "decoder_input_ids" not in batch and batch["input_ids"].shape == labels.shape
        ends = batch["input_ids"].cpu().numpy() == tokenizer.end_of_text_id if tokenizer and has_documents else None
        self._sums.add(losses.double().cpu().numpy(), labels.cpu().numpy(), ends)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the mean losses."""
        sums, self._sums = self._sums, None
        if sums is not None and (means := dict(sums.means())):
            trainer._logger_connector.log_metrics(means, trainer.global_step)  # type: ignore[arg-type]

    def _measure(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> None:
        """Compute the loss of each token, when the task has computed their sum."""
        labels = args[1] if len(args) > 1 else kwargs.get("labels")
        if labels is None or labels.ndim != 2 or self._measured is not None:
            return  # a task of the user's own may compute its losses in parts
        # Not a call of the module, which would call this hook again.
        losses = LMHead.forward(module, args[0], labels, reduction="none")  # type: ignore[arg-type]
        self._measured = losses.detach(), labels


class TokenLosses:
    """Sums of token losses by position, by token, and by length of the document."""

    def __init__(self) -> None:
        self._by_position = _Sums()
        self._by_token = _Sums()
        self._by_length = _Sums()
        self._has_documents = False

    def add(self, losses_BT: Floats, labels_BT: Ints, ends_BT: NDArray[np.bool_] | None = None) -> None:
        """Add a batch.

        Args:
            losses_BT: (B, T), loss of each token in nats.
            labels_BT: (B, T), the tokens that were predicted, or ``IGNORE_INDEX``.
            ends_BT: (B, T), True for inputs that end a document; a new one begins with them. None without documents.
        """
        is_labeled = labels_BT != IGNORE_INDEX
        losses = losses_BT[is_labeled]
        positions = np.broadcast_to(np.arange(labels_BT.shape[1]), labels_BT.shape)
        self._by_position.add(positions[is_labeled], losses)
        self._by_token.add(labels_BT[is_labeled], losses)
        if ends_BT is not None:
            self._has_documents |= bool(ends_BT.any())
            numbers = ends_BT.cumsum(1) + np.arange(len(ends_BT))[:, None] * (ends_BT.shape[1] + 1)
            _, index, counts = np.unique(numbers[is_labeled], return_inverse=True, return_counts=True)
            self._by_length.add(counts[index], losses)

    def means(self) -> Iterator[tuple[str, float]]:
        """Yield (tag, mean loss) for each range that has tokens."""
        yield from self._by_position.means_of_ranges(LOSS_BY_POSITION)
        totals, counts = self._by_token.sums, self._by_token.counts
        shares = counts / max(counts.sum(), 1)
        upper = np.inf
        for name, lowest in _FREQUENCIES.items():
            chosen = (shares >= lowest) & (shares < upper) & (counts > 0)
            upper = lowest
            if chosen.any():
                yield f"{LOSS_BY_FREQUENCY}/{name}", float(totals[chosen].sum() / counts[chosen].sum())
        if self._has_documents:
            yield from self._by_length.means_of_ranges(LOSS_BY_LENGTH)


class _Sums:
    """Sums and counts of losses by a number, such as a position."""

    def __init__(self) -> None:
        self.sums: Floats = np.zeros(0)
        self.counts: Ints = np.zeros(0, np.int64)

    def add(self, keys: Ints, losses: Floats) -> None:
        """Add the loss of each key, (N,) each."""
        size = max(len(self.sums), int(keys.max(initial=-1)) + 1)
        sums, counts = np.zeros(size), np.zeros(size, np.int64)
        sums[: len(self.sums)], counts[: len(self.counts)] = self.sums, self.counts
        np.add.at(sums, keys, losses)
        np.add.at(counts, keys, 1)
        self.sums, self.counts = sums, counts

    def means_of_ranges(self, group: str) -> Iterator[tuple[str, float]]:
        """Yield (tag, mean loss) for the keys 0, 1 to 3, 4 to 15, 16 to 63, and so on."""
        start, stop = 0, 1
        while start < len(self.counts):
            count = self.counts[start:stop].sum()
            if count:
                yield f"{group}/{start:06d}-{stop - 1:06d}", float(self.sums[start:stop].sum() / count)
            start, stop = stop, 4 * stop
