"""Steps and epochs of logged metrics, and the order in which TensorBoard shows their groups."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import Logger

from gpt_lightning.tasks import tags
from gpt_lightning.training import StepAxis, Throughput
from tests.heads import CommandLine
from tests.runs import causal_lm, language_modeling, trainer
from tests.training.test_lm_eval_callback import Kept
from tests.training.test_reports import cli, events_of

__all__ = ["cli"]


def fit(folder: Path, logger: Logger, accumulate: int = 1) -> None:
    loop = trainer(
        folder,
        logger=logger,
        callbacks=[StepAxis(), Throughput()],
        max_steps=4,
        log_every_n_steps=2,
        val_check_interval=2 * accumulate,
        check_val_every_n_epoch=None,
        accumulate_grad_batches=accumulate,
    )
    loop.fit(causal_lm(), datamodule=language_modeling(folder))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_metrics_are_logged_at_the_number_of_finished_steps(tmp_path: Path, accumulate: int) -> None:
    kept = Kept()
    fit(tmp_path, kept, accumulate)
    assert "epoch" not in kept.values
    for name in ("train/loss", tags.EPOCH, tags.TOKENS):
        assert list(kept.values[name]) == [2, 4], name
    # Step 4 has only one micro-batch if it is the second of an epoch of five, so no validation follows it.
    assert list(kept.values["val/loss"]) == [2, 4][: 3 - accumulate]


def test_the_epoch_is_logged(tmp_path: Path) -> None:
    kept = Kept()
    loop = trainer(tmp_path, logger=kept, callbacks=[StepAxis()], max_epochs=3, log_every_n_steps=5)
    loop.fit(causal_lm(), datamodule=language_modeling(tmp_path))
    assert kept.values[tags.EPOCH] == {5: 0, 10: 1, 15: 2}


def test_a_second_fit_and_a_step_of_the_users_own(tmp_path: Path) -> None:
    kept = Kept()
    loop = trainer(tmp_path, logger=kept, callbacks=[StepAxis()], max_steps=2)
    task, data = causal_lm(), language_modeling(tmp_path)
    loop.fit(task, datamodule=data)
    loop.fit_loop.epoch_loop.max_steps = 3
    loop.fit(task, datamodule=data)
    assert list(kept.values["train/loss"]) == [1, 2, 3]
    one = torch.ones(())
    loop._logger_connector.log_metrics({"mine": one, "step": 77 * one})
    loop._logger_connector.log_metrics({"mine": one}, step=78)
    assert list(kept.values["mine"]) == [77, 78]


def test_loss_and_quality_are_the_first_groups_in_tensorboard(cli: CommandLine) -> None:
    """TensorBoard sorts groups by name, and expands the first two."""
    logged = events_of(cli.fit("topics")).Tags()
    groups = sorted({tag.partition("/")[0] for tag in logged["scalars"]})
    assert groups == ["train", "val", "val_curves", "val_final", "weight_update", "workload", "x_axis"]
    texts = sorted(tag.partition("/")[0] for tag in logged["tensors"])
    assert texts[-1] == "yaml", "the configuration is the last text"
