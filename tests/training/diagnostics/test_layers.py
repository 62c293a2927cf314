"""Gradient norms, update ratios and attention logits of layers, compared with dense formulas."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._dynamo.utils import counters

from gpt_lightning.data import LanguageModeling
from gpt_lightning.evaluation.run_report import history
from gpt_lightning.models import GPT
from gpt_lightning.models.lora import LoRA, add_adapters
from gpt_lightning.optim import FineTuning
from gpt_lightning.tasks import CausalLM, Seq2SeqLM
from gpt_lightning.training import Checkpoints, LayerDiagnostics, LossDiagnostics, RunHistory, StepAxis
from gpt_lightning.training.diagnostics import layers
from gpt_lightning.training.diagnostics.attention_logits import _Recorder, largest_attention_logits, largest_logit
from gpt_lightning.training.diagnostics.layers import layer_name
from tests.runs import TINY, causal_lm, language_modeling, trainer

SETTINGS: dict[str, Any] = {"max_steps": 3, "val_check_interval": 2, "check_val_every_n_epoch": None}


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "EVERY_N_LOGS", 1)


class Dense(L.Callback):
    """Callback that computes the norms of each step from copies of all weights and from all micro-batches."""

    def __init__(self) -> None:
        self.batches: list[Mapping[str, Any]] = []
        self.found: list[dict[str, dict[str, float]]] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Copy the weights before the first micro-batch of a step, and compute the gradient of all losses."""
        assert isinstance(pl_module, CausalLM)
        if not self.batches:
            self.before = {name: p.detach().double() for name, p in pl_module.named_parameters()}
        self.batches.append(batch)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Compute the norms of a finished step."""
        assert isinstance(pl_module, CausalLM)
        if pl_module.is_accumulating:
            return
        trained = [name for name, p in pl_module.named_parameters() if p.requires_grad]
        after = {name: p.detach().double() for name, p in pl_module.named_parameters()}
        gradients = dict(zip(trained, self._gradients(pl_module, trained), strict=True))
        updates = {name: after[name] - self.before[name] for name in trained}
        self.found.append(
            {
                "weights_gradient_norm": norms(gradients),
                "weights_update_ratio": {
                    layer: norm / norms({name: self.before[name] for name in trained})[layer]
                    for layer, norm in norms(updates).items()
                },
            }
        )
        self.batches = []

    def _gradients(self, task: CausalLM, trained: list[str]) -> list[Tensor]:
        """Return the gradients of the mean loss of all micro-batches at the weights before the step."""
        inputs = torch.cat([batch["input_ids"] for batch in self.batches])
        labels = torch.cat([batch["labels"] for batch in self.batches]).flatten()
        weights = {name: value.clone().requires_grad_() for name, value in self.before.items()}
        weights["head.weight"] = weights["backbone.token_embedding.weight"]  # tied
        logits = torch.func.functional_call(task, weights, (inputs,), tie_weights=False)
        loss = F.cross_entropy(logits.flatten(0, 1), labels)
        return list(torch.autograd.grad(loss, [weights[name] for name in trained]))


def norms(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the norm of all tensors of each layer."""
    names = {name: layer_name(name) for name in tensors}
    return {
        layer: float(torch.cat([tensors[name].flatten() for name in tensors if names[name] == layer]).norm())
        for layer in names.values()
    }


@pytest.mark.parametrize("freeze", [0, 1])
def test_norms_are_those_of_a_dense_formula(tmp_path: Path, freeze: int) -> None:
    task = causal_lm(n_layer=2, dropout=0.0)
    FineTuning(freeze=freeze).freeze_parameters(task.backbone, 2)
    dense = Dense()
    callbacks = [dense, StepAxis(), LayerDiagnostics(), RunHistory()]
    trainer(tmp_path, callbacks=callbacks, accumulate_grad_batches=2, gradient_clip_val=0.1, **SETTINGS).fit(
        task, language_modeling(tmp_path)
    )
    logged = history.read(tmp_path).scalars
    expected = {"block_01", "norm"} if freeze else {"embedding", "block_00", "block_01", "norm"}
    for group in ("weights_gradient_norm", "weights_update_ratio"):
        assert {tag.partition("/")[2] for tag in logged if tag.startswith(group)} == expected
        for layer in expected:
            values = [value for _, value in logged[f"{group}/{layer}"]]
            assert values == pytest.approx([step[group][layer] for step in dense.found], rel=2e-3)
    squares = sum(logged[f"weights_gradient_norm/{layer}"][-1][1] ** 2 for layer in expected)
    assert logged["weight_update/gradient_norm"][-1][1] ** 2 == pytest.approx(squares, rel=1e-4)


def test_only_adapters_are_measured(tmp_path: Path) -> None:
    task = causal_lm(n_layer=2)
    add_adapters(task.backbone, LoRA(r=2))
    task.head.requires_grad_(False)
    data = language_modeling(tmp_path)
    torch.autograd.backward(task.training_step(first_batch(data), 0))
    before = layers._Weights.measure(task)
    assert set(before.layers) == {"block_00", "block_01"}
    assert sum(p.numel() for each in before.layers.values() for p in each) == sum(
        p.numel() for p in task.parameters() if p.requires_grad
    )


