"""Callback that compares a tested model with simple baselines, and checks its calibration and its test data."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import lightning.pytorch as L
import torch

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.language_modeling import LanguageModeling
from gpt_lightning.data.loader import ResumableLoader
from gpt_lightning.errors import InputError, RunError
from gpt_lightning.evaluation.verdict import tfidf
from gpt_lightning.evaluation.verdict.baselines import has_tfidf
from gpt_lightning.evaluation.verdict.calibration import fit_temperature
from gpt_lightning.evaluation.verdict.outcome import why_not_beaten
from gpt_lightning.evaluation.verdict.unigram import negative_log_likelihoods, unigram_log_probabilities
from gpt_lightning.evaluation.verdict.verdict import (
    NO_TRAINING_ROWS,
    OTHER_TRAINING_ROWS,
    UNREADABLE_TRAINING_ROWS,
    make_verdict,
)
from gpt_lightning.metrics.row_statistics import RowStatistics
from gpt_lightning.status import status
from gpt_lightning.tasks import SequenceClassification, Task

MustBeat = Literal["tfidf", "trivial"]
_MAX_LOGITS: Final = 5_000_000
"""Number of validation logits that a temperature is fitted on; of more, every n-th batch is taken."""


class Verdict(L.Callback):
    """Callback that collects what a verdict needs during ``test``; ``Evaluation`` prints it and writes it.

    Args:
        enabled: False makes no verdict.
        calibrate: fit a temperature on the validation rows.
        learning_curve: extrapolate the learning curve of TF-IDF.
        must_beat: baseline that the model must beat.
    """

    def __init__(
        self,
        enabled: bool = True,
        calibrate: bool = False,
        learning_curve: bool = False,
        must_beat: MustBeat | None = None,
    ) -> None:
        if not enabled:
            for name, value in (("calibrate", calibrate), ("learning_curve", learning_curve), ("must_beat", must_beat)):
                if value:
                    raise InputError(f"--{name} needs the verdict. Leave out --verdict=false")
        if must_beat == "tfidf":
            tfidf.check_installed("--must_beat=tfidf")
        if learning_curve:
            tfidf.check_installed("--learning_curve")
        self.enabled, self.calibrate, self.learning_curve, self.must_beat = (
            enabled,
            calibrate,
            learning_curve,
            must_beat,
        )
        self.record: dict[str, Any] | None = None
        """The verdict of the last test, on rank zero."""
        self._temperature: float | None = None
        self._unigram: torch.Tensor | None = None
        self._unigram_rows = RowStatistics(())
        self._why_not_train: str | None = None
        self._trained_on: str | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse options that the task or the data does not support, before the test takes its time.

        Raises:
            InputError: an option does not suit the task, or its data is missing.
        """
        if stage != "test" or not self.enabled:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        if self.must_beat is not None and isinstance(data, DataModule) and not data.sources["train"]:
            raise InputError(
                f"--must_beat={self.must_beat} needs the training data, which the baseline is trained on. Add it with "
                "-c RUN/config.yaml or --data.train=FILE"
            )
        if self.must_beat == "tfidf" and not has_tfidf(data):
            raise InputError(
                f"--must_beat=tfidf: there is no TF-IDF baseline for the rows of {type(data).__name__}. Give "
                "--must_beat=trivial"
            )
        if not self.calibrate:
            return
        if not isinstance(pl_module, SequenceClassification) or pl_module.multi_label:
            raise InputError("--calibrate needs a model with one label for each text. Leave it out")
        if not isinstance(data, DataModule) or not data.has_validation:
            raise InputError(
                "--calibrate needs validation rows. Add them with -c RUN/config.yaml or --data.validation=FILE"
            )
        if trainer.world_size > 1:
            raise InputError("--calibrate needs a single device. Add --trainer.devices=1")

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember the digest of the rows that the model was trained on."""
        found = checkpoint.get("identity", {}).get("data.train")
        self._trained_on = found if isinstance(found, str) else None

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the training rows, fit the temperature, and count the tokens of the training text.

        Raises:
            InputError: ``must_beat`` is set, and the training rows cannot be used.
        """
        self.record = None
        if isinstance(pl_module, Task):
            pl_module.keeps_test_rows = self.enabled
        if not self.enabled:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        self._unigram_rows.reset()
        if self.calibrate:
            assert isinstance(pl_module, SequenceClassification)
            with status("Fitting the temperature on the validation rows"):
                self._temperature = pl_module.calibration_temperature = _fit_temperature(trainer, pl_module, data)
        self._unigram = self._why_not_train = None
        if not isinstance(data, DataModule):
            return
        found = self._read_training_rows(data) if trainer.is_global_zero else (None, None)
        self._why_not_train, self._unigram = trainer.strategy.broadcast(found)
        if self.must_beat is not None and self._why_not_train is not None:
            raise InputError(f"--must_beat={self.must_beat}: {self._why_not_train}")

    def _read_training_rows(self, data: DataModule) -> tuple[str | None, torch.Tensor | None]:
        """Compare the training rows with those of the model; of language models, count their tokens.

        Returns:
            The reason why the rows cannot be used, None if they can; and the unigram model of a language model's text.
        """
        if not data.sources["train"]:
            return NO_TRAINING_ROWS, None
        try:
            if not self._are_those_of_the_model(data):
                return OTHER_TRAINING_ROWS, None
            if not isinstance(data, LanguageModeling):
                return None, None
            data.report("train", f"the verdict uses the text of {data.sources['train']}")
            with status("Counting the tokens of the training text"):
                return None, unigram_log_probabilities(data)
        except InputError as error:
            data.report("train", f"not used for the verdict: {error}")
            return UNREADABLE_TRAINING_ROWS, None

    def _are_those_of_the_model(self, data: DataModule) -> bool:
        """Return whether the training rows have the digest in the checkpoint, or the checkpoint has none."""
        if self._trained_on is None:
            return True
        with status("Comparing the training data with that of the model"):
            found = data.open_split("train").digest
        # A second word says whether attention was restricted to documents, which does not change the text.
        return found.partition(" ")[0] == self._trained_on.partition(" ")[0]

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the losses of the unigram model."""
        if self._unigram is None or not isinstance(batch, Mapping):
            return
        columns = {
            "nll": negative_log_likelihoods(self._unigram, batch["labels"]),
            "tokens": (batch["labels"] != IGNORE_INDEX).sum(1),
            "bytes": batch["num_bytes"],
        }
        self._unigram_rows.add(batch.get("ids", [""] * len(batch["labels"])), columns)

    def finish(self, trainer: L.Trainer, task: Task) -> dict[str, Any] | None:
        """Return the verdict on rank zero; None on other ranks, or if there is none. Every rank must call it."""
        if not self.enabled:
            return None
        rows, unigram_rows = gather_rows(task.test_rows, trainer), gather_rows(self._unigram_rows, trainer)
        if not trainer.is_global_zero:
            return None
        data = trainer.datamodule  # type: ignore[attr-defined]
        self.record = make_verdict(
            data if isinstance(data, DataModule) else None,
            rows,
            unigram=None if self._unigram is None else unigram_rows.columns(),
            temperature=self._temperature,
            with_learning_curve=self.learning_curve,
            why_not_train=self._why_not_train,
        )
        return self.record

    def check(self) -> None:
        """Refuse a model that does not beat the baseline of ``must_beat``.

        Raises:
            RunError: the difference could be chance, or the baseline is better.
            InputError: the baseline is missing.
        """
        if self.must_beat is not None:
            why_not = why_not_beaten({"verdict": self.record}, self.must_beat)
            if why_not is not None:
                raise RunError(f"--must_beat={self.must_beat}: {why_not}")


def gather_rows(rows: RowStatistics, trainer: L.Trainer) -> RowStatistics:
    """Return the rows of all ranks."""
    if trainer.world_size == 1:
        return rows
    parts: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(parts, rows)
    result = RowStatistics(rows.scores)
    result.extend(parts)
    return result


def _fit_temperature(trainer: L.Trainer, task: SequenceClassification, data: DataModule) -> float:
    """Return the temperature that suits the validation rows best.

    Raises:
        InputError: the validation rows have no labels.
    """
    loader = ResumableLoader(data.open_split("validation"), batch_size=data.batch_size)
    every = -(-len(loader) * data.batch_size * len(task.classes) // _MAX_LOGITS)
    logits, labels = [], []
    for number, batch in enumerate(loader):
        if number % every:
            continue
        batch = data.transfer_batch_to_device(batch, task.device, 0)
        with trainer.precision_plugin.test_step_context():
            logits.append(task(batch["input_ids"], batch["attention_mask"]).float().cpu())
        labels.append(batch["labels"].cpu())
    logits_NL, labels_N = torch.cat(logits), torch.cat(labels)
    is_labeled = labels_N != IGNORE_INDEX
    if not bool(is_labeled.any()):
        raise InputError("--calibrate needs validation rows with labels. Check --data.validation")
    return fit_temperature(logits_NL[is_labeled], labels_N[is_labeled])
