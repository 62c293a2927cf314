"""Instruction tuning on pretrained backbones: added tokens are trained, saved, exported and resumed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import gpt_lightning as gl
from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.tasks.load import find_checkpoint, load_task
from gpt_lightning.tokenizers.build import bytes_tokenizer
from gpt_lightning.tokenizers.prompt import chat_prompt
from tests.commands.test_heads import pretrain
from tests.data.drive import write_rows
from tests.heads import CommandLine
from tests.models.huggingface.families import save_reference

ROWS = [{"prompt": f"bottle {n}", "completion": "on the wall"} for n in range(6)]
RUN = Path("logs/chat/version_0")
TIED = "--model.backbone.tie_embeddings=true"
UNTIED = "--model.backbone.tie_embeddings=false"
LORA = ("--model.lora.r=2", "--model.lora.dropout=0.1")
USER = [{"role": "user", "content": "bottle 3"}]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def flags(base: Path, steps: int, *arguments: str) -> list[str]:
    write_rows(Path("rows.jsonl"), ROWS)
    return [
        *("fit", "--experiment=chat", "--model=CausalLM", "--data=InstructionTuning", "--trainer.accelerator=cpu"),
        *("--data.train=rows.jsonl", "--data.validation=rows.jsonl", "--data.cache_dir=cache", "--data.batch_size=2"),
        *(f"--model.init_from={base}", "--trainer.log_every_n_steps=1", f"--trainer.max_steps={steps}"),
        *("--model.optimizer.lr=0.01", "--model.schedule.kind=constant", "--model.schedule.warmup_steps=0"),
        "--data.generate_examples=0",
        *arguments,
    ]


def test_added_tokens_cannot_be_frozen(run: CommandLine) -> None:
    base = pretrain(run, TIED)
    assert run(*flags(base, 1, "--model.fine_tuning.freeze=1")) == 2
    assert "the chat template adds 2 tokens to the model, but model.fine_tuning.freeze" in run.err
    assert run(*flags(base, 1, "--model.fine_tuning.freeze=1", "--data.chat_template=plain")) == 0, run.err


def state_of(folder: Path) -> dict[str, Any]:
    return dict(read_checkpoint(find_checkpoint(str(folder), "last")))


@pytest.mark.parametrize(("tie", "lora"), [(TIED, ()), (TIED, LORA), (UNTIED, LORA)], ids=["full", "lora", "untied"])
def test_added_tokens_are_trained_saved_and_exported(run: CommandLine, tie: str, lora: tuple[str, ...]) -> None:
    base = pretrain(run, tie)
    before, base_tokenizer = load_task(find_checkpoint(str(base)))
    assert run(*flags(base, 4, *lora)) == 0, run.err
    task, tokenizer = load_task(find_checkpoint(str(RUN), "last"))
    size = base_tokenizer.vocab_size
    assert tokenizer.vocab_size == task.backbone.config.vocab_size == size + 2
    assert tokenizer.token_id("<|im_end|>", 0) == size + 1 in tokenizer.end_ids
    for layer in ("backbone.token_embedding", "head"):
        old, new = (each.get_submodule(layer).weight for each in (before, task))
        assert isinstance(old, torch.Tensor)
        assert isinstance(new, torch.Tensor)
        start = old.double().mean(0).float()
        assert not torch.allclose(new[size + 1], start, atol=1e-3), f"{layer} learns the end of a turn"
        assert torch.allclose(new[size:], start.expand(2, -1), atol=0.1), "from the mean of the other rows"
        assert old.equal(new[:size]) == bool(lora), "LoRA freezes the rows of the pretrained tokens"
    prompt = torch.tensor([chat_prompt(tokenizer, USER)])
    assert int((prompt >= size).sum()) == 3
    assert run("export", str(RUN), "model") == 0, run.err
    exported, exported_tokenizer = load_task(Path("model"))
    assert chat_prompt(exported_tokenizer, USER) == prompt[0].tolist()
    assert exported_tokenizer.end_ids == tokenizer.end_ids
    with torch.no_grad():
        assert exported(prompt).allclose(task(prompt), atol=1e-6)
    hf_tokenizer = transformers.AutoTokenizer.from_pretrained("model")
    assert hf_tokenizer.apply_chat_template(USER, add_generation_prompt=True, return_dict=False) == prompt[0].tolist()
    assert run("generate", str(RUN), "--prompt=bottle 3", "--chat", "--max_new_tokens=3") == 0, run.err
    if lora:
        assert run("export", str(RUN), "adapter", "--adapter") == 2
        assert "tokens were added to its model, which adapters alone cannot hold. Leave out --adapter" in run.err


def test_a_resumed_run_is_the_same(run: CommandLine) -> None:
    base = pretrain(run, UNTIED)
    assert run(*flags(base, 4, *LORA, "--name=whole", "--data.packing=true")) == 0, run.err
    assert run(*flags(base, 2, *LORA, "--name=halves", "--data.packing=true")) == 0, run.err
    resumed = ("--name=halves", "--resume=auto", "--data.packing=true")
    assert run(*flags(base, 4, *LORA, *resumed)) == 0, run.err
    whole, halves = (state_of(Path("logs/chat") / name)["state_dict"] for name in ("whole", "halves"))
    assert whole.keys() == halves.keys()
    assert all(whole[name].equal(halves[name]) for name in whole)


def test_a_second_stage_continues_the_added_tokens(run: CommandLine) -> None:
    base = pretrain(run, TIED)
    assert run(*flags(base, 2, *LORA)) == 0, run.err
    first, _ = load_task(find_checkpoint(str(RUN), "last"))
    assert run(*flags(RUN, 1, "--model.optimizer.lr=1e-12", "--experiment=second")) == 0, run.err
    second, tokenizer = load_task(find_checkpoint("logs/second/version_0", "last"))
    assert second.backbone.token_embedding.weight.allclose(first.backbone.token_embedding.weight, atol=1e-9)
    assert tokenizer.vocab_size == second.backbone.config.vocab_size


def test_rows_of_a_padded_embedding_are_trained(run: CommandLine, tmp_path: Path) -> None:
    """Published embeddings may have unused rows, which new tokens take; with LoRA, they are trained too."""
    save_reference(tmp_path / "padded", "smollm2", vocab_size=300, max_position_embeddings=128)
    bytes_tokenizer().save(tmp_path / "padded" / "tokenizer.json")
    assert run(*flags(Path("padded"), 2, *LORA)) == 0, run.err
    task, tokenizer = load_task(find_checkpoint(str(RUN), "last"))
    base, _ = load_task(Path("padded"))
    weight, old = task.backbone.token_embedding.weight, base.backbone.token_embedding.weight
    assert tokenizer.vocab_size == 259 < len(weight) == 300
    assert weight[:257].equal(old[:257])
    assert weight[259:].equal(old[259:])
    assert not torch.allclose(weight[258], weight[:257].mean(0), atol=1e-3)


def test_end_tokens_of_a_published_model_are_kept(run: CommandLine, tmp_path: Path) -> None:
    """``generation_config.json`` of the base model names tokens that also end the answers of the tuned model."""
    save_reference(tmp_path / "base", "smollm2", vocab_size=257, max_position_embeddings=128)
    bytes_tokenizer().save(tmp_path / "base" / "tokenizer.json")
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps({"eos_token_id": [256, 10]}))
    assert run(*flags(Path("base"), 1, "--data.chat_template=plain")) == 0, run.err
    for _ in range(2):
        _, tokenizer = load_task(find_checkpoint(str(RUN), "last"))
        assert tokenizer.end_ids == {256, 10}
        assert run(*flags(RUN, 1, "--data.chat_template=plain", "--experiment=chat")) == 0, run.err


def test_invalid_rows_end_the_run_before_it_starts(run: CommandLine) -> None:
    arguments = [
        "fit",
        "--model=CausalLM",
        "--data=InstructionTuning",
        "--data.cache_dir=cache",
        "--trainer.max_steps=1",
    ]
    write_rows(Path("rows.jsonl"), [*ROWS, {"messages": [{"role": "human", "content": "a"}]}])
    assert run(*arguments, "--data.train=rows.jsonl", "--data.tokenizer=bytes") == 2
    assert "rows.jsonl:7: message 1 has the role 'human', not one of system, user, assistant, tool" in run.err
    assert "Traceback" not in run.err
    assert not list(Path("logs").glob("*/version_*"))
    for flag, reason in (
        ("--data.template={a}", "--data.template={a} and --data.target=None belong together"),
        ("--data.max_new_tokens=2000", "--data.max_new_tokens=2000 leaves no room for a prompt"),
        ("--data.chat_template=chatlm", "--data.chat_template=chatlm: there is no such file"),
    ):
        assert run(*arguments, "--data.train=rows.jsonl", "--data.tokenizer=bytes", flag) == 2
        assert reason in run.err


def test_all_commands_read_rows_as_in_training(run: CommandLine) -> None:
    """The template and the length of answers come from the run, not only names of columns."""
    write_rows(Path("rows.jsonl"), ROWS)
    shape = [f"--model.backbone.{name}" for name in ("n_layer=1", "n_head=1", "n_embd=16", "block_size=96")]
    files = [f"--data.{split}=rows.jsonl" for split in ("train", "validation")]
    settings = ["--data.template=Count: {prompt}", "--data.target=completion", "--data.max_new_tokens=10"]
    kinds = ("--model=CausalLM", "--data=InstructionTuning", "--data.tokenizer=bytes", "--data.cache_dir=cache")
    steps = ("--trainer.accelerator=cpu", "--trainer.max_steps=3", "--trainer.log_every_n_steps=1")
    assert run("fit", "--experiment=chat", *kinds, *shape, *files, *settings, *steps) == 0, run.err
    scores = []
    for command in (
        ("test", f"--ckpt_path={RUN}", "--data.test=rows.jsonl"),
        ("evaluate", str(RUN), "--test=rows.jsonl", "--again"),
    ):
        assert run(*command) == 0, run.err
        scores.append(json.loads((RUN / "metrics.json").read_text())["metrics"])
    assert scores[0] == scores[1]
    assert run("predict", f"--model={RUN}", "--input=rows.jsonl", "--output=out.jsonl") == 0, run.err
    predicted = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert all("Count: bottle" in row["prompt"] for row in predicted)
    found = gl.load(RUN, device="cpu").predict([{"prompt": row["prompt"]} for row in ROWS])
    assert [row["answer"] for row in found] == [row["answer"] for row in predicted]
    assert [row["prompt"] for row in found] == [row["prompt"] for row in predicted]


def test_prefix_attention_needs_prompts(run: CommandLine) -> None:
    write_rows(Path("rows.jsonl"), ROWS)
    arguments = ["--model=CausalLM", "--data=InstructionTuning", "--data.tokenizer=bytes", "--data.cache_dir=cache"]
    arguments += [
        "--data.train=rows.jsonl",
        "--model.backbone.n_layer=1",
        "--trainer.accelerator=cpu",
        "--trainer.max_steps=1",
    ]
    assert run("fit", *arguments, "--model.backbone.attention=prefix", "--data.train_on=all") == 2, run.err
    assert "model.backbone.attention=prefix would be causal in training, but not in generation" in run.err
