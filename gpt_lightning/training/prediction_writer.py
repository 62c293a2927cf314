"""Callback that writes predictions as JSON Lines; each task's ``predict_step`` makes the records."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as L

from gpt_lightning.errors import InputError

_LINE_ENDS: Final = {ord(end): f"\\u{ord(end):04x}" for end in "\u0085\u2028\u2029"}
"""Line ends of ``str.splitlines`` that JSON does not escape -> their escapes."""


class PredictionWriter(L.Callback):
    """Callback that writes a JSON line for each row after every batch, so that memory does not grow with the rows.

    Args:
        path: file to write; an existing one is overwritten. With several devices, each adds its number to the name.
    """

    def __init__(self, path: str = "predictions.jsonl") -> None:
        self.path = Path(path)
        self._num_rows = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Create an empty file.

        Raises:
            InputError: the file cannot be written.
        """
        if stage != "predict":
            return
        if trainer.world_size > 1:
            self.path = self.path.with_stem(f"{self.path.stem}-{trainer.global_rank}")
        try:
            self.path.write_text("")
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}. Choose another file with --predictions.path"
            ) from None

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Sequence[dict[str, Any]],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Append the predictions of one batch."""
        self._num_rows += len(outputs)
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False).translate(_LINE_ENDS) + "\n" for row in outputs)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the number of predictions and the file."""
        print(f"{self._num_rows:,} predictions in {self.path}", flush=True)
