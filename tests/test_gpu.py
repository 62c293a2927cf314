"""Tests that compare a GPU with the CPU: ``pytest tests/test_gpu.py`` on a machine with a GPU."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data.base import DataModule
from gpt_lightning.models import GPT, GPTConfig
from gpt_lightning.models.generation.answers import generate_answers
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.decoding import Decoding
from gpt_lightning.models.generation.generate import Sampling, generate
from gpt_lightning.models.kernels.elementwise import rotate
from gpt_lightning.models.lm_head import linear_cross_entropy
from gpt_lightning.optim import OptimizerConfig
from gpt_lightning.tasks import CausalLM, Task
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint
from tests.commands.run.test_cli import CONFIG
from tests.models.kernels.test_elementwise import CASES, COS, SIGNED_SIN
from tests.runs import HEADS, causal_lm, head, language_modeling, trainer, write_text
from tests.test_golden_losses import SHAPES, Losses

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),  # the CPU runs are the reference
    pytest.mark.filterwarnings("ignore:.*TensorFloat32 tensor cores"),  # float32 is intended
]
has_bfloat16 = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0), reason="no GPU with bfloat16"
)
GPU = {"accelerator": "gpu", "devices": 1}
ON_GPU = CONFIG.replace("accelerator: cpu", "accelerator: gpu")


def losses_of(folder: Path, parts: Callable[[], tuple[Task, DataModule]], **arguments: Any) -> list[float]:
    """Return the training losses of 20 steps."""
    module, data = parts()
    losses = Losses()
    trainer(folder, callbacks=[losses], max_steps=20, limit_val_batches=0, **arguments).fit(module, datamodule=data)
    return losses.values


def pretraining(
    folder: Path, name: str = "llama", kind: Literal["adamw", "muon"] = "adamw"
) -> tuple[CausalLM, DataModule]:
    """Return a tiny language model and its data, without dropout, whose random numbers differ on a GPU."""
    module = causal_lm(**SHAPES[name], dropout=0.0)
    module.optimizer_config = OptimizerConfig(lr=2e-3, kind=kind)
    return module, language_modeling(folder, block_size=16)


# --- numbers


@pytest.mark.parametrize("name", SHAPES)
def test_pretraining_matches_the_cpu(tmp_path: Path, name: str) -> None:
    expected = losses_of(tmp_path, lambda: pretraining(tmp_path, name))
    found = losses_of(tmp_path, lambda: pretraining(tmp_path, name), **GPU)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", HEADS)
def test_heads_match_the_cpu(tmp_path: Path, name: str) -> None:
    shape = {key: value for key, value in SHAPES["llama"].items() if key != "block_size"}

    def parts() -> tuple[Task, DataModule]:
        module, data = head(tmp_path, name, dropout=0.0, **shape)
        module.optimizer_config = OptimizerConfig(lr=2e-3)  # at 1e-2 the loss of qa is unstable
        return module, data

    assert losses_of(tmp_path, parts, **GPU) == pytest.approx(losses_of(tmp_path, parts), rel=1e-3)


@has_bfloat16
def test_bfloat16_is_close_to_float32(tmp_path: Path) -> None:
    exact = losses_of(tmp_path, lambda: pretraining(tmp_path), **GPU)
    mixed = losses_of(tmp_path, lambda: pretraining(tmp_path), **GPU, precision="bf16-mixed")
    assert mixed != exact
    assert mixed == pytest.approx(exact, rel=2e-2)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_optimizers_match_the_cpu(tmp_path: Path, kind: Literal["adamw", "muon"]) -> None:
    expected = losses_of(tmp_path, lambda: pretraining(tmp_path, kind=kind))
    found = losses_of(tmp_path, lambda: pretraining(tmp_path, kind=kind), **GPU)
    # On a GPU, Muon multiplies matrices in bfloat16.
    assert found == pytest.approx(expected, rel=1e-4 if kind == "adamw" else 2e-2)


@pytest.mark.parametrize("name", CASES)
def test_hand_written_gradients_match_float64(name: str) -> None:
    actual, plain, shapes = CASES[name]
    if name == "rotate":
        actual = partial(rotate, cos=COS.cuda(), signed_sin=SIGNED_SIN.cuda())
    inputs = [torch.randn(shape, device="cuda", requires_grad=True) for shape in shapes]
    exact = [each.detach().cpu().double().requires_grad_() for each in inputs]
    found, wanted = actual(*inputs), plain(*exact)
    direction = torch.randn_like(found)
    gradients = torch.autograd.grad(found, inputs, direction)
    wanted_gradients = torch.autograd.grad(wanted, exact, direction.cpu().double())
    for mine, true in zip((found, *gradients), (wanted, *wanted_gradients), strict=True):
        torch.testing.assert_close(mine.detach().cpu().double(), true.detach(), rtol=1e-4, atol=1e-5)


def test_chunked_loss_matches_the_dense_formula() -> None:
    hidden = torch.randn(3000, 64, device="cuda", requires_grad=True)
    weight = torch.randn(5003, 64, device="cuda", requires_grad=True)
    labels = torch.randint(5003, (3000,), device="cuda").masked_fill(
        torch.rand(3000, device="cuda") < 0.3, IGNORE_INDEX
    )
    exact = [each.detach().double().requires_grad_() for each in (hidden, weight)]
    dense = torch.nn.functional.cross_entropy(
        exact[0] @ exact[1].mT, labels, ignore_index=IGNORE_INDEX, reduction="sum"
    )
    loss = linear_cross_entropy(hidden, weight, labels)
    assert loss.item() == pytest.approx(dense.item(), rel=1e-6)
    for mine, true in zip(torch.autograd.grad(loss, (hidden, weight)), torch.autograd.grad(dense, exact), strict=True):
        assert (mine - true).norm() < 1e-5 * true.norm()


def test_greedy_text_matches_the_cpu() -> None:
    module = causal_lm(n_layer=2, n_embd=32, block_size=32).eval()
    prompt = torch.tensor([[1, 2, 3], [4, 5, 6]])

    def text(device: str) -> Tensor:
        module.to(device)
        sampling = Sampling(temperature=0.0)
        steps = generate(Decoder(module.backbone), module.head, prompt.to(device), max_new_tokens=20, sampling=sampling)
        return torch.stack([ids.cpu() for ids in steps])

    assert text("cuda").equal(text("cpu"))


@pytest.mark.parametrize("num_beams", [1, 3])
def test_texts_of_a_batch_match_those_of_the_cpu(num_beams: int) -> None:
    module = causal_lm(n_layer=2, n_embd=32, block_size=32).double().eval()
    decoding = Decoding(
        max_new_tokens=20,
        min_new_tokens=4,
        sampling=Sampling(temperature=0.0),
        num_beams=num_beams,
        repetition_penalty=1.2,
        no_repeat_ngram_size=2,
    )

    def answers(device: str) -> list[list[list[int]]]:
        module.to(device)
        found = generate_answers(
            Decoder(module.backbone),
            module.head,
            [[1, 2, 3], [4, 5, 6, 7, 8], [9]],
            decoding,
            generators=[torch.Generator(device)] * 3,
            stop_ids=range(50),
        )
        return [[answer.ids for answer in best] for best in found]

    assert answers("cuda") == answers("cpu")


# --- speed


@has_bfloat16
def test_attention_is_flash_attention() -> None:
    """Flash attention applies to causal masks and heads of 64 channels or more, grouped or not."""
    for n_kv_head in (4, 2):
        config = GPTConfig(
            vocab_size=99, n_layer=2, n_head=4, n_kv_head=n_kv_head, n_embd=256, block_size=128, position="rotary"
        )
        backbone = GPT(config).cuda()
        input_ids = torch.randint(99, (2, 128), device="cuda")
        with torch.autocast("cuda", torch.bfloat16), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            hidden = backbone(input_ids)  # raises if the kernel does not support the inputs
            hidden.sum().backward()
        with sdpa_kernel(SDPBackend.MATH):
            exact = backbone(input_ids)
        assert (hidden - exact).norm() < 2e-2 * exact.norm()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch's own
@pytest.mark.parametrize("name", SHAPES)
def test_a_compiled_backbone_has_the_same_losses(tmp_path: Path, name: str) -> None:
    def compiled() -> tuple[CausalLM, DataModule]:
        module, data = pretraining(tmp_path, name)
        module.backbone.compile()
        module.head.compile()
        return module, data

    expected = losses_of(tmp_path, lambda: pretraining(tmp_path, name), **GPU)
    assert losses_of(tmp_path, compiled, **GPU) == pytest.approx(expected, rel=1e-4)


# --- the command line


def command(folder: Path, *arguments: str) -> str:
    """Run a command in a process of its own and return its standard output."""
    write_text(folder)
    (folder / "config.yaml").write_text(ON_GPU)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    line = [sys.executable, "-m", "gpt_lightning", *arguments]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@has_bfloat16
def test_defaults_on_a_gpu_are_fast(tmp_path: Path) -> None:
    out = command(tmp_path, "fit", "-c", "config.yaml")
    assert "precision bf16-mixed, flash attention" in out
    assert "a compiled backbone, fused AdamW" in out
    checkpoint = read_checkpoint(find_checkpoint(str(tmp_path / "logs/beer/version_0"), "last"))
    assert checkpoint["state_dict"]["head.weight"].dtype == torch.float32
    assert "loss" in command(tmp_path, "test", "-c", "config.yaml", "--ckpt_path=logs/beer/version_0")
    # A model trained on a GPU generates on every device.
    for device in ("cpu", "cuda"):
        text = command(tmp_path, "generate", "logs/beer/version_0", "--prompt=1 bottles", f"--device={device}")
        assert "1 bottles" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path, kind: str) -> None:
    out = command(
        tmp_path,
        *("verify-resume", "-c", "config.yaml", "--steps=6", "--save_at=3", "--compile=false"),
        f"--model.optimizer.kind={kind}",
    )
    assert "equal, bit for bit" in out


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_multi_gpu_strategies_run_on_one_gpu(tmp_path: Path, strategy: str) -> None:
    """The weights equal those of a run without a strategy."""
    steady = ("--model.backbone.dropout=0", "--model.optimizer.eps=1e-3", "--trainer.precision=32", "--compile=false")
    command(tmp_path, "fit", "-c", "config.yaml", *steady)
    command(tmp_path, "fit", "-c", "config.yaml", *steady, f"--trainer.strategy={strategy}")
    one, other = (
        read_checkpoint(find_checkpoint(str(tmp_path / f"logs/beer/version_{number}"), "last"))["state_dict"]
        for number in (0, 1)
    )
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert other[name].cpu().numpy() == pytest.approx(value.cpu().numpy(), abs=1e-5), name
