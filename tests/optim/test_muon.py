"""Muon, compared with an SVD, with a plain loop and with torch's Muon; its parameters; resumed runs."""

import copy
import io
import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.optim import FineTuning, OptimizerConfig, Schedule, muon
from gpt_lightning.optim.muon import COEFFICIENTS, Muon, orthogonalize, product_dtype
from gpt_lightning.tasks import CausalLM, TokenClassification
from gpt_lightning.tasks.load import find_checkpoint
from gpt_lightning.training import Checkpoints
from tests.runs import TINY, language_modeling, trainer

SHAPES = [(16, 16), (8, 24), (24, 8), (16, 16), (1, 5), (5, 1), (32, 8), (8, 24)]


def matrices(shapes: Sequence[tuple[int, int]], dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) * 10.0**n for n, shape in enumerate(shapes)]


def reference_update(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the result of the iterations, computed from an SVD, and the singular values divided by the norm."""
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    start = s / s.square().sum().sqrt()
    end = start
    for a, b, c in COEFFICIENTS:
        end = a * end + b * end**3 + c * end**5
    return u @ torch.diag(end) @ vh, start


# --- orthogonalization


def test_result_is_the_polynomial_of_the_singular_values() -> None:
    given = matrices(SHAPES)
    before = copy.deepcopy(given)
    for matrix, result in zip(given, orthogonalize(given), strict=True):
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.double(), reference_update(matrix)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(given, before, rtol=0, atol=0)


def test_singular_values_end_within_the_bounds() -> None:
    """All singular values of these matrices are at least 0.003 of the norm."""
    given = []
    for number, (left, right) in enumerate([(64, 64), (32, 96), (96, 32)]):
        u, v = (torch.linalg.qr(matrix).Q for matrix in matrices([(left, 32), (right, 32)], seed=number))
        s = torch.logspace(-2.2, 0.0, 32)
        assert 0.003 < float((s / s.norm()).min()) < 0.004
        given.append(u @ torch.diag(s) @ v.mT)
    found = torch.cat([torch.linalg.svdvals(result)[:32] for result in orthogonalize(given)])
    assert float(found.min()) > 0.77
    assert float(found.max()) < 1.23


@pytest.mark.parametrize("rank", [1, 8, 64])
def test_bfloat16_rounding_keeps_singular_values_within_the_bounds(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest singular values lie at the end of each polynomial's range, beyond which it diverges."""
    monkeypatch.setattr(muon, "product_dtype", lambda *_: torch.bfloat16)
    generator = torch.Generator().manual_seed(rank)
    given = [
        torch.randn(64, rank, generator=generator) @ torch.randn(rank, columns, generator=generator)
        for columns in (64, 64, 64, 64, 256, 256)
    ]
    assert max(float(torch.linalg.matrix_norm(each.float(), 2)) for each in orthogonalize(given)) < 1.25


def test_batches_give_the_results_of_single_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    given, batches = matrices(SHAPES), []
    iterate = muon._iterate
    monkeypatch.setattr(muon, "_iterate", lambda x: batches.append(tuple(x.shape)) or iterate(x))  # type: ignore[func-returns-value]
    results = orthogonalize(given)
    # A matrix and one of the transposed shape share a batch.
    assert sorted(batches) == [(1, 8, 32), (2, 1, 5), (2, 16, 16), (3, 8, 24)]
    for matrix, result in zip(given, results, strict=True):
        torch.testing.assert_close(result, orthogonalize([matrix])[0], rtol=1e-5, atol=1e-6)


def test_zeros_stay_zeros() -> None:
    (result,) = orthogonalize([torch.zeros(4, 6)])
    assert result.equal(torch.zeros(4, 6))
    assert orthogonalize([]) == []


def test_products_have_the_fastest_dtype_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for given in (torch.float16, torch.bfloat16, torch.float32):
        assert product_dtype(cpu, given) == torch.float32
    assert product_dtype(cpu, torch.float64) == torch.float64
    for has, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has, **_: has)
        assert product_dtype(gpu, torch.float32) == expected


# --- steps


ROWS = [[6, 3, 3], [8], [4], [8]]
"""A parameter of three matrices, and three parameters of one matrix each, two of the same shape."""


