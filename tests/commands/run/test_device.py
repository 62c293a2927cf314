"""Default precision and compilation; for GPUs only the choice is tested, without running on one."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.commands.run.device import Choice, Device, choose, find_device
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.generate import Sampling, generate
from gpt_lightning.models.lm_head import LMHead
from gpt_lightning.tasks.load import read_checkpoint
from tests.commands.run.test_cli import Run, fit, run
from tests.runs import causal_lm, language_modeling, trainer
from tests.test_golden_losses import Losses

__all__ = ["run"]  # a fixture

CPU = Device(None, True)
H100, T4, P100 = (Device(capability, True) for capability in ((9, 0), (7, 5), (6, 0)))
A100_WITHOUT_A_COMPILER = Device((8, 0), False)
FLASH = "precision bf16-mixed, flash attention for causal masks"
CASES: list[tuple[Device, bool, bool | None, bool, str | None, bool, str | None]] = [
    # device, has_precision, compiles, pays -> precision, compile, message
    (CPU, False, None, True, None, False, None),
    (CPU, True, None, True, None, False, None),
    (CPU, False, True, True, None, True, None),
    (H100, False, None, True, "bf16-mixed", True, f"capability 9.0): {FLASH}, a compiled backbone, fused AdamW."),
    (H100, False, None, False, "bf16-mixed", False, f": {FLASH}, fused AdamW."),
    (H100, False, True, False, "bf16-mixed", True, f": {FLASH}, fused AdamW."),
    (H100, False, False, True, "bf16-mixed", False, f": {FLASH}, fused AdamW."),
    (
        H100,
        True,
        None,
        True,
        None,
        True,
        ": a compiled backbone, fused AdamW. Change them with --trainer.precision and",
    ),
    (H100, True, False, True, None, False, None),
    (H100, True, True, True, None, True, None),
    (A100_WITHOUT_A_COMPILER, False, None, True, "bf16-mixed", False, f"capability 8.0): {FLASH}, fused AdamW."),
    (T4, False, None, True, None, True, "capability 7.5): a compiled backbone, fused AdamW."),
    (P100, False, None, True, None, False, None),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_device_decides_what_the_user_does_not_set(case: Any) -> None:
    device, has_precision, compiles, pays, *expected, message = case
    choice = choose(device, has_precision=has_precision, compiles=compiles, pays=pays)
    assert [choice.precision, choice.compile] == expected
    assert (choice.message is None) == (message is None)
    assert message is None or message in (choice.message or "")
    assert "\n" not in (choice.message or "")


@pytest.mark.parametrize(
    ("device", "needs"),
    [(Device(None, False), r"a C\+\+ compiler \(g\+\+ or clang\+\+\)"), (A100_WITHOUT_A_COMPILER, "and triton")],
)
def test_nothing_is_compiled_without_a_compiler(device: Device, needs: str) -> None:
    with pytest.raises(
        InputError, match=rf"--compile=true needs .*{needs}. Install what is missing, or leave the option out"
    ):
        choose(device, has_precision=False, compiles=True, pays=True)


def test_the_device_of_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    found = [find_device(accelerator).capability for accelerator in ("auto", "gpu", "cuda", "cpu", "tpu")]
    assert found == [(9, 0)] * 3 + [None] * 2
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    assert [find_device(accelerator).has_compiler for accelerator in ("cpu", "gpu")] == [False, False]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == Device(None, False)


def test_a_run_uses_the_choice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[bool, bool | None, bool]] = []
    compiled: list[GPT | LMHead] = []

    def chosen(device: Device, *, has_precision: bool, compiles: bool | None, pays: bool) -> Choice:
        assert device.capability is None
        calls.append((has_precision, compiles, pays))
        return Choice(None if has_precision else "64-true", bool(compiles), "the choice")

    monkeypatch.setattr("gpt_lightning.commands.run.cli.choose", chosen)
    for part in (GPT, LMHead):
        monkeypatch.setattr(part, "compile", lambda part: compiled.append(part))
    short = ("--trainer.max_steps=1", "--trainer.limit_val_batches=0")
    assert fit(run, *short).count("the choice") == 1
    fit(run, *short, "--trainer.precision=32", "--compile=true")
    states = [read_checkpoint(Path(f"logs/beer/version_{n}/checkpoints/step_1.ckpt"))["state_dict"] for n in (0, 1)]
    assert [state["head.weight"].dtype for state in states] == [torch.float64, torch.float32]
    code, _, err = run("test", "--ckpt_path=logs/beer/version_0", "--data.test=text.txt", "--data.cache_dir=cache")
    assert code == 0, err
    assert calls == [(False, None, True), (True, True, True), (False, None, False)]
    assert [type(part) for part in compiled] == [GPT, LMHead]


# --- memory

COUNT_PAGE_FAULTS = """
import resource, sys
import torch
from gpt_lightning.commands.run.device import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    return [torch.ones(10_000_000) for _ in range(4)]  # larger than the largest threshold that glibc raises by itself
for _ in range(10):
    step()  # until the heap no longer grows
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_freed_memory_is_reused() -> None:
    def page_faults(setting: str) -> int:
        return int(subprocess.check_output([sys.executable, "-c", COUNT_PAGE_FAULTS, setting], text=True))

    assert page_faults("keep") < page_faults("default") / 10


