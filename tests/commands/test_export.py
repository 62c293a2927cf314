"""``export``: model folders for Hugging Face's classes and for every command."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from gpt_lightning.tasks.load import find_checkpoint, load_task
from gpt_lightning.tokenizers.build import train_bpe
from tests.commands.test_heads import pretrain
from tests.heads import CommandLine, write_config


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return CommandLine(tmp_path, monkeypatch, capsys)


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(found.abs().max()))


def test_an_exported_language_model_equals_its_run(run: CommandLine) -> None:
    backbone = pretrain(run, "--model.backbone.position=rotary", "--model.backbone.norm=rmsnorm", *LLAMA)
    assert run("test", f"--ckpt_path={backbone}", "--data.test=text.txt", "--data.cache_dir=cache") == 0, run.err
    assert run("export", str(backbone), "model") == 0, run.err
    assert "alone" not in run.out
    expected = {"README.md", "config.json", "config.yaml", "generation_config.json", "gpt_lightning.json"}
    expected |= {"metrics.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in Path("model").iterdir()} == expected
    metrics = json.loads(Path("model/metrics.json").read_text())["metrics"]
    assert f"| loss | {metrics['loss']:.4f} |" in Path("model/README.md").read_text()

    task, tokenizer = load_task(find_checkpoint(str(backbone)))
    reference, encode = AutoModelForCausalLM.from_pretrained("model"), AutoTokenizer.from_pretrained("model")
    ids = tokenizer.encode("99 bottles of beer")
    assert encode("99 bottles of beer")["input_ids"] == ids
    with torch.no_grad():
        assert_close(task(torch.tensor([ids])), reference(torch.tensor([ids])).logits)

    texts = []
    for model in (backbone, "model"):
        assert run("generate", str(model), "--prompt=beer", "--max_new_tokens=20") == 0, run.err
        texts.append(run.out)
    assert texts[0] == texts[1]

    (Path("model") / "metrics.json").unlink()
    assert run("test", "--ckpt_path=model", "--data.test=text.txt", "--data.cache_dir=cache") == 0, run.err
    assert json.loads(Path("model/metrics.json").read_text())["metrics"] == metrics
    assert run("evaluate", "model", str(backbone)) == 0, run.err
    assert f"{metrics['loss']:.4f}" in run.out

    head = run.fit("topics", "--model.init_from=model", "--data.tokenizer=bpe:300", "--trainer.max_steps=1")
    assert load_task(find_checkpoint(str(head)))[1].hash == tokenizer.hash


LLAMA = ("--model.backbone.mlp=swiglu", "--model.backbone.bias=false")


@pytest.mark.parametrize("name", ["topics", "tags"])
def test_a_head_predicts_from_its_folder_alone(run: CommandLine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    flags = ("position=rotary", "norm=rmsnorm", "mlp=swiglu", "bias=false")
    head = run.fit(name, *(f"--model.backbone.{flag}" for flag in flags))
    assert run("predict", "-c", f"{name}.yaml", f"--ckpt_path={head}", "--predictions.path=run.jsonl") == 0, run.err
    assert run("export", str(head), "model") == 0, run.err
    assert ("only gpt-lightning can read this folder: " in run.out) == (name == "topics"), (
        "Hugging Face has no classifier over the mean of all tokens"
    )
    (Path("elsewhere")).mkdir()
    Path("model").rename("elsewhere/model")
    data = ("--data.cache_dir=cache", "--data.batch_size=2")
    assert run("predict", "--model", "elsewhere/model", f"--input={name}.jsonl", *data) == 0, run.err
    assert Path("predictions.jsonl").read_text() == Path("run.jsonl").read_text()

    class Stdin:
        buffer = io.BytesIO(Path(f"{name}.jsonl").read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert run("predict", "--model=elsewhere/model", "--input", "-", "--output=piped.jsonl", *data) == 0, run.err
    assert Path("piped.jsonl").read_text() == Path("run.jsonl").read_text()
    if name == "tags":
        task, _ = load_task(Path("elsewhere/model"))
        ids = torch.tensor([[256, 65, 110, 110, 97]])
        reference = AutoModelForTokenClassification.from_pretrained("elsewhere/model")
        assert list(reference.config.id2label.values()) == task.hparams["labels"]
        with torch.no_grad():
            assert_close(task(ids, ids > 0, ids > 0), reference(ids).logits[0])


@pytest.fixture
def smol(tmp_path: Path) -> Path:
    """Return the folder of a tiny pretrained Llama model."""
    folder = tmp_path / "smol"
    tokenizer = train_bpe(["the ball is in the net, rain and wind all day"] * 3, 280)
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = LlamaConfig(vocab_size=tokenizer.vocab_size, max_position_embeddings=4096, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save(folder / "tokenizer.json")
    return folder


def test_chat_template_and_special_tokens_survive_fine_tuning_and_export(run: CommandLine, smol: Path) -> None:
    template = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    file = smol / "tokenizer.json"
    inner = Tokenizer.from_str(file.read_text())
    inner.add_special_tokens([AddedToken("<turn>", special=True), AddedToken("<start>", special=True)])
    inner.save(str(file))
    model = LlamaForCausalLM.from_pretrained(smol)
    model.resize_token_embeddings(282, mean_resizing=False)
    for config in (model.config, model.generation_config):
        config.bos_token_id, config.eos_token_id = 281, 280
    model.save_pretrained(smol)
    settings = {"bos_token": "<start>", "eos_token": "<turn>", "chat_template": template}
    (smol / "tokenizer_config.json").write_text(json.dumps(settings))
    trained = pretrain(run, f"--model.init_from={smol}", "--trainer.max_steps=1")
    assert run("export", str(trained), "model") == 0, run.err
    exported = AutoTokenizer.from_pretrained("model")
    assert exported.apply_chat_template([{"role": "user", "content": "rain?"}], tokenize=False) == "user: rain?\n"
    assert (exported.bos_token, exported.eos_token, exported.pad_token) == ("<start>", "<turn>", "<turn>")
    ids = json.loads(Path("model/generation_config.json").read_text())
    assert (ids["bos_token_id"], ids["eos_token_id"]) == (281, 280)


def test_a_head_on_a_pretrained_model(run: CommandLine, smol: Path) -> None:
    head = run.fit("topics", f"--model.init_from={smol}", "--data.tokenizer=bpe:300", "--trainer.max_steps=1")
    assert f"shape of the backbone from {smol}: " in run.out
    task, tokenizer = load_task(find_checkpoint(str(head)))
    assert tokenizer.vocab_size == 280
    assert task.backbone.config.block_size == 128, "the configuration gives shorter blocks than the model allows"
    weight = LlamaForCausalLM.from_pretrained(smol).model.embed_tokens.weight
    assert torch.allclose(task.backbone.token_embedding.weight, weight, atol=0.05), "one step changes little"
    assert run("generate", str(smol), "--prompt=rain", "--max_new_tokens=3") == 0, run.err


def test_invalid_input_is_refused(run: CommandLine, smol: Path) -> None:
    write_config(run.folder, "topics")

    def refused(message: str, *arguments: str) -> None:
        assert run(*arguments) == 2
        assert message in run.err
        assert "Traceback" not in run.err
        assert len(run.err.strip().splitlines()) <= 2

    refused("is a model folder, not a run that can be resumed or tested", "fit", f"--ckpt_path={smol}")
    refused("already exists. Choose a new folder", "export", str(smol), str(smol))
    refused("--dtype int8: choose one of float32", "export", str(smol), "new", "--dtype=int8")
    refused(
        "bytes (257 tokens) differs",
        "fit",
        "-c",
        "topics.yaml",
        f"--model.init_from={smol}",
    )
    refused("hub:nobody/nothing: cannot be downloaded", "generate", "hub:nobody/nothing")
    refused("or download the model by other means and give its folder", "generate", "hub:nobody/nothing")
    (smol / "model.safetensors").rename(smol / "pytorch_model.bin")
    refused("its weights are pickles (pytorch_model.bin)", "generate", str(smol))
    (smol / "pytorch_model.bin").rename(smol / "model.safetensors")
    train_bpe([" ".join(f"x{number * 7}" for number in range(300))], 400).save(smol / "tokenizer.json")
    refused("the tokenizer has 400 ids, but the embedding has only 280", "generate", str(smol))
    (smol / "tokenizer.json").unlink()
    refused("its tokenizer", "generate", str(smol))
