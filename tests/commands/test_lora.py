"""Runs with LoRA adapters: training, resuming, evaluating and exporting."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.tasks.load import find_checkpoint, load_task
from tests.commands.test_heads import pretrain
from tests.heads import CommandLine, write_config

LORA = ("--model.lora.r=4", "--model.lora.dropout=0.1", "--data.tokenizer=bpe:300")
LLAMA = tuple(f"--model.backbone.{each}" for each in ("position=rotary", "norm=rmsnorm", "mlp=swiglu", "bias=false"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def adapted(run: CommandLine, name: str = "topics", *arguments: str) -> Path:
    """Train a head with adapters on the backbone of a language model, and return its run folder."""
    base = pretrain(run)
    return run.fit(name, f"--model.init_from={base}", *LORA, *arguments)


def state_of(run: Path) -> dict[str, Any]:
    return dict(read_checkpoint(find_checkpoint(str(run), "last")))


def test_a_checkpoint_holds_only_adapters_and_head(run: CommandLine) -> None:
    head = adapted(run)
    assert "of them trainable" in run.out
    checkpoint = state_of(head)
    layers = ("attention.qkv", "attention.proj", "mlp.up", "mlp.proj")
    adapters = {f"backbone.blocks.0.{layer}.lora_{letter}.default.weight" for layer in layers for letter in "AB"}
    assert set(checkpoint["state_dict"]) == adapters | {"head.weight"}
    assert len(checkpoint["optimizer_states"][0]["state"]) == len(adapters) + 1
    hparams = checkpoint["hyper_parameters"]
    assert hparams["init_from"] == "logs/lm/version_0"
    assert hparams["lora"] == {"r": 4, "alpha": None, "dropout": 0.1, "targets": "all"}
    assert len(checkpoint["frozen_sha256"]["backbone"]) == 64


def metrics_of(run: CommandLine, model: str, *arguments: str) -> dict[str, float]:
    (Path(model) / "metrics.json").unlink(missing_ok=True)
    assert run("test", "-c", "topics.yaml", f"--ckpt_path={model}", "--data.tokenizer=bpe:300", *arguments) == 0, (
        run.err
    )
    return dict(json.loads((Path(model) / "metrics.json").read_text())["metrics"])


def close(one: dict[str, float], other: dict[str, float]) -> bool:
    return one == pytest.approx(other, rel=1e-5)


def test_every_command_works_on_a_run_with_adapters(run: CommandLine) -> None:
    head = adapted(run)
    metrics = metrics_of(run, str(head))
    assert "from the checkpoint: model.lora.r=4" in run.out
    flags = ("-c", "topics.yaml", f"--ckpt_path={head}", "--data.tokenizer=bpe:300")
    assert run("validate", *flags) == 0, run.err
    assert run("predict", *flags, "--predictions.path=run.jsonl") == 0, run.err
    assert run("evaluate", str(head), "--again") == 0, run.err
    assert f"{metrics['loss']:.4f}" in run.out
    assert run("export", str(head), "model") == 0, run.err
    assert close(metrics_of(run, "model"), metrics), "merging the adapters changes no metric"
    assert run("predict", "--model=model", "--input=topics.jsonl", "--data.cache_dir=cache", "--output=m.jsonl") == 0
    for one, other in zip(*(Path(file).read_text().splitlines() for file in ("run.jsonl", "m.jsonl")), strict=True):
        assert close(json.loads(one)["scores"], json.loads(other)["scores"])


def test_a_language_model_with_adapters_generates(run: CommandLine) -> None:
    base = pretrain(run)
    shutil.rmtree("logs/lm/version_1", ignore_errors=True)
    pretrain(run, "--experiment=more", f"--model.init_from={base}", *LORA, "--model.optimizer.lr=0.5")
    texts = []
    assert run("export", "logs/more/version_0", "model") == 0, run.err
    for model in ("logs/more/version_0", "model", str(base)):
        assert run("generate", model, "--prompt=beer", "--max_new_tokens=20", "--temperature=0") == 0, run.err
        texts.append(run.out)
    assert texts[0] == texts[1] != texts[2]


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(run: CommandLine) -> None:
    base = pretrain(run)
    flags = (f"--model.init_from={base}", *LORA, "--model.schedule.kind=constant", "--model.schedule.warmup_steps=0")
    run.fit("topics", *flags, "--experiment=uninterrupted")
    uninterrupted = state_of(Path("logs/uninterrupted/version_0"))
    run.fit("topics", *flags, "--trainer.max_steps=2")
    again = ("fit", "-c", "topics.yaml", "--data.tokenizer=bpe:300", "--resume=auto")
    assert run(*again) == 0, run.err
    resumed = state_of(Path("logs/topics/version_0"))
    assert resumed["global_step"] == uninterrupted["global_step"] == 4
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(resumed[part], uninterrupted[part], rtol=0, atol=0)
    assert resumed["frozen_sha256"] == uninterrupted["frozen_sha256"]
    assert run(*again, "--model.lora.r=8") == 2
    assert "model.lora.r=8, but logs/topics/version_0/checkpoints/step_4.ckpt was trained with 4" in run.err
    assert run(*again, "--model.lora.dropout=0.0", "--trainer.max_steps=6") == 0, run.err


def test_adapters_cannot_be_added_to_a_resumed_run(run: CommandLine) -> None:
    head = run.fit("topics", "--trainer.max_steps=2")
    again = ("fit", "-c", "topics.yaml", f"--ckpt_path={head}", "--trainer.max_steps=4")
    assert run(*again, "--model.lora.r=8", "--model.init_from=nowhere") == 2
    assert "model.lora.r=8, but logs/topics/version_0/checkpoints/step_2.ckpt was trained with 0" in run.err
    path = find_checkpoint(str(head))
    checkpoint = dict(read_checkpoint(path))
    del checkpoint["hyper_parameters"]["lora"]  # as in checkpoints of version 0.1
    torch.save(checkpoint, "old.ckpt")
    assert run("test", "-c", "topics.yaml", "--ckpt_path=old.ckpt") == 0, run.err
    assert run("test", "-c", "topics.yaml", "--ckpt_path=old.ckpt", "--model.lora.r=8") == 2
    assert "model.lora.r=8, but old.ckpt was trained with 0" in run.err


def test_base_weights_that_have_moved_or_changed(run: CommandLine) -> None:
    head = adapted(run)
    metrics = metrics_of(run, str(head))
    Path("logs/lm").rename("elsewhere")
    flags = ("-c", "topics.yaml", f"--ckpt_path={head}", "--data.tokenizer=bpe:300")
    gone = "the base model of its adapters is missing: logs/lm/version_0: no checkpoint"
    commands: list[tuple[str, ...]] = [("test", *flags), ("fit", *flags, "--trainer.max_steps=6")]
    for command in commands:
        assert run(*command) == 2
        assert gone in run.err
        assert "If it has moved, give its new location with --model.init_from" in run.err
    assert run("export", str(head), "model") == 2
    assert gone in run.err
    assert "If it has moved, give its new location with --init_from" in run.err
    assert metrics_of(run, str(head), "--model.init_from=elsewhere/version_0") == metrics
    assert "changed: model.init_from=elsewhere/version_0 (the checkpoint has logs/lm/version_0)" in run.out
    assert run("evaluate", str(head), "--again") == 2
    assert gone in run.err
    assert run("evaluate", str(head), "--again", "--init_from=elsewhere/version_0") == 0, run.err
    assert run("generate", str(head), "--init_from=elsewhere/version_0") == 2
    assert "only a CausalLM or a Seq2SeqLM generates" in run.err
    assert run("export", str(head), "model", "--init_from=elsewhere/version_0") == 0, run.err
    assert close(metrics_of(run, "model"), metrics)
    # The format of the files does not matter.
    assert run("export", "elsewhere/version_0", "as_folder") == 0, run.err
    assert metrics_of(run, str(head), "--model.init_from=as_folder") == metrics

    pretrain(run, "--seed_everything=1")
    for command in (*commands, ("export", str(head), "other")):
        assert run(*command) == 2
        assert "logs/lm/version_0: " in run.err
        assert "the adapters were trained" in run.err
        assert len(run.err.strip().splitlines()) == 1
    assert not Path("other").exists()
    assert run("export", "elsewhere/version_0", "other", "--init_from=as_folder") == 2
    assert "--init_from=as_folder: elsewhere/version_0/checkpoints/step_2.ckpt has all of its weights" in run.err


@pytest.mark.parametrize("again", [False, True], ids=["backbone", "adapters"])
def test_a_run_starts_from_merged_adapters(run: CommandLine, again: bool) -> None:
    head = adapted(run, "topics", "--model.optimizer.lr=0.2")
    merged, _ = load_task(find_checkpoint(str(head)))
    flags = LORA if again else LORA[2:]
    other = run.fit("tags", f"--model.init_from={head}", *flags, "--trainer.max_steps=1", "--model.optimizer.lr=1e-9")
    found, _ = load_task(find_checkpoint(str(other)))
    torch.testing.assert_close(found.backbone.state_dict(), merged.backbone.state_dict(), rtol=0, atol=1e-7)
    Path("logs/lm").rename("elsewhere")
    assert run("fit", "-c", "tags.yaml", f"--model.init_from={head}", *flags) == 2
    assert "If it has moved, merge adapters and base by gpt-lightning export logs/topics/version_0/" in run.err


def test_a_file_may_name_another_base(run: CommandLine) -> None:
    """A configuration may belong to another run, so the checkpoint wins over it."""
    head = adapted(run)
    metrics = metrics_of(run, str(head))
    Path("other.yaml").write_text("model: {init_args: {init_from: nowhere, lora: {r: 0}}}")
    assert metrics_of(run, str(head), "-c", "other.yaml") == metrics
    assert "from the checkpoint: model.init_from=logs/lm/version_0 (the configuration has nowhere)" in run.out
    assert "from the checkpoint: model.lora.r=4 (the configuration has 0)" in run.out


def test_invalid_settings_are_refused(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    base = pretrain(run)
    write_config(run.folder, "topics")

    def refused(message: str, *flags: str) -> None:
        assert run("fit", "-c", "topics.yaml", "--data.tokenizer=bpe:300", *flags) == 2
        assert message in run.err
        assert "Traceback" not in run.err
        assert len(run.err.strip().splitlines()) <= 2

    refused("Set model.init_from, or leave model.lora.r at 0", "--model.lora.r=4")
    init_from = f"--model.init_from={base}"
    refused(
        "model.fine_tuning.freeze=1 and model.lora.r cannot be combined",
        init_from,
        "--model.lora.r=4",
        "--model.fine_tuning.freeze=1",
    )
    for value in ("r=-1", "alpha=0", "dropout=1.0"):
        refused(f"model.lora.{value} must", init_from, "--model.lora.r=4", f"--model.lora.{value}")
    refused(
        "invalid value for model.lora.targets: expected one of attention, mlp, all, got everything",
        init_from,
        "--model.lora.targets=everything",
    )
    refused("did you mean 'model.lora.r'?", init_from, "--model.lora.rank=4")
    Path("adapter").mkdir()
    Path("adapter/adapter_config.json").write_text("{}")
    refused("adapter: holds only adapters in peft's format", "--model.init_from=adapter")
    monkeypatch.setitem(sys.modules, "peft", None)
    refused(
        "adapters (model.lora) need peft. Install it: pip install 'gpt-lightning[lora]'", init_from, "--model.lora.r=4"
    )
    assert not Path("logs/topics").exists()


def test_adapters_are_exported_for_peft(run: CommandLine) -> None:
    head = adapted(run, "tags")
    assert run("export", str(head), "adapter", "--adapter") == 2
    assert "logs/lm/version_0 is a run, but peft needs a model folder" in run.err
    assert "gpt-lightning export logs/lm/version_0 BASE and add --init_from BASE" in run.err
    assert run("export", "logs/lm/version_0", "base") == 0, run.err
    assert run("export", str(head), "adapter", "--adapter", "--init_from=base", "--dtype=bfloat16") == 0, run.err
    assert "adapters of a TokenClassification for base: adapter" in run.out
    names = {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"}
    assert {path.name for path in Path("adapter").iterdir()} == names
    settings = json.loads(Path("adapter/adapter_config.json").read_text())
    assert settings["target_modules"] == ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
    assert (settings["peft_type"], settings["task_type"], settings["fan_in_fan_out"]) == ("LORA", "TOKEN_CLS", True)
    assert (settings["r"], settings["lora_alpha"], settings["lora_dropout"]) == (4, 8, 0.1)
    assert (settings["modules_to_save"], settings["base_model_name_or_path"]) == (["classifier"], "base")
    text = Path("adapter/README.md").read_text()
    code = text[text.index("```python\n") + 10 : text.rindex("```")].replace("THIS FOLDER", "adapter")
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft warns about its own code
        exec(code, found)
    task, tokenizer = load_task(find_checkpoint(str(head)))
    assert list(found["model"].config.id2label.values()) == task.hparams["labels"]
    ids = torch.tensor([tokenizer.encode("Anna lives here")])
    with torch.no_grad():
        expected, logits = task(ids, ids >= 0, ids >= 0), found["model"].eval()(ids).logits[0]
    torch.testing.assert_close(logits, expected, rtol=0.02, atol=0.01)  # bfloat16
    assert run("export", "logs/lm/version_0", "more", "--adapter") == 2
    assert "step_2.ckpt: there are no unmerged adapters. Leave out --adapter" in run.err
    assert run("export", str(head), "adapter", "--adapter", "--init_from=base") == 2
    assert "adapter_config.json already exists" in run.err


def test_adapters_without_a_hugging_face_head_are_not_exported(run: CommandLine) -> None:
    base = pretrain(run)
    assert run("export", str(base), "base") == 0, run.err
    head = run.fit("topics", "--model.init_from=base", "--model.pooling=mean", *LORA)
    assert run("export", str(head), "adapter", "--adapter") == 2
    assert "peft cannot load these adapters: Hugging Face's classifiers look at the last token" in run.err
    assert "Leave out --adapter to export the model with merged adapters" in run.err
    assert not Path("adapter").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ("--model=peft.LoraModel",),
        ("--model.lora=peft.LoraConfig",),
        ("--model.lora={class_path: peft.LoraConfig}",),
        ("--trainer.callbacks=peft.LoraConfig",),
        ("--trainer.callbacks+={class_path: peft.LoraConfig}",),
    ],
)
def test_no_configuration_imports_peft(run: CommandLine, flags: tuple[str, ...]) -> None:
    write_config(run.folder, "topics")
    assert run("fit", "-c", "topics.yaml", *flags) == 2
    assert "would import peft, which is not allowed" in run.err


def test_peft_is_imported_only_to_train_adapters(run: CommandLine) -> None:
    """Generating, exporting and starting a new run merge the adapters without it."""
    head = adapted(run)
    script = f"""
