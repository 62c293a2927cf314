"""Callback that writes predictions as JSON Lines; each task's ``predict_step`` makes the records."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

import lightning.pytorch as L

from gpt_lightning.errors import InputError
from gpt_lightning.output_files import json_line, output_file, write_error
from gpt_lightning.tasks.finite import non_finite_output
from gpt_lightning.tasks.prediction_rows import with_texts

_REMEDY: Final = "Choose another file with --output or --predictions.path"


class PredictionWriter(L.Callback):
    """Callback that writes a JSON line for each row after every batch, so that memory does not grow with the rows.

    A line holds the prediction and the text of the row.

    The file appears when all predictions are in it. If ``predict`` fails or is interrupted, there is no file, or the
    old one is unchanged.

    Args:
        path: file to write. With several devices, each adds its number to the name.
        overwrite: replace an existing file. No configuration file may set it, only ``--overwrite``.
    """

    def __init__(self, path: str = "predictions.jsonl", overwrite: bool = False) -> None:
        self.path = Path(path)
        self.overwrite = overwrite
        self._num_rows = 0
        self._stack = ExitStack()
        self._file: BinaryIO | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Open the file, before the first batch is read.

        Raises:
            InputError: the file exists or cannot be written.
        """
        if stage != "predict":
            return
        if trainer.world_size > 1:
            self.path = self.path.with_stem(f"{self.path.stem}-{trainer.global_rank}")
        self._num_rows = 0
        self._file = self._stack.enter_context(output_file(self.path, self.overwrite, _REMEDY))

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Sequence[dict[str, Any]],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Append the predictions of one batch.

        Raises:
            RunError: a prediction is not finite, or the disk is full.
        """
        assert self._file is not None
        self._num_rows += len(outputs)
        text = "".join(map(_line, with_texts(outputs, batch)))
        try:
            self._file.write(text.encode(errors="replace"))  # lone surrogates have no UTF-8
        except OSError as error:
            raise write_error(self.path, error, _REMEDY) from error

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Finish the file, once every device has all of its rows, and print the number of predictions."""
        trainer.strategy.barrier("predictions")
        self._stack.close()
        print(f"{self._num_rows:,} predictions in {self.path}", flush=True)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Delete the unfinished file if there was no batch. Lightning then ends without ``on_predict_end``."""
        self._discard(InputError("there was no batch to predict"))

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Delete the unfinished file."""
        self._discard(exception)

    def _discard(self, reason: BaseException) -> None:
        self._stack.__exit__(type(reason), reason, reason.__traceback__)


def _line(row: dict[str, Any]) -> str:
    try:
        return json_line(row)
    except ValueError:
        raise non_finite_output(row.get("id")) from None