@pytest.mark.parametrize(("device", "kept"), [(CPU, 1), (H100, 0)], ids=["cpu", "gpu"])
def test_a_run_on_a_cpu_reuses_freed_memory(
    run: Run, monkeypatch: pytest.MonkeyPatch, device: Device, kept: int
) -> None:
    calls: list[None] = []
    monkeypatch.setattr("gpt_lightning.commands.run.cli.find_device", lambda _: device)
    monkeypatch.setattr("gpt_lightning.commands.run.cli.keep_freed_memory", lambda: calls.append(None))
    fit(run, "--trainer.max_steps=1", "--trainer.precision=32", "--compile=false")
    assert len(calls) == kept


# --- compiling

COMPILED: list[dict[str, Any]] = [
    {},
    {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False},
    {"position": "rotary", "norm": "rmsnorm", "mlp": "relu2", "qk_norm": True},
]


def test_generation_does_not_compile() -> None:
    """Each token makes the cache longer, and every new length would be compiled again."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("compiled")

    module = causal_lm().eval()
    module.backbone.compile(backend=refuse)
    prompt = torch.zeros(1, 2, dtype=torch.int64)
    tokens = generate(
        Decoder(module.backbone), module.head, prompt, max_new_tokens=3, sampling=Sampling(temperature=0.0)
    )
    assert len(list(tokens)) == 3


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch warns about its own code
@pytest.mark.parametrize("shape", COMPILED, ids=str)
def test_no_hand_written_backward_pass_is_compiled(shape: dict[str, Any]) -> None:
    """A compiler has turned that of SwiGLU into gradients of 0."""
    graphs: list[str] = []

    def record(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(str(graph.graph))
        return graph.forward

    module = causal_lm(dropout=0.0, **shape)
    module.backbone.compile(backend=record)
    module.backbone(torch.zeros(1, 4, dtype=torch.int64)).sum().backward()
    assert graphs
    assert not any("autograd_function" in graph for graph in graphs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch warns about its own code
@pytest.mark.skipif(not find_device("cpu").has_compiler, reason="torch.compile needs a C++ compiler: g++ or clang++")
@pytest.mark.parametrize("shape", COMPILED, ids=str)
def test_a_compiled_backbone_learns_the_same_weights(tmp_path: Path, shape: dict[str, Any]) -> None:
    results = []
    for compiles in (False, True):
        module, losses = causal_lm(dropout=0.0, **shape), Losses()
        if compiles:
            module.backbone.compile()
            module.head.compile()
        fit = trainer(tmp_path, callbacks=[losses], max_steps=3, limit_val_batches=0)
        fit.fit(module, datamodule=language_modeling(tmp_path))
        results.append((losses.values, dict(module.state_dict())))
    (expected, weights), (found, compiled) = results
    assert len(found) == 3
    assert found == pytest.approx(expected, rel=1e-5)
    assert compiled.keys() == weights.keys()
    torch.testing.assert_close(compiled, weights, rtol=1e-4, atol=3e-5)