def weights(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    shapes = [(12, 6), (8, 6), (4, 6), (8, 6)]
    return [nn.Parameter(matrix / 10.0**n) for n, matrix in enumerate(matrices(shapes, dtype))]


def adamw_groups() -> list[list[nn.Parameter]]:
    """Return a group of matrices for AdamW and a group of vectors."""
    return [[nn.Parameter(torch.randn(7, 6)), nn.Parameter(torch.randn(3, 6))], [nn.Parameter(torch.randn(6))]]


def set_gradients(parameters: Sequence[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)


def optimizer_of(matrix_group: list[nn.Parameter], rest: list[list[nn.Parameter]]) -> Muon:
    groups: list[dict[str, Any]] = [{"params": matrix_group, "rows": ROWS, "weight_decay": 0.3, "lr": 0.2}]
    groups += [{"params": group, "weight_decay": 0.1 * number} for number, group in enumerate(rest)]
    return Muon(groups, lr=0.05, betas=(0.8, 0.9), eps=1e-6, momentum=0.7)


def test_steps_match_a_plain_loop() -> None:
    parameters = weights(torch.float64)
    expected = [p.detach().clone() for p in parameters]
    means = [torch.zeros_like(p) for p in expected]
    optimizer = optimizer_of(parameters, [])
    for step in range(4):
        set_gradients(parameters, step)
        if step == 2:
            parameters[1].grad = None  # skipped: no decay, no momentum
        for number, p in enumerate(parameters):
            if p.grad is None:
                continue
            means[number] = 0.7 * means[number] + 0.3 * p.grad
            ahead = 0.3 * p.grad + 0.7 * means[number]
            expected[number] = expected[number] * (1.0 - 0.2 * 0.3)
            start = 0
            for rows in ROWS[number]:
                part = slice(start, start + rows)
                scale = 0.2 * math.sqrt(max(rows, 6))
                expected[number][part] -= 0.2 * scale * reference_update(ahead[part])[0]
                start += rows
        optimizer.step()
        torch.testing.assert_close([p.detach() for p in parameters], expected, rtol=1e-9, atol=1e-12)


def test_other_groups_match_torchs_fused_adamw_bit_for_bit() -> None:
    torch.manual_seed(0)
    actual = adamw_groups()
    expected = copy.deepcopy(actual)
    optimizer = optimizer_of(weights(), actual)
    reference = torch.optim.AdamW(
        [{"params": group, "weight_decay": 0.1 * number} for number, group in enumerate(expected)],
        lr=0.05,
        betas=(0.8, 0.9),
        eps=1e-6,
        fused=True,
    )
    for step in range(5):
        for groups, each in ((actual, optimizer), (expected, reference)):
            set_gradients([p for group in groups for p in group], step)
            if step == 3:
                groups[0][1].grad = None
            each.step()
    for p, q in zip(chain(*actual), chain(*expected), strict=True):
        assert p.equal(q)
        state, expected_state = optimizer.state[p], reference.state[q]
        assert state.keys() == expected_state.keys()
        assert all(state[name].equal(value) for name, value in expected_state.items())


def test_steps_match_torchs_muon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's Muon uses bfloat16 and Jordan's coefficients, and supports parameters of one matrix only."""
    monkeypatch.setattr(muon, "product_dtype", lambda *_: torch.bfloat16)
    monkeypatch.setattr(muon, "COEFFICIENTS", [(3.4445, -4.7750, 2.0315)] * 5)
    actual = weights()[1:]
    expected = copy.deepcopy(actual)
    group = {"params": actual, "rows": ROWS[1:], "weight_decay": 0.3}
    optimizer = Muon([group], lr=0.02, betas=(0.9, 0.9), eps=1e-8, momentum=0.7)
    reference = torch.optim.Muon(expected, lr=0.02, weight_decay=0.3, momentum=0.7, adjust_lr_fn="match_rms_adamw")
    start = [p.detach().clone() for p in actual]
    for step in range(3):
        for parameters, each in ((actual, optimizer), (expected, reference)):
            set_gradients(parameters, step)
            each.step()
    for p, q, before in zip(actual, expected, start, strict=True):
        assert float((p.detach() - before).norm()) > 0.05
        torch.testing.assert_close(p, q, rtol=0, atol=1e-3)


def test_saved_state_resumes_bit_for_bit() -> None:
    torch.manual_seed(0)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        matrix_group, rest = weights(), adamw_groups()
        runs.append(([*matrix_group, *chain(*rest)], optimizer_of(matrix_group, rest)))
    (straight, optimizer), (resumed, fresh) = runs
    for step in range(2):
        set_gradients(straight, step)
        optimizer.step()
    file = io.BytesIO()
    torch.save((optimizer.state_dict(), [p.detach() for p in straight]), file)
    file.seek(0)
    state, values = torch.load(file, weights_only=True)
    fresh.load_state_dict(state)
    for p, value in zip(resumed, values, strict=True):
        p.data.copy_(value)
    for step in range(2, 5):
        for parameters, each in ((straight, optimizer), (resumed, fresh)):
            set_gradients(parameters, step)
            each.step()
    assert all(p.equal(q) for p, q in zip(straight, resumed, strict=True))


def test_closure_is_called_with_gradients_enabled() -> None:
    parameters = weights()
    optimizer = optimizer_of(parameters, [])

    def closure() -> float:
        loss = sum(p.square().sum() for p in parameters)
        assert isinstance(loss, Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    before = sum(float(p.detach().square().sum()) for p in parameters)
    assert optimizer.step(closure) == pytest.approx(before)
    assert sum(float(p.detach().square().sum()) for p in parameters) < before


# --- the parameters for Muon


GPT2: dict[str, Any] = {"n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 4, "vocab_size": 5}
LLAMA = GPT2 | {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False, "n_kv_head": 1}
MUON = OptimizerConfig(kind="muon", lr=0.1, muon_lr=0.3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (GPT2, {"qkv": [8, 8, 8], "attention.proj": [8], "up": [32], "mlp.proj": [8]}),
        # Two query heads, one key/value head.
        (LLAMA, {"qkv": [8, 4, 4], "attention.proj": [8], "gate": [64], "up": [64], "mlp.proj": [8]}),
        (LLAMA | {"qk_norm": True, "tie_embeddings": False}, None),
        (GPT2 | {"bias": "qkv", "tie_embeddings": False}, None),
    ],
    ids=["gpt2", "llama", "all", "qkv"],
)
def test_muon_gets_the_matrices_of_the_blocks_only(shape: Any, expected: dict[str, list[int]] | None) -> None:
    module = CausalLM(backbone=GPTConfig(**shape), optimizer=MUON)
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, Muon)
    names = {p: name for name, p in module.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        for number, p in enumerate(group["params"]):
            name = names.pop(p)
            is_matrix = name.startswith("backbone.blocks.") and p.ndim == 2
            assert (group["rows"] is not None) == is_matrix, name
            assert group["lr_ratio"] == pytest.approx(3.0 if is_matrix else 1.0)
            assert group["weight_decay"] == (0.1 if p.ndim == 2 else 0.0)
            if is_matrix:
                found[name] = group["rows"][number]
    assert not names
    if expected is not None:
        layers = {"qkv": "attention.qkv", "up": "mlp.up", "gate": "mlp.gate"}
        assert found == {
            f"backbone.blocks.{block}.{layers.get(name, name)}.weight": rows
            for block in range(2)
            for name, rows in expected.items()
        }


def test_fine_tuning_settings_apply_to_muon_too() -> None:
    shape = GPTConfig(**(GPT2 | {"n_layer": 3}))
    fine_tuning = FineTuning(freeze=1, layer_lr_decay=0.5, head_lr=0.7)
    module = TokenClassification(backbone=shape, labels=["O", "B-X"], optimizer=MUON, fine_tuning=fine_tuning)
    rates = {
        name: 0.1 * group["lr_ratio"]
        for group in module.configure_optimizers().param_groups
        for name, p in module.named_parameters()
        if any(p is each for each in group["params"])
    }
    for name, rate in rates.items():
        assert not name.startswith("backbone.blocks.0."), "frozen"
        if name.startswith("head."):
            assert rate == pytest.approx(0.7)
        elif "blocks" in name:
            peak = 0.3 if name.endswith(".weight") and "norm" not in name else 0.1
            assert rate == pytest.approx(peak * 0.5 ** (3 - int(name.split(".")[2]))), name
        else:
            assert rate == pytest.approx(0.1), name


def test_muon_gets_no_parameters_if_only_the_head_is_trained() -> None:
    module = TokenClassification(
        backbone=GPTConfig(**GPT2), labels=["O", "B-X"], optimizer=MUON, fine_tuning=FineTuning(freeze="all")
    )
    optimizer = module.configure_optimizers()
    assert [group["rows"] for group in optimizer.param_groups] == [None, None]
    set_gradients(list(module.head.parameters()), 0)
    optimizer.step()


class LinearWithAdapter(nn.Module):
    """A frozen layer with a trained one, like a LoRA adapter."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = layer.requires_grad_(False)
        self.adapter = nn.Linear(layer.in_features, layer.out_features)

    @property
    def weight(self) -> Tensor:
        return self.base_layer.weight


def test_adamw_trains_adapters() -> None:
    module = CausalLM(backbone=GPTConfig(**GPT2), optimizer=MUON)
    attention: Any = module.backbone.blocks[0].attention
    attention.qkv = LinearWithAdapter(attention.qkv)
    rows = {p: group["rows"] for group in module.configure_optimizers().param_groups for p in group["params"]}
    assert rows[attention.qkv.adapter.weight] is None
    assert attention.qkv.base_layer.weight not in rows
    assert attention.qkv.base_layer.weight not in module.backbone.matrices()
    assert rows[attention.proj.weight] is not None


def test_muon_lr_defaults_to_lr() -> None:
    module = CausalLM(backbone=GPTConfig(**GPT2), optimizer=OptimizerConfig(kind="muon"))
    assert {group["lr_ratio"] for group in module.configure_optimizers().param_groups} == {1.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"muon_lr": 0.0}, r"optimizer\.muon_lr=0\.0 must be positive"),
        ({"muon_momentum": 1.0}, r"optimizer\.muon_momentum=1\.0 must lie in \[0, 1\)"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OptimizerConfig(kind="muon", **settings)


@pytest.mark.parametrize("strategy", [FSDPStrategy(), ModelParallelStrategy()], ids=["fsdp", "model_parallel"])
def test_sharding_strategies_are_refused(strategy: Strategy) -> None:
    for kind in ("muon", "adamw"):
        module = CausalLM(backbone=GPTConfig(**GPT2), optimizer=OptimizerConfig(kind=kind))
        module._trainer = Mock(strategy=strategy, callbacks=[], datamodule=None)
        if kind == "adamw":
            module.setup("fit")
            continue
        module.setup("test")
        message = rf"{type(strategy).__name__} shards every matrix, .*kind=muon needs unsharded matrices. Use ddp, or "
        with pytest.raises(InputError, match=message):
            module.setup("fit")


# --- runs


def run(folder: Path, kind: Any, until: int, ckpt_path: Path | None = None, **settings: Any) -> dict[str, Tensor]:
    """Train in ``folder`` with two micro-batches per step; return the states of model and optimizer."""
    optimizer = OptimizerConfig(**({"kind": kind, "lr": 1e-2, "muon_lr": 2e-2} | settings))
    L.seed_everything(0, verbose=False)
    module = CausalLM(
        backbone=TINY,
        vocab_size=257,
        optimizer=optimizer,
        schedule=Schedule(kind="linear", warmup_steps=2, total_steps=8),
    )
    fit = trainer(folder, callbacks=[Checkpoints()], max_steps=until, max_epochs=-1, accumulate_grad_batches=2)
    fit.fit(module, datamodule=language_modeling(folder.parent), ckpt_path=ckpt_path, weights_only=True)
    state = {f"model.{name}": value for name, value in module.state_dict().items()}
    for number, moments in fit.optimizers[0].state_dict()["state"].items():
        state |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
    groups = fit.optimizers[0].param_groups
    state["momentum"] = torch.tensor([group.get("momentum", 0.0) for group in groups])
    return state


def test_a_resumed_run_matches_bit_for_bit(tmp_path: Path) -> None:
    expected = run(tmp_path / "straight", "muon", 6)
    run(tmp_path / "first", "muon", 3)
    found = run(tmp_path / "second", "muon", 6, find_checkpoint(str(tmp_path / "first"), "last"))
    assert any(name.endswith("momentum_buffer") for name in found)
    assert any(name.endswith("exp_avg_sq") for name in found)
    assert found.keys() == expected.keys()
    assert all(value.equal(expected[name]) for name, value in found.items())


def test_new_settings_override_the_saved_ones(tmp_path: Path) -> None:
    run(tmp_path / "first", "muon", 1)
    saved = find_checkpoint(str(tmp_path / "first"), "last")
    found = run(tmp_path / "second", "muon", 2, saved, muon_momentum=0.5)
    assert set(found["momentum"].tolist()) == {0.5}


@pytest.mark.parametrize(("kind", "other"), [("adamw", "muon"), ("muon", "adamw")])
def test_resuming_with_another_kind_is_refused(tmp_path: Path, kind: str, other: str) -> None:
    run(tmp_path / "first", kind, 1)
    saved = find_checkpoint(str(tmp_path / "first"), "last")
    message = rf"the run was trained with model\.optimizer\.kind={kind}, so {other} cannot .* Leave out the option to"
    with pytest.raises(InputError, match=message):
        run(tmp_path / "second", other, 2, saved)