def first_batch(data: Any) -> Any:
    """Return the first training batch."""
    data.setup("fit")
    return next(iter(data.train_dataloader()))


def test_layer_names() -> None:
    names = {
        "backbone.token_embedding.weight": "embedding",
        "backbone.position_embedding.weight": "embedding",
        "backbone.embedding_norm.weight": "norm",
        "backbone.blocks.3.norm_1.weight": "block_03",
        "backbone.encoder.blocks.11.mlp.up.weight": "encoder_block_11",
        "backbone.base_model.model.blocks.0.attention.qkv.lora_A.default.weight": "block_00",
        "backbone.norm.weight": "norm",
        "head.weight": "head",
        "own_part.weight": "own_part",
    }
    assert {name: layer_name(name) for name in names} == names


@pytest.mark.parametrize("mask", ["none", "causal", "bool", "float"])
@pytest.mark.parametrize("tokens", [5, 300])
def test_largest_logit_is_that_of_all_logits(mask: str, tokens: int) -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 4, tokens, 8), torch.randn(2, 2, tokens, 8)
    allowed = torch.rand(2, 1, tokens, tokens) < 0.5
    addend = torch.randn(tokens, tokens)
    logits = torch.einsum("bhtd,bhsd->bhts", q, torch.repeat_interleave(k, 2, dim=1)) * 0.3
    expected = {
        "none": logits,
        "causal": logits.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), -torch.inf),
        "bool": logits.masked_fill(~allowed, -torch.inf),
        "float": logits + addend,
    }[mask].max()
    given = {"bool": allowed, "float": addend}.get(mask)
    torch.testing.assert_close(largest_logit(q, k, given, mask == "causal", 0.3), expected)


def test_attention_logits_of_a_dense_formula(tmp_path: Path) -> None:
    """The logits of each block are computed from its input by the formula of the paper."""
    task = causal_lm(n_layer=2, dropout=0.3)
    batch = first_batch(language_modeling(tmp_path))
    state = torch.get_rng_state()
    found = largest_attention_logits(task, batch)
    assert torch.equal(state, torch.get_rng_state())
    assert task.backbone.training
    task.eval()
    x, inputs = task.backbone.prepare(batch["input_ids"][:1])
    for block, logit in zip(task.backbone.blocks, found, strict=True):
        q, k, _ = block.attention.qkv(block.norm_1(x)).view(1, 8, 6, 8).split(2, dim=2)  # type: ignore[union-attr,operator]
        logits = torch.einsum("bthd,bshd->bhts", q, k) / 8**0.5
        torch.testing.assert_close(logit, logits.masked_fill(torch.ones(8, 8).triu(1).bool(), -torch.inf).max())
        x = block(x, inputs)


def random_batch(*names: str) -> dict[str, Tensor]:
    """Return random token ids with masks, in which the second half of each row is padding or another document."""
    ids = torch.randint(257, (3, 8), generator=torch.Generator().manual_seed(0))
    is_first_half = torch.arange(8).expand(3, 8) < 4
    every = {
        "input_ids": ids,
        "decoder_input_ids": ids.flip(0)[:, :6],
        "attention_mask": is_first_half,
        "document_ids": (~is_first_half).long(),
        "prefix_mask": is_first_half,
    }
    return {name: every[name] for name in names}


@pytest.mark.parametrize(
    ("attention", "name"),
    [("bidirectional", "attention_mask"), ("causal", "document_ids"), ("prefix", "prefix_mask")],
)
def test_attention_logits_are_those_of_the_masked_row(attention: Any, name: str) -> None:
    task = causal_lm(n_layer=2)
    torch.manual_seed(1)
    task.backbone = GPT(replace(TINY, n_layer=2, vocab_size=257, attention=attention))
    batch = random_batch("input_ids", name)
    found = largest_attention_logits(task, batch)
    task.eval()
    with _Recorder() as recorder, torch.no_grad():
        task.backbone(batch["input_ids"][:1], **{name: batch[name][:1]})
    with _Recorder() as unmasked, torch.no_grad():
        task.backbone(batch["input_ids"][:1])
    assert list(map(float, found)) == list(map(float, recorder.found)) != list(map(float, unmasked.found))


def test_attention_logits_of_an_encoder_decoder() -> None:
    torch.manual_seed(0)
    task = Seq2SeqLM(backbone=replace(TINY, vocab_size=257, n_encoder_layer=2))
    batch = random_batch("input_ids", "attention_mask", "decoder_input_ids")
    found = largest_attention_logits(task, batch)
    task.eval()
    with _Recorder() as recorder, torch.no_grad():
        task(*(batch[name][:1] for name in ("input_ids", "attention_mask", "decoder_input_ids")))
    assert len(found) == 2 + 2, "encoder, self-attention and cross-attention"
    assert list(map(float, found)) == list(map(float, recorder.found))


