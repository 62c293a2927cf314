"""LoRA adapters, compared with their formula and with peft."""

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT
from gpt_lightning.models.huggingface import read_config
from gpt_lightning.models.huggingface.adapter import save_adapter
from gpt_lightning.models.lora import LoRA, add_adapters, merge_adapters, weights_sha256
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.restore import restore_task
from tests.models.huggingface.families import LABELS, PAD, PAIRS, TASKS, our_logits, reference_logits, save_reference
from tests.models.test_gpt import BLOCK_SIZE, GEMMA3, LLAMA, OLMO2, model, random_ids
from tests.runs import trainer

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": LLAMA,
    "grouped": LLAMA | {"n_kv_head": 2, "qk_norm": True, "mlp": "relu2", "nope_interval": 2, "head_dim": 6},
    "qwen": LLAMA | {"bias": "qkv", "attention": "bidirectional"},
    "olmo2": OLMO2,
    "gemma3": GEMMA3,
    "no_bias": {"bias": False, "mlp": "swiglu", "qk_norm": True},
}
ALL = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
TARGETS = pytest.mark.parametrize("targets", ["attention", "mlp", "all"])


def with_adapters(shape: dict[str, Any], **settings: Any) -> GPT:
    """Return the backbone of ``model`` with random nonzero adapters."""
    gpt = model(**shape)
    add_adapters(gpt, LoRA(**settings))
    randomize_trained(gpt)
    return gpt


def randomize_trained(module: nn.Module) -> None:
    torch.manual_seed(3)
    for parameter in module.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)


@ALL
@TARGETS
def test_targets_select_the_layers_with_adapters(shape: dict[str, Any], targets: Any) -> None:
    gpt = model(**shape)
    linears = {name for name, module in gpt.named_modules() if isinstance(module, nn.Linear)}
    expected = {name for name in linears if targets == "all" or f".{targets}." in name}
    add_adapters(gpt, LoRA(r=2, targets=targets))
    trained = {name for name, parameter in gpt.named_parameters() if parameter.requires_grad}
    assert trained == {f"{name}.lora_{letter}.default.weight" for name in expected for letter in "AB"}


@ALL
def test_new_adapters_do_not_change_the_output(shape: dict[str, Any]) -> None:
    gpt, ids = model(**shape), random_ids(3, 8)
    before = gpt(ids)
    add_adapters(gpt, LoRA(r=2, dropout=0.5))
    assert torch.equal(gpt.train()(ids), before)


@ALL
@TARGETS
def test_outputs_and_gradients_match_the_formula(shape: dict[str, Any], targets: Any) -> None:
    lora = LoRA(r=3, alpha=5, targets=targets)
    gpt, plain, ids = with_adapters(shape, r=3, alpha=5, targets=targets), model(**shape), random_ids(3, 8)
    direction = torch.randn(3, 8, 32, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    found = gpt(ids)
    (found * direction).sum().backward()

    state, weights = dict(gpt.named_parameters()), dict(plain.named_parameters())
    leaves: dict[str, Tensor] = {}
    dense: dict[str, Tensor] = dict(weights)
    for name, _ in lora.layers(plain):
        a, b = (state[f"{name}.lora_{letter}.default.weight"].detach().requires_grad_() for letter in "AB")
        leaves |= {f"{name}.lora_A.default.weight": a, f"{name}.lora_B.default.weight": b}
        dense[f"{name}.weight"] = weights[f"{name}.weight"].detach() + 5 / 3 * b @ a
    expected = functional_call(plain, dense, (ids,))
    (expected * direction).sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert {name for name, parameter in state.items() if parameter.grad is not None} == set(leaves)
    for name, leaf in leaves.items():
        torch.testing.assert_close(state[name].grad, leaf.grad, rtol=1e-9, atol=1e-9, msg=name)


@ALL
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_merged_weights_give_the_same_output(shape: dict[str, Any], dtype: torch.dtype) -> None:
    gpt, plain, ids = with_adapters(shape, r=3).to(dtype), model(**shape).to(dtype), random_ids(3, 8)
    merge_adapters(plain, adapters_of(gpt), LoRA(r=3))
    found, expected = plain(ids).detach(), gpt(ids).detach()
    error = float((found - expected).abs().max() / expected.abs().max())
    assert error < (1e-12 if dtype == torch.float64 else 2e-6)
    assert not torch.allclose(found, model(**shape).to(dtype)(ids), rtol=1e-3), "the adapters have no effect"


def adapters_of(gpt: GPT) -> dict[str, Tensor]:
    return {f"backbone.{name}": value for name, value in gpt.state_dict().items() if ".lora_" in name}


def test_adapters_that_do_not_fit_are_not_merged() -> None:
    state, plain = adapters_of(with_adapters({}, r=3)), model()
    before = weights_sha256(plain)
    name = "backbone.blocks.0.attention.qkv.lora_A.default.weight"
    with pytest.raises(
        RuntimeError, match=r"qkv has factors of shape \[3, 32\] and \[96, 3\]; with lora.r=4 they must"
    ):
        merge_adapters(plain, state, LoRA(r=4))
    with pytest.raises(RuntimeError, match=rf"{name} is missing"):
        merge_adapters(plain, {key: value for key, value in state.items() if key != name}, LoRA(r=3))
    with pytest.raises(RuntimeError, match=r"lora_A.default.weight is not an adapter of lora.targets=attention"):
        merge_adapters(plain, state, LoRA(r=3, targets="attention"))
    with pytest.raises(RuntimeError, match=r"backbone.norm.weight is not an adapter"):
        merge_adapters(plain, state | {"backbone.norm.weight": torch.ones(32)}, LoRA(r=3))
    assert weights_sha256(plain) == before, "some adapters were merged"


def test_checksum_covers_names_shapes_dtypes_and_values() -> None:
    one, other = nn.Linear(2, 3), nn.Linear(2, 3)
    other.load_state_dict(one.state_dict())
    assert weights_sha256(one) == weights_sha256(other)
    seen = {weights_sha256(one), weights_sha256(other.double()), weights_sha256(nn.Sequential(one))}
    layer, reshaped = nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False)
    reshaped.weight.data = layer.weight.data.view(2, 3)
    assert weights_sha256(layer) != weights_sha256(reshaped)
    with torch.no_grad():
        one.bias[1] = -one.bias[1]
    assert len(seen | {weights_sha256(one)}) == 4