import sys
import warnings
from gpt_lightning.cli import main
flags = ["--model.init_from={head}", "--data.tokenizer=bpe:300", "--experiment=new"]
assert main(["fit", "-c", "topics.yaml", *flags]) == 0
assert main(["export", "{head}", "model"]) == 0
print(*sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.splitlines()[-1].split())
    assert "gpt_lightning.models.lora" in loaded
    assert "peft" not in loaded


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"init_from": ["logs"]}, "it has adapters, but names no base model"),
        ({"init_from": None}, "it has adapters, but names no base model"),
        ({"lora": {"r": "four"}}, "model.lora.r='four' must be a whole number"),
        ({"lora": {"r": 4, "targets": "mlp"}}, "is not an adapter of lora.targets=mlp"),
        ({"lora": {"r": 3}}, "with lora.r=3 they must be [3, 24]"),
    ],
)
def test_a_checkpoint_with_wrong_hyper_parameters(run: CommandLine, hparams: dict[str, Any], message: str) -> None:
    checkpoint = state_of(adapted(run))
    checkpoint["hyper_parameters"] = dict(checkpoint["hyper_parameters"]) | hparams
    torch.save(checkpoint, "evil.ckpt")
    for command in (
        ("fit", "-c", "topics.yaml", "--model.init_from=evil.ckpt", "--data.tokenizer=bpe:300"),
        ("export", "evil.ckpt", "model"),
    ):
        assert run(*command) == 2
        assert "evil.ckpt" in run.err
        assert message in run.err
        assert "Traceback" not in run.err
