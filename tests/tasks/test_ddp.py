"""Training and evaluation in two processes, compared with one process on the same global batches."""

import os
import socket
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning.data import LanguageModeling
from gpt_lightning.training import Evaluation, Verdict
from tests import answering
from tests.reliability.processes import fork
from tests.runs import HEADS, causal_lm, head, trainer

GLOBAL_BATCH = 4
SETTINGS: list[dict[str, Any]] = [
    {"accumulate_grad_batches": 1, "mask_documents": False, "kind": "adamw"},
    # The last of seven batches is a step of its own.
    {"accumulate_grad_batches": 2, "mask_documents": True, "kind": "adamw"},
    {"accumulate_grad_batches": 2, "mask_documents": False, "kind": "muon"},
]


class Recorder(L.Callback):
    """Callback that keeps the rows and the logged loss of each training step, and the rows of validation."""

    def __init__(self) -> None:
        self.train: list[list[list[int]]] = []
        self.validation: list[list[list[int]]] = []
        self.losses: list[float] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.train.append(labels(batch))
        self._keep_loss(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._keep_loss(trainer)

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.validation.append(labels(batch))

    def _keep_loss(self, trainer: L.Trainer) -> None:
        if len(self.losses) < trainer.global_step:
            self.losses.append(float(trainer.callback_metrics["train/loss"]))


def labels(batch: Any) -> list[list[int]]:
    """Return the labels of all rows that are not padding."""
    return [row for row in batch["labels"].tolist() if max(row) >= 0]


def run(folder: Path, world_size: int, accumulate_grad_batches: int, mask_documents: bool, kind: Any) -> dict[str, Any]:
    """Train for two epochs, with validation after each, and return the rows, losses, metrics and final weights."""
    data = LanguageModeling(
        train=str(folder / "train.txt"),
        validation=str(folder / "validation.txt"),
        tokenizer="bytes",
        block_size=8,
        batch_size=GLOBAL_BATCH // world_size,
        mask_documents=mask_documents,
        seed=0,
        cache_dir=str(folder / "cache"),
    )
    recorder, module = Recorder(), causal_lm(dropout=0.0)
    # A large eps keeps rounding noise in near-zero gradients from causing full-size updates.
    module.optimizer_config = type(module.optimizer_config)(kind=kind, lr=1e-2, eps=1e-3)
    # Activation checkpointing must not change results.
    module.backbone.checkpoint_activations(world_size > 1 and mask_documents)
    fit = trainer(
        folder,
        devices=world_size,
        strategy="ddp" if world_size > 1 else "auto",
        callbacks=[recorder],
        max_epochs=2,
        accumulate_grad_batches=accumulate_grad_batches,
        gradient_clip_val=0.5,
    )
    fit.fit(module, datamodule=data)
    return {
        "world_size": fit.world_size,
        "train": recorder.train,
        "validation": recorder.validation,
        "losses": recorder.losses,
        "metrics": {name: float(value) for name, value in fit.callback_metrics.items()},
        "weights": dict(module.state_dict()),
    }


def run_head(folder: Path, world_size: int, kind: str) -> dict[str, Any]:
    """Train a head for two epochs of 29 rows; only one rank has a row of the last batch."""
    module, data = head(folder, kind, rows=29, batch_size=GLOBAL_BATCH // world_size, dropout=0.0)
    module.optimizer_config = type(module.optimizer_config)(lr=1e-2, eps=1e-3)
    fit = trainer(
        folder, devices=world_size, strategy="ddp" if world_size > 1 else "auto", max_epochs=2, gradient_clip_val=0.5
    )
    fit.fit(module, datamodule=data)
    return {
        "metrics": {name: float(value) for name, value in fit.callback_metrics.items()},
        "tables": module.tables["val"],
        "weights": dict(module.state_dict()),
    }


def run_answers(folder: Path, world_size: int) -> dict[str, Any]:
    """Train a language model on prompts for two epochs, and compare 7 of 15 answers; ranks have 4 and 3 of them."""
    module = answering.task()
    module.optimizer_config = type(module.optimizer_config)(lr=1e-2, eps=1e-3)
    data = answering.data(folder, batch_size=GLOBAL_BATCH // world_size, generate_examples=7)
    fit = trainer(folder, devices=world_size, strategy="ddp" if world_size > 1 else "auto", max_epochs=2)
    fit.fit(module, datamodule=data)
    metrics = {name: float(value) for name, value in fit.callback_metrics.items()}
    return {"metrics": metrics, "references": module.tables["val"]["references"].tolist()}


def run_verdict(folder: Path, world_size: int) -> dict[str, Any]:
    """Test an untrained head with a verdict; ranks have 15 and 14 of the rows."""
    module, data = head(folder, "ner", rows=29, batch_size=GLOBAL_BATCH // world_size, dropout=0.0)
    verdict = Verdict()
    callbacks = [verdict, Evaluation(verdict=verdict)]
    strategy = "ddp" if world_size > 1 else "auto"
    trainer(folder, devices=world_size, strategy=strategy, callbacks=callbacks).test(module, data, verbose=False)
    return {"verdict": verdict.record}


def run_rank(folder: Path, rank: int, port: int) -> None:
    """Write the results of one of two processes."""
    os.environ |= {
        "LOCAL_RANK": str(rank),  # if it is set, Lightning starts no other process
        "NODE_RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    rank_zero_only.rank = rank  # type: ignore[attr-defined]  # a new process would set it when it imports Lightning
    torch.save(run_verdict(folder, 2), folder / f"verdict_{rank}.pt")
    torch.save(run_answers(folder, 2), folder / f"answers_{rank}.pt")
    for kind in HEADS:
        torch.save(run_head(folder, 2, kind), folder / f"{kind}_{rank}.pt")
    for number, settings in enumerate(SETTINGS):
        torch.save(run(folder, 2, **settings), folder / f"{number}_{rank}.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run both processes and return the folder with a result file for each rank and each of ``SETTINGS``."""
    folder = tmp_path_factory.mktemp("ddp")
    # 25 training rows: only one rank has a row of the last batch. 15 validation rows: the last batch is not full.
    (folder / "train.txt").write_text("".join(f"{n} bottles of beer on the wall. " for n in range(9))[:202])
    (folder / "validation.txt").write_text("".join(f"{n} bottles of wine on the wall. " for n in range(9))[:116])
    for kind in HEADS:
        head(folder, kind, rows=29)  # writes the rows once, before both processes read them
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [fork(run_rank, folder, rank, port) for rank in range(2)]
    try:
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()
    return folder


@pytest.fixture(params=range(len(SETTINGS)), ids=["plain", "accumulating", "muon"])
def results(request: pytest.FixtureRequest, folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the result of one process, and the results of both ranks."""
    one = run(folder, 1, **SETTINGS[request.param])
    return one, [torch.load(folder / f"{request.param}_{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_processes_match_one(results: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    one, ranks = results
    assert [rank["world_size"] for rank in ranks] == [2, 2]

    # Each global batch is split over the ranks, in order, without overlap or loss, even if it cannot be split evenly.
    for split in ("train", "validation"):
        shares = list(zip(ranks[0][split], ranks[1][split], strict=True))
        assert [[*first, *second] for first, second in shares] == one[split]
    sizes = [[len(rows) for rows in rank["train"]] for rank in ranks]
    assert sizes == [[2, 2, 2, 2, 2, 2, 1] * 2, [2, 2, 2, 2, 2, 2, 0] * 2]
    sizes = [[len(rows) for rows in rank["validation"]] for rank in ranks]
    assert sizes == [[2, 2, 2, 2] * 2, [2, 2, 2, 1] * 2]

    assert len(one["losses"]) in (14, 8)
    for rank in ranks:
        assert rank["losses"] == pytest.approx(one["losses"], rel=1e-5)
        assert rank["metrics"] == pytest.approx(one["metrics"], rel=1e-4)
        torch.testing.assert_close(rank["weights"], one["weights"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ranks[0]["weights"], ranks[1]["weights"], rtol=0, atol=0)
    assert ranks[0]["metrics"] == ranks[1]["metrics"]
    assert {"val/loss", "val/perplexity", "val/bits_per_byte", "train/loss"} <= one["metrics"].keys()


@pytest.mark.parametrize("kind", HEADS)
def test_two_processes_match_one_for_each_head(folder: Path, kind: str) -> None:
    one = run_head(folder, 1, kind)
    ranks = [torch.load(folder / f"{kind}_{rank}.pt", weights_only=True) for rank in range(2)]
    for rank in ranks:
        assert rank["metrics"] == pytest.approx(one["metrics"], rel=1e-3, abs=1e-6)
        torch.testing.assert_close(rank["weights"], one["weights"], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(rank["tables"], one["tables"], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(ranks[0]["weights"], ranks[1]["weights"], rtol=0, atol=0)
    assert len({"val/entity_f1", "val/answer_f1", "val/accuracy", "val/spearman"} & one["metrics"].keys()) == 1


def test_two_processes_match_one_for_generated_answers(folder: Path) -> None:
    one = run_answers(folder, 1)
    ranks = [torch.load(folder / f"answers_{rank}.pt", weights_only=True) for rank in range(2)]
    assert ranks[0] == ranks[1]
    assert ranks[0]["metrics"] == pytest.approx(one["metrics"], rel=1e-3)
    assert ranks[0]["references"] == one["references"] == [7, 2, 2]
    for name in ("chrf", "complete", "exact_match", "bleu"):
        assert ranks[0]["metrics"][f"val/{name}"] == pytest.approx(one["metrics"][f"val/{name}"], rel=1e-6)
    assert one["metrics"]["val/chrf"] > 0


def test_two_processes_give_the_verdict_of_one(folder: Path) -> None:
    one = run_verdict(folder, 1)
    first, second = (torch.load(folder / f"verdict_{rank}.pt", weights_only=True) for rank in range(2))
    assert one["verdict"]["rows"] == 29
    assert first == one
    assert second == {"verdict": None}
