"""``CausalLM`` in Lightning's Trainer, compared with dense formulas over all labeled tokens."""

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig, lm_head
from gpt_lightning.optim import OptimizerConfig, Schedule
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tasks.restore import restore_task
from tests.runs import causal_lm, language_modeling, trainer
from tests.tensors import Watch

pytestmark = pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`.*")

VOCAB_SIZE = 31
OPTIMIZERS = ("adamw", "muon")
Batch = dict[str, Tensor]


def batch(rows: int, tokens: int, label_share: float, seed: int) -> Batch:
    """Return random ids; a share of their labels is not ignored."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCAB_SIZE, (rows, tokens + 1), generator=generator)
    ignored = torch.rand((rows, tokens), generator=generator) >= label_share
    return {
        "input_ids": ids[:, :-1],
        "labels": ids[:, 1:].masked_fill(ignored, IGNORE_INDEX),
        "num_bytes": torch.randint(1, 20, (rows,), generator=generator),
    }


# With three micro-batches per step, the last step has two. One micro-batch has no label.
RAGGED_BATCHES = [
    batch(rows, tokens, label_share, seed)
    for seed, (rows, tokens, label_share) in enumerate(
        [(4, 8, 1.0), (1, 3, 0.5), (2, 8, 0.1), (2, 4, 0.0), (3, 8, 0.7), (1, 1, 1.0), (4, 2, 0.9), (1, 8, 0.4)]
    )
]


def batches(items: list[Batch]) -> DataLoader[Any]:
    return DataLoader(items, batch_size=None)  # type: ignore[arg-type]


def task(**shape: Any) -> CausalLM:
    module = causal_lm(**({"vocab_size": VOCAB_SIZE, "dropout": 0.0} | shape))
    # Weights larger than initial ones, so that the context of a token affects its loss.
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(10.0 if parameter.ndim > 1 else 1.0)
    return module


def dense_losses(module: CausalLM, items: list[Batch]) -> Tensor:
    """Return the negative log-likelihood of each labeled token of all batches, computed one by one."""
    losses = []
    for item in items:
        log_probabilities = module(item["input_ids"]).double().log_softmax(-1)
        for row, labels in enumerate(item["labels"].tolist()):
            losses += [-log_probabilities[row, t, label] for t, label in enumerate(labels) if label != IGNORE_INDEX]
    return torch.stack(losses)


class Recorder(L.Callback):
    """Callback that keeps the weights before each step, the gradients and settings of the optimizer, and its rates."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.gradients: list[dict[str, Tensor]] = []
        self.rates: list[list[float]] = []
        self.groups: list[dict[str, Any]] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.weights.append({name: value.clone() for name, value in pl_module.state_dict().items()})

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.rates.append([group["lr"] for group in optimizer.param_groups])
        self.groups.append({key: value for key, value in optimizer.param_groups[0].items() if key != "params"})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        def keep(*_: Any) -> None:
            named = pl_module.named_parameters()
            self.gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})

        trainer.optimizers[0].register_step_post_hook(keep)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, CausalLM)
        if not pl_module.is_accumulating:
            assert all(p.grad is None for p in pl_module.parameters()), "gradients use memory in the next forward pass"


class Log(Logger):
    """Logger that keeps all metrics."""

    name = "log"
    version = 0

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, float]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.lines.append(metrics | {"step": float("nan") if step is None else step})

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass


# --- one optimizer step averages over labels


@pytest.mark.parametrize(
    "clipping",
    [
        {"gradient_clip_val": None},
        {"gradient_clip_val": 0.05},
        {"gradient_clip_val": 1e6, "gradient_clip_algorithm": "norm"},
        {"gradient_clip_val": 0.002, "gradient_clip_algorithm": "value"},
    ],
    ids=["off", "norm", "norm_large", "value"],
)
@pytest.mark.parametrize("accumulate", [1, 3, 8])
def test_gradient_is_the_mean_over_all_labels_of_a_step(
    tmp_path: Path, accumulate: int, clipping: dict[str, Any]
) -> None:
    items = RAGGED_BATCHES if accumulate > 1 else RAGGED_BATCHES[:3]
    recorder, log, module = Recorder(), Log(), task()
    fit = trainer(
        tmp_path,
        callbacks=[recorder],
        logger=log,
        max_epochs=1,
        precision="64-true",
        accumulate_grad_batches=accumulate,
        **clipping,
    )
    fit.fit(module, batches(items))
    windows = [items[i : i + accumulate] for i in range(0, len(items), accumulate)]
    assert len(windows) == len(recorder.gradients)
    clip, by_value = clipping["gradient_clip_val"], clipping.get("gradient_clip_algorithm") == "value"
    reference = task().double()
    for window, weights, gradients, logged in zip(
        windows, recorder.weights, recorder.gradients, log.lines, strict=True
    ):
        reference.load_state_dict(weights)
        reference.zero_grad()
        loss = dense_losses(reference, window).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.get_total_norm([p.grad for p in reference.parameters() if p.grad is not None])
        if by_value:
            assert max(float(p.grad.abs().max()) for p in reference.parameters() if p.grad is not None) > clip
            nn.utils.clip_grad_value_(reference.parameters(), clip)
        elif clip is not None:
            assert (norm > clip) == (clip < 1.0)
            nn.utils.clip_grad_norm_(reference.parameters(), clip)
        expected = {name: p.grad for name, p in reference.named_parameters()}
        # The loss is float32 even in 64-true precision.
        torch.testing.assert_close(gradients, expected, rtol=1e-5, atol=1e-8)
        assert logged["train/loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert logged["weight_update/gradient_norm"] == pytest.approx(norm.item(), rel=1e-5)


def test_step_without_labels_changes_no_weight(tmp_path: Path) -> None:
    module = task()
    module.optimizer_config = OptimizerConfig(lr=1e-2, weight_decay=0.0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fit = trainer(tmp_path, max_epochs=1, accumulate_grad_batches=2)
    # An epoch that consists of such steps is an error.
    with pytest.raises(InputError, match="the training data has no labels, so there is nothing to learn"):
        fit.fit(module, batches([RAGGED_BATCHES[3], RAGGED_BATCHES[3]]))
    assert fit.global_step == 1
    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)


def test_train_loss_is_the_mean_over_all_labels_since_the_last_log(tmp_path: Path) -> None:
    log, module = Log(), task()
    module.optimizer_config = OptimizerConfig(lr=1e-20)  # too small to change any weight
    fit = trainer(tmp_path, logger=log, max_epochs=2, accumulate_grad_batches=2, log_every_n_steps=2)
    fit.fit(module, batches(RAGGED_BATCHES))
    reference = task()
    first, second = (dense_losses(reference, half).mean().item() for half in (RAGGED_BATCHES[:4], RAGGED_BATCHES[4:]))
    assert [line["train/loss"] for line in log.lines] == pytest.approx([first, second] * 2, rel=1e-5)
    # Lightning logs the index of the current step, starting at 0.
    assert [line["step"] for line in log.lines] == [1, 3, 5, 7]


# --- the loss


def test_ignored_labels_do_not_affect_the_loss() -> None:
    module = task()
    full = batch(3, 8, 1.0, seed=5)
    kept = torch.tensor([[1, 1, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 1]]).bool()
    masked = full | {"labels": full["labels"].masked_fill(~kept, IGNORE_INDEX)}
    loss = module.step(masked, "train")
    assert loss.item() == pytest.approx(dense_losses(module, [masked]).mean().item(), rel=1e-6)
    assert loss.item() != pytest.approx(module.step(full, "train").item(), rel=1e-3)
    # Tokens after the last label of a row, and rows without labels, do not matter either.
    ids = full["input_ids"].clone()
    ids[0, 4:] = (ids[0, 4:] + 1) % VOCAB_SIZE
    ids[1] = 0
    assert module.step(masked | {"input_ids": ids}, "train").item() == pytest.approx(loss.item(), rel=1e-6)
    assert module.step(RAGGED_BATCHES[3], "train").item() == 0.0


@pytest.mark.parametrize("tie", [True, False])
def test_training_never_holds_the_logits_of_all_tokens(monkeypatch: pytest.MonkeyPatch, tie: bool) -> None:
    monkeypatch.setattr(lm_head, "_chunk_size", lambda _: 5)
    item = batch(16, 8, 0.9, seed=7)
    for cap in (None, 1.5):
        module = task(vocab_size=1000, tie_embeddings=tie, logit_softcap=cap)
        expected = dense_losses(module, [item])
        assert (float(module(item["input_ids"]).detach().abs().max()) < 1.5) == (cap is not None)
        dense = torch.autograd.grad(expected.mean(), list(module.parameters()))
        with Watch() as watch:
            loss = module.step(item, "train")
            found = torch.autograd.grad(loss, list(module.parameters()))
            rows = module.predict_step(item, 0)
        # The largest tensor is the weight or in the MLP; all logits would be 128 x 1000.
        assert watch.largest <= 4 * max(1000 * 16, 16 * 8 * 64)
        assert loss.item() == pytest.approx(expected.mean().item(), rel=1e-6)
        torch.testing.assert_close(found, dense, rtol=1e-4, atol=1e-6)
        assert sum(row["nll"] for row in rows) == pytest.approx(expected.sum().item(), rel=1e-6)


def test_document_ids_keep_attention_inside_documents() -> None:
    module, whole = task(), batch(1, 8, 1.0, seed=6)
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    parts = [
        {name: value[:, part] for name, value in whole.items() if value.ndim == 2} for part in (slice(3), slice(3, 8))
    ]
    expected = dense_losses(module, parts).mean().item()
    with_documents = whole | {"document_ids": documents}
    assert module.step(with_documents, "train").item() == pytest.approx(expected, rel=1e-5)
    assert module.step(whole, "train").item() != pytest.approx(expected, rel=1e-4)
    assert module.predict_step(with_documents, 0)[0]["nll"] == pytest.approx(8 * expected, rel=1e-5)


@pytest.mark.parametrize("stage", ["val", "test"])
def test_validation_and_test_average_over_tokens(tmp_path: Path, stage: str) -> None:
    module, run = task(), trainer(tmp_path)
    for items in (RAGGED_BATCHES[5:], RAGGED_BATCHES):  # the second run checks that metrics are reset
        {"val": run.validate, "test": run.test}[stage](module, batches(items), verbose=False)
        losses = dense_losses(module, items)
        num_bytes = sum(int(item["num_bytes"].sum()) for item in items)
        expected = losses.mean().item()
        assert {name: float(value) for name, value in run.callback_metrics.items()} == pytest.approx(
            {
                f"{stage}/loss": expected,
                f"{stage}/perplexity": math.exp(expected),
                f"{stage}/bits_per_byte": losses.sum().item() / math.log(2.0) / num_bytes,
            },
            rel=1e-5,
        )
    means = [dense_losses(module, [item]).mean().item() for item in RAGGED_BATCHES if (item["labels"] >= 0).any()]
    assert sum(means) / len(means) != pytest.approx(expected, rel=1e-3), "a mean over batches would pass the test too"


def test_predictions_are_sums_per_row(tmp_path: Path) -> None:
    module = task()
    results = trainer(tmp_path).predict(module, batches(RAGGED_BATCHES))
    assert results is not None
    for item, result in zip(RAGGED_BATCHES, results, strict=True):
        assert isinstance(result, list)
        rows = [{name: value[row : row + 1] for name, value in item.items()} for row in range(len(item["labels"]))]
        labeled_rows = [row for row in rows if (row["labels"] != IGNORE_INDEX).any()]  # padding has no prediction
        for found, row in zip(result, labeled_rows, strict=True):
            assert found == {
                "nll": pytest.approx(dense_losses(module, [row]).sum().item(), rel=1e-5),
                "num_tokens": int((row["labels"] != IGNORE_INDEX).sum()),
                "num_bytes": int(row["num_bytes"]),
            }


# --- learning rate and resuming


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(
    "schedule",
    [Schedule(warmup_steps=2), Schedule(kind="wsd", warmup_steps=1), Schedule(total_steps=50, warmup_steps=1)],
)
def test_each_step_has_the_learning_rate_of_the_schedule(tmp_path: Path, accumulate: int, schedule: Schedule) -> None:
    recorder, log, module = Recorder(), Log(), task()
    module.schedule = schedule
    fit = trainer(tmp_path, callbacks=[recorder], logger=log, max_epochs=2, accumulate_grad_batches=accumulate)
    fit.fit(module, batches(RAGGED_BATCHES))
    steps = 2 * -(-len(RAGGED_BATCHES) // accumulate)
    expected = [1e-2 * schedule.ratio(step, steps) for step in range(steps)]
    assert recorder.rates == [pytest.approx([rate, rate]) for rate in expected]
    assert [line["weight_update/learning_rate"] for line in log.lines] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["constant", "cosine"])
def test_run_without_an_end_needs_a_schedule_without_decay(tmp_path: Path, kind: Any) -> None:
    """Allow an endless run, stopped by the user or ``max_time``, if the learning rate does not depend on the end."""
    module = task()
    fit = trainer(tmp_path, max_epochs=-1, callbacks=[_StopAfter(3)])
    module.schedule = Schedule(kind=kind, warmup_steps=1)
    if kind == "constant":
        fit.fit(module, batches(RAGGED_BATCHES))
        assert fit.global_step == 3
    else:
        with pytest.raises(
            InputError, match=r"schedule\.kind=cosine decays until .* has no end. Set model\.schedule\.total_steps"
        ):
            fit.fit(module, batches(RAGGED_BATCHES))
    module = task()
    module.schedule = Schedule(kind=kind, warmup_steps=1, total_steps=10)
    recorder = Recorder()
    trainer(tmp_path, max_epochs=-1, callbacks=[_StopAfter(3), recorder]).fit(module, batches(RAGGED_BATCHES))
    expected = [1e-2 * module.schedule.ratio(step, 10) for step in range(3)]
    assert [rates[0] for rates in recorder.rates] == pytest.approx(expected)


class _StopAfter(L.Callback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.steps


def test_current_settings_take_precedence_over_saved_ones(tmp_path: Path) -> None:
    first = trainer(tmp_path, max_epochs=1)
    first.fit(task(), batches(RAGGED_BATCHES))
    first.save_checkpoint(tmp_path / "last.ckpt")

    recorder, module = Recorder(), task()
    module.optimizer_config = OptimizerConfig(lr=0.5, beta1=0.1, beta2=0.2, eps=0.3, weight_decay=0.4)
    module.schedule = Schedule(kind="constant", warmup_steps=0)
    resumed = trainer(tmp_path, max_steps=len(RAGGED_BATCHES) + 3, callbacks=[recorder])
    resumed.fit(module, batches(RAGGED_BATCHES), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert len(recorder.groups) == 3
    for group in recorder.groups:
        assert {key: group[key] for key in ("lr", "betas", "eps", "weight_decay")} == {
            "lr": 0.5,
            "betas": (0.1, 0.2),
            "eps": 0.3,
            "weight_decay": 0.4,
        }
    moments = resumed.optimizers[0].state_dict()["state"].values()
    assert {int(state["step"]) for state in moments} == {len(RAGGED_BATCHES) + 3}, "the saved moments are not restored"


# --- checkpoints


def saved(folder: Path, module: CausalLM) -> dict[str, Any]:
    """Return the content of a checkpoint of ``module``, read without pickle."""
    fit = trainer(folder, max_steps=1)
    fit.fit(module, batches(RAGGED_BATCHES[:1]))
    fit.save_checkpoint(folder / "last.ckpt")
    checkpoint: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return checkpoint


SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False, "tie_embeddings": False},
    "positions": {"position": "rotary", "n_kv_head": 1, "qk_norm": True},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_restored_task_equals_the_saved_one(tmp_path: Path, shape: dict[str, Any]) -> None:
    module = task(**shape)
    loaded = restore_task(CausalLM, saved(tmp_path, module))
    assert loaded.backbone.config == module.backbone.config
    assert loaded.optimizer_config == module.optimizer_config
    assert loaded.schedule == module.schedule
    torch.testing.assert_close(dict(loaded.state_dict()), dict(module.state_dict()), rtol=0, atol=0)
    ids = RAGGED_BATCHES[0]["input_ids"]
    assert loaded.eval()(ids).equal(module.eval()(ids))
    assert (loaded.head.weight is loaded.backbone.token_embedding.weight) == shape.get("tie_embeddings", True)


def test_hyper_parameters_are_plain(tmp_path: Path) -> None:
    def leaves(value: Any) -> list[Any]:
        if type(value) is dict:
            return [leaf for key, item in value.items() for leaf in (key, *leaves(item))]
        return [leaf for item in value for leaf in leaves(item)] if type(value) in (list, tuple) else [value]

    hparams = saved(tmp_path, task())["hyper_parameters"]
    assert type(hparams) is dict
    assert {type(leaf) for leaf in leaves(hparams)} <= {int, float, str, bool, type(None)}
    assert hparams["task"] == "gpt_lightning.CausalLM"
    assert hparams["backbone"]["vocab_size"] == VOCAB_SIZE


# --- invalid and missing arguments


def test_vocab_size_comes_from_the_tokenizer_or_is_larger() -> None:
    shape = GPTConfig(n_layer=1, n_head=1, n_embd=4, block_size=4)
    assert CausalLM(backbone=shape, vocab_size=9)(torch.zeros(1, 2, dtype=torch.int64)).shape == (1, 2, 9)
    roomy = GPTConfig(n_layer=1, n_head=1, n_embd=4, block_size=4, vocab_size=64)
    assert CausalLM(backbone=roomy, vocab_size=9).head.out_features == 64
    with pytest.raises(InputError, match=r"the tokenizer has 65 ids but model\.backbone\.vocab_size=64. Raise vocab"):
        CausalLM(backbone=roomy, vocab_size=65)
    with pytest.raises(InputError, match=r"backbone\.vocab_size is missing"):
        CausalLM(backbone=shape)


def test_bidirectional_backbone_is_refused() -> None:
    with pytest.raises(InputError, match="CausalLM needs causal or prefix attention"):
        CausalLM(backbone=GPTConfig(n_layer=1, n_head=1, n_embd=4, attention="bidirectional"), vocab_size=9)


def test_prompts_are_read_in_both_directions_with_prefix_attention() -> None:
    task = causal_lm(VOCAB_SIZE, attention="prefix", dropout=0.0, n_layer=2)
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.5)
    batch: dict[str, Any] = {
        "input_ids": torch.arange(16).view(2, 8) % VOCAB_SIZE,
        "labels": torch.arange(1, 17).view(2, 8) % VOCAB_SIZE,
        "num_bytes": torch.ones(2, dtype=torch.int64),
        "prefix_mask": torch.arange(8) < torch.tensor([[3], [6]]),
    }
    batch["labels"][batch["prefix_mask"]] = IGNORE_INDEX
    logits = task.head(task.backbone(batch["input_ids"], prefix_mask=batch["prefix_mask"])).detach()
    expected = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
    torch.testing.assert_close(task.step(batch, "val").detach(), expected)
    records = task.predict_step(batch, 0)
    assert sum(record["nll"] for record in records) == pytest.approx(float(expected) * 7, rel=1e-5)
    del batch["prefix_mask"]
    assert not task.step(batch, "val").allclose(expected), "the mask has an effect"


def test_output_layer_is_tied_to_the_embedding_or_initialized_alike() -> None:
    tied, untied = (causal_lm(VOCAB_SIZE, tie_embeddings=tie) for tie in (True, False))
    assert tied.head.weight is tied.backbone.token_embedding.weight
    assert untied.head.weight is not untied.backbone.token_embedding.weight
    assert isinstance(untied.head.weight, Tensor)
    assert untied.head.weight.std().item() == pytest.approx(0.02, rel=0.1)
    width = VOCAB_SIZE * 16
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == width
    assert tied.flops_per_token() == untied.flops_per_token() == tied.backbone.flops_per_token() + 6 * width


# --- precision


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_training_lowers_the_loss_in_every_precision(tmp_path: Path, precision: Any, kind: Any) -> None:
    module, data = causal_lm(dropout=0.0), language_modeling(tmp_path)
    module.optimizer_config = OptimizerConfig(kind=kind, lr=1e-2)
    fit = trainer(tmp_path, max_steps=30, precision=precision, accumulate_grad_batches=2)
    fit.fit(module, datamodule=data)
    assert float(fit.callback_metrics["train/loss"]) < 4.0  # from 5.5
    assert all(value.isfinite().all() for value in module.state_dict().values())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_float16_clips_like_float32(tmp_path: Path, kind: Any) -> None:
    """Check that gradients are unscaled once, before clipping. Fused AdamW alone would unscale them in its step."""
    logs, states = [], []
    for plugins in ([], [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**12))]):
        log, module = Log(), task()
        # A large eps and a small muon_lr keep rounding noise in near-zero gradients from causing full-size updates.
        module.optimizer_config = OptimizerConfig(kind=kind, lr=1e-2, eps=0.1, muon_lr=1e-5)
        fit = trainer(tmp_path, logger=log, max_steps=3, plugins=plugins, accumulate_grad_batches=2)
        fit.fit(module, batches(RAGGED_BATCHES))
        logs.append(log.lines)
        states.append(dict(module.state_dict()))
    for name in ("train/loss", "weight_update/gradient_norm"):
        plain, scaled = ([line[name] for line in lines] for lines in logs)
        assert len(plain) == 3
        assert scaled == pytest.approx(plain, rel=0.02)
    torch.testing.assert_close(states[1], states[0], rtol=0, atol=2e-4)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_step_that_overflows_in_float16_is_skipped(tmp_path: Path, kind: Any) -> None:
    module = task()
    module.optimizer_config = OptimizerConfig(kind=kind)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    fit = trainer(tmp_path, max_steps=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    fit.fit(module, batches(RAGGED_BATCHES[:1]))
    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)
    assert scaler.get_scale() == 2.0**39