def test_attention_logits_of_a_compiled_backbone_compile_nothing(tmp_path: Path) -> None:
    task = causal_lm()
    batch = first_batch(language_modeling(tmp_path))
    expected = largest_attention_logits(task, batch)
    task.backbone.compile(backend="eager")
    task.backbone(batch["input_ids"])
    graphs = counters["stats"]["unique_graphs"]
    assert largest_attention_logits(task, batch) == expected
    task.backbone(batch["input_ids"])
    assert counters["stats"]["unique_graphs"] == graphs > 0


def weights_after(folder: Path, callbacks: list[L.Callback], **arguments: Any) -> dict[str, Tensor]:
    """Return the weights after four steps with dropout, accumulation, validations and clipping."""
    folder.mkdir(exist_ok=True)
    task = causal_lm(n_layer=2, dropout=0.2)
    settings = {**SETTINGS, "max_steps": 4, "accumulate_grad_batches": 2}
    resume = {"ckpt_path": arguments["ckpt_path"], "weights_only": True} if arguments else {}
    trainer(folder, callbacks=callbacks, **settings).fit(task, language_modeling(folder.parent), **resume)
    return task.state_dict()


def test_weights_are_the_same_bits_with_and_without_and_resumed(tmp_path: Path) -> None:
    plain = weights_after(tmp_path / "plain", [])
    run = tmp_path / "run"
    keeping = [Checkpoints(every_n_steps=1, keep=5), StepAxis(), LayerDiagnostics(), LossDiagnostics()]
    measured = weights_after(run, [*keeping, RunHistory()])
    assert plain.keys() == measured.keys()
    assert all(torch.equal(plain[name], measured[name]) for name in plain)
    before = history.read(run).scalars
    again = [Checkpoints(every_n_steps=1, keep=5), StepAxis(), LayerDiagnostics(), LossDiagnostics(), RunHistory()]
    resumed = weights_after(run, again, ckpt_path=run / "checkpoints" / "step_2.ckpt")
    assert all(torch.equal(plain[name], resumed[name]) for name in plain)
    after = history.read(run).scalars
    groups = ("weights_", "val_loss_by_")
    assert {t: v for t, v in after.items() if t.startswith(groups)} == {
        t: v for t, v in before.items() if t.startswith(groups)
    }
    assert any(tag.startswith("weights_attention_logit") for tag in after)


def test_the_update_ratio_of_a_large_matrix_is_that_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_MAX_COPIED", 8)
    module = torch.nn.Linear(7, 3, bias=False)
    module.weight.grad = torch.ones_like(module.weight)
    before = module.weight.detach().clone()
    weights = layers._Weights.measure(module)
    with torch.no_grad():
        module.weight += 0.1 * torch.randn_like(module.weight)
    (ratio,) = (value for tag, value in weights.diagnostics(torch.tensor(1.0)).items() if "update_ratio" in tag)
    change, old = (each.detach().flatten()[::3] for each in (module.weight - before, before))
    assert len(old) == 7
    torch.testing.assert_close(ratio, change.norm() / old.norm())


class OwnBatch(TypedDict):
    """Batch of a task of the user's own."""

    tokens: Tensor


class OwnTask(CausalLM):
    """Language model with a batch of its own, which computes its loss in two parts."""

    batch = OwnBatch

    def step(self, batch: Mapping[str, Any], stage: Any) -> Tensor:
        hidden, labels = self.backbone(batch["tokens"]), batch["tokens"].roll(-1, 1)
        losses: list[Tensor] = [
            self.head(part, own) for part, own in zip(hidden.unbind(0), labels.unbind(0), strict=True)
        ]
        loss: Tensor = torch.stack(losses).sum() / labels.numel()
        self.metrics(stage).update(loss, torch.tensor(labels.numel()), batch["bytes"])
        return loss

    def weight(self, batch: Mapping[str, Any]) -> Tensor:
        return torch.tensor(batch["tokens"].numel())


class OwnData(LanguageModeling):
    """Data module for ``OwnTask``."""

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return {"tokens": batch["input_ids"], "bytes": batch["num_bytes"]}


def test_tasks_with_batches_of_their_own_train_without_what_is_unknown(tmp_path: Path) -> None:
    data = language_modeling(tmp_path)
    data.__class__ = OwnData
    task = causal_lm(n_layer=1)
    task.__class__ = OwnTask
    callbacks = [StepAxis(), LayerDiagnostics(), LossDiagnostics(), RunHistory()]
    trainer(tmp_path, callbacks=callbacks, **SETTINGS).fit(task, data)
    logged = history.read(tmp_path).scalars
    assert any(tag.startswith("weights_update_ratio") for tag in logged)
    assert not any(tag.startswith(("weights_attention_logit", "val_loss_by")) for tag in logged)
