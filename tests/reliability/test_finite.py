"""Losses and gradients that are NaN or infinite."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from gpt_lightning.errors import RunError
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.decoding import Decoding
from gpt_lightning.models.generation.generate import NonFiniteError, Sampling
from gpt_lightning.optim import OptimizerConfig
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.continuation import continuation
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint
from gpt_lightning.tokenizers.build import bytes_tokenizer
from gpt_lightning.training import Checkpoints, Validations, samples
from tests.reliability.conftest import tally
from tests.runs import HEADS, causal_lm, head, language_modeling, trainer

pytestmark = pytest.mark.reliability


class Inject(L.Callback):
    """Callback that replaces the loss or a gradient by ``value`` in some steps, and records the rows of each step."""

    def __init__(self, where: str, value: float, *steps: int) -> None:
        self.where, self.value, self.steps = where, value, steps
        self.ids: dict[int, list[str]] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        step = pl_module.step

        def is_step() -> bool:
            return trainer.global_step + 1 in self.steps

        def step_with_injection(batch: Any, stage: Any) -> torch.Tensor:
            loss = step(batch, stage)
            return loss + self.value if stage == "train" and self.where == "loss" and is_step() else loss

        pl_module.step = step_with_injection  # type: ignore[method-assign]
        parameter = next(iter(pl_module.backbone.parameters()))
        if self.where == "gradient":
            parameter.register_hook(lambda gradient: gradient * self.value if is_step() else gradient)  # type: ignore[no-untyped-call]

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.ids.setdefault(trainer.global_step + 1, []).extend(batch["ids"])


def saved(folder: Path) -> list[dict[str, Any]]:
    """Return all checkpoints, after checking that their numbers are finite."""
    found = [read_checkpoint(path) for path in sorted((folder / "checkpoints").glob("step_*.ckpt"))]
    for checkpoint in found:
        for moments in checkpoint["optimizer_states"][0]["state"].values():
            assert all(torch.isfinite(value).all() for value in moments.values())
        weights = [value for name, value in checkpoint["state_dict"].items() if name != "_extra_state"]
        assert all(torch.isfinite(value).all() for value in weights)
    return found


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("kind", ["text", *HEADS])
def test_run_stops_before_any_weight_changes(
    tmp_path: Path, where: str, value: float, accumulate: int, kind: str
) -> None:
    """Test R8. The error names the step and its rows."""
    task, data = (causal_lm(), language_modeling(tmp_path)) if kind == "text" else head(tmp_path, kind)
    inject = Inject(where, value, 4)
    run = trainer(
        tmp_path,
        max_steps=9,
        accumulate_grad_batches=accumulate,
        limit_val_batches=0,
        callbacks=[inject, Checkpoints(every_n_steps=1)],
    )
    with pytest.raises(RunError) as error:
        run.fit(task, datamodule=data)
    message = str(error.value)
    assert message.startswith("step 4: the loss is ")
    assert f"; rows: {', '.join(inject.ids[4])}. All saved checkpoints are finite" in message
    tally("R8", [checkpoint["global_step"] for checkpoint in saved(tmp_path)] == [2, 3])
    assert all(torch.isfinite(parameter).all() for parameter in task.parameters())


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_limited_number_of_steps_is_skipped(
    tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(folder: str, *steps: int, ckpt_path: Path | None = None) -> Task:
        task = causal_lm()
        task.optimizer_config = OptimizerConfig(lr=1e-2, max_skipped_steps=2)
        callbacks = [Inject(where, float("nan"), *steps), Checkpoints(every_n_steps=1), Validations()]
        fit = trainer(Path(folder), max_steps=8, callbacks=callbacks, limit_val_batches=0)
        fit.fit(task, datamodule=language_modeling(tmp_path), ckpt_path=ckpt_path, weights_only=True)
        return task

    run("two", 3, 5)
    err = capsys.readouterr().err
    assert "skipped step 3: the loss is " in err
    assert "(2 of at most 2)" in err
    tally("R8", [checkpoint["global_step"] for checkpoint in saved(Path("two"))] == [7, 8])

    with pytest.raises(RunError, match="step 6: the loss is "):
        run("three", 3, 5, 6)
    tally("R8", [checkpoint["global_step"] for checkpoint in saved(Path("three"))] == [4, 5])
    # Checkpoints save the number of skipped steps, so resuming does not reset the limit.
    with pytest.raises(RunError, match="step 6: the loss is "):
        run("three", 6, ckpt_path=find_checkpoint("three", "last"))


def test_infinite_weights_are_not_saved(tmp_path: Path) -> None:
    """Test R8 with infinite weights after a step with finite gradients, as with a high learning rate."""

    class Overflow(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 3:
                pl_module.backbone.token_embedding.weight.data[5] = float("inf")

    run = trainer(tmp_path, max_steps=4, callbacks=[Overflow(), Checkpoints(every_n_steps=3)], limit_val_batches=0)
    task = causal_lm()
    task.optimizer_config = OptimizerConfig(lr=1e-2, max_skipped_steps=9)
    with pytest.raises(RunError, match=r"step 4: state_dict\..*weight is no longer finite, so nothing was saved"):
        run.fit(task, datamodule=language_modeling(tmp_path))
    tally("R8", [checkpoint["global_step"] for checkpoint in saved(tmp_path)] == [3])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_generation_with_infinite_weights_ends_with_an_error(value: float, temperature: float) -> None:
    """Test R19, for one prompt and for a batch."""
    task = causal_lm().eval()
    task.head.weight.data[5] = value  # type: ignore[operator]
    sampling = Sampling(temperature=temperature)
    decoding = Decoding(max_new_tokens=2, sampling=sampling)
    with pytest.raises(NonFiniteError, match="the logits of the model are NaN or infinite, so no token can be drawn"):
        list(continuation(task, bytes_tokenizer(), [1], decoding, seed=0))
    with pytest.raises(NonFiniteError):
        generate_batched(Decoder(task.backbone), task.head, [[1], [2, 3]], max_new_tokens=2, sampling=sampling)
    tally("R19", True)


def test_samples_with_infinite_weights_do_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test R8 and R19. The run ends at its next step, with the message of the loss."""

    class Overflow(L.Callback):
        def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
            pl_module.backbone.token_embedding.weight.data[:] = float("nan")

    shown: list[str] = []
    monkeypatch.setattr(samples, "shows_text", lambda _: True)
    monkeypatch.setattr(samples, "show_text", lambda *arguments: shown.append(arguments[-1]))
    callbacks = [Overflow(), samples.Samples()]
    run = trainer(tmp_path, max_steps=4, callbacks=callbacks, val_check_interval=2, limit_val_batches=1, logger=True)
    with pytest.raises(RunError, match="step 3: the loss is nan"):
        run.fit(causal_lm(), datamodule=language_modeling(tmp_path))
    assert shown == ["(no sample: the logits are NaN or infinite)"]
    tally("R19", True)