def test_seed_determines_the_initial_adapters() -> None:
    def start(seed: int) -> dict[str, Tensor]:
        gpt = model()
        torch.manual_seed(seed)
        add_adapters(gpt, LoRA(r=3))
        return adapters_of(gpt)

    torch.testing.assert_close(start(1), start(1), rtol=0, atol=0)
    name = "backbone.blocks.1.mlp.up.lora_A.default.weight"
    assert not torch.equal(start(1)[name], start(2)[name])
    assert all(not value.any() for key, value in start(1).items() if ".lora_B." in key)


def test_flops_match_torchs_counter() -> None:
    gpt = with_adapters(LLAMA, r=3).train()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        gpt(random_ids(3, BLOCK_SIZE)).sum().backward()
    # The input of the first layer needs no gradient.
    layer = gpt.get_submodule("blocks.0.attention.qkv")
    first = sum(parameter.numel() for name, parameter in layer.named_parameters() if "lora_B" not in name)
    assert counter.get_total_flops() == (gpt.flops_per_token() - 2 * first) * 3 * BLOCK_SIZE


# --- compatibility with peft


def task_on(folder: Path, name: str, **arguments: Any) -> tuple[Task, dict[str, Any]]:
    """Return a task with random adapters for the model in a folder, and its checkpoint."""
    if "Classification" in name:
        arguments["labels"] = LABELS
    if name == "SequenceClassification":
        arguments.setdefault("pooling", "last")
    shape = read_config(folder).config
    task: Task = TASKS[name](backbone=shape, init_from=str(folder), lora=LoRA(r=3, alpha=5), **arguments)
    randomize_trained(task)
    fit = trainer(folder)
    fit.strategy.connect(task)
    fit.save_checkpoint(folder / "one.ckpt", weights_only=True)
    return task.eval(), read_checkpoint(folder / "one.ckpt")


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def export_adapter(folder: Path, name: str, **arguments: Any) -> Task:
    """Write the adapters of a task in peft's format; return the task."""
    task, checkpoint = task_on(folder, name, **arguments)
    (folder / "adapter").mkdir()
    plain = restore_task(type(task), checkpoint)
    assert_close(our_logits(plain.eval()), our_logits(task))
    save_adapter(
        folder / "adapter", plain.backbone, checkpoint, task.huggingface_head, read_config(folder), str(folder)
    )
    return task


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # raised by peft itself
@pytest.mark.parametrize(
    ("family", "task"),
    [pair for pair in PAIRS if pair[0] not in ("llama_attention_bias", "mistral_window", "qwen3", "smollm2")],
)
def test_peft_reads_adapters_and_head(tmp_path: Path, family: str, task: str) -> None:
    save_reference(tmp_path, family)
    if task == "QuestionAnswering" and not family.startswith(("gpt2", "mistral")):
        with pytest.raises(InputError, match=r"peft cannot load these adapters: \w+ does not find the backbone"):
            export_adapter(tmp_path, task)
        return
    ours = export_adapter(tmp_path, task)
    options: dict[str, Any] = {"id2label": dict(enumerate(LABELS))} if "Classification" in task else {}
    base = getattr(transformers, f"AutoModelFor{task}").from_pretrained(tmp_path, pad_token_id=PAD, **options)
    reference = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    expected = our_logits(ours)
    assert_close(reference_logits(reference), expected)
    with reference.disable_adapter():
        assert not torch.allclose(reference_logits(reference), expected, rtol=1e-2), "the adapters have no effect"
    settings = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["base_model_name_or_path"]) == (3, 5, str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "mean"}, "peft cannot load these adapters: .* has pooling=mean"),
        ({}, r"adapter_config.json already exists"),
    ],
)
def test_adapters_that_peft_cannot_use_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    save_reference(tmp_path, "llama")
    if not arguments:
        export_adapter(tmp_path, "SequenceClassification")
        (tmp_path / "adapter").rename(tmp_path / "kept")
    task, checkpoint = task_on(tmp_path, "SequenceClassification", **arguments)
    plain = restore_task(type(task), checkpoint)
    with pytest.raises(InputError, match=message):
        save_adapter(
            tmp_path / "kept", plain.backbone, checkpoint, task.huggingface_head, read_config(tmp_path), "base"
        )
