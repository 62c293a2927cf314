"""An encoder-decoder through the command line and the Python API."""

import json
from pathlib import Path

import pytest
import torch

import gpt_lightning as gl
from gpt_lightning.errors import InputError
from gpt_lightning.tasks import Seq2SeqLM
from tests.heads import CommandLine
from tests.pairs import write_lines

RUN = "logs/run/version_0"
ALLOW = "--allow_import=tests"
CONFIG = """
experiment: run
trainer: {accelerator: cpu, devices: 1, max_steps: 4, log_every_n_steps: 1}
model:
  class_path: Seq2SeqLM
  init_args:
    backbone: {n_layer: 1, n_encoder_layer: 1, n_head: 2, n_embd: 16, block_size: 32}
    label_smoothing: 0.1
    optimizer: {lr: 0.01}
data:
  class_path: tests.pairs.ReversedLines
  init_args: {train: lines.txt, validation: lines.txt, tokenizer: bytes, batch_size: 4, cache_dir: cache}
"""
LM = (
    *("fit", "--model=CausalLM", "--data=LanguageModeling", "--data.tokenizer=bytes", "--data.cache_dir=cache"),
    *("--data.train=lines.txt", "--data.validation=lines.txt", "--trainer.max_steps=1", "--trainer.accelerator=cpu"),
    *("--model.backbone.n_layer=1", "--model.backbone.n_head=2", "--model.backbone.n_embd=16"),
    *("--model.backbone.block_size=32", "--samples.max_new_tokens=2"),
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Return a command line in a folder with the data and the configuration of an encoder-decoder."""
    write_lines(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return CommandLine(tmp_path, monkeypatch, capsys)


def greedy(model: gl.Model, source: str, count: int) -> str:
    """Return the greedy target of a source, each token from the logits of a whole target."""
    assert isinstance(model.task, Seq2SeqLM)
    end = model.tokenizer.end_of_text_id
    source_ids = torch.tensor([[end, *model.tokenizer.encode(source)]])
    ids = [end]
    for _ in range(count):
        logits = model.task(source_ids, torch.ones_like(source_ids, dtype=torch.bool), torch.tensor([ids]))
        ids.append(int(logits[0, -1].argmax()))
    return model.tokenizer.decode(ids[1:])


def test_trained_model_generates_and_is_exported(run: CommandLine) -> None:
    assert run("fit", "-c", "config.yaml", ALLOW) == 0, run.err
    assert f"generate {RUN} --prompt=TEXT" in run.out
    assert run("test", "-c", "config.yaml", ALLOW, "--data.test=lines.txt", f"--ckpt_path={RUN}") == 0, run.err
    assert "test/perplexity" in run.out

    options = ("--temperature=0", "--max_new_tokens=5", ALLOW)
    model = gl.load(RUN, allow_import=["tests"])
    with torch.no_grad():
        expected = greedy(model, "7 bottles", 5)
    assert model.generate("7 bottles", temperature=0.0, max_new_tokens=5) == expected
    assert run("generate", RUN, "--prompt=7 bottles", *options) == 0, run.err
    assert run.out == f"{expected}\n", "the source is not printed"

    Path("prompts.txt").write_text("7 bottles\n3\n12 bottles of\n")
    for size in (1, 3):
        assert run("generate", RUN, "--input=prompts.txt", f"--batch_size={size}", *options) == 0, run.err
        rows = [json.loads(line) for line in run.out.splitlines()]
        assert [row["prompt"] for row in rows] == ["7 bottles", "3", "12 bottles of"]
        assert rows[0]["completion"] == expected
    beams = ("--num_beams=3", "--max_new_tokens=999", ALLOW)
    assert run("generate", RUN, "--prompt=7 bottles", *beams) == 0, run.err
    assert len(model.complete(["7", "8"], num_beams=2, max_new_tokens=999, batch_size=2)) == 2
    assert len(model.complete(["7"], max_new_tokens=999, temperature=0.0)[0][0].token_ids) <= 31

    assert run("export", RUN, "model", ALLOW) == 0, run.err
    assert "only gpt-lightning can read this folder: Bart, the closest model family, has no " in run.out
    assert gl.load("model").generate("7 bottles", temperature=0.0, max_new_tokens=5) == expected
    assert model.embed(["a text", "b"]).shape == (2, 16)


def test_unsuitable_sources_are_refused(run: CommandLine) -> None:
    assert run("fit", "-c", "config.yaml", ALLOW, "--trainer.max_steps=1") == 0, run.err
    for options, message in [
        ((), "an encoder-decoder needs a source text. Give it with --prompt or --input"),
        (("--prompt=a", "--chat"), "an encoder-decoder reads a source text, not a chat"),
        ((f"--prompt={'a' * 32}",), "the source has 33 tokens, but the encoder of the model reads at most 32"),
    ]:
        assert run("generate", RUN, ALLOW, *options) == 2
        assert message in run.err
    model = gl.load(RUN, allow_import=["tests"])
    with pytest.raises(InputError, match="needs a source text, but the prompt is empty"):
        model.generate("")
    with pytest.raises(InputError, match="reads a source text, not a chat"):
        model.generate([{"role": "user", "content": "Hello"}])
    with pytest.raises(InputError, match="source of 33 tokens is longer than block_size=32"):
        model.generate("a" * 32)
    with pytest.raises(InputError, match="only a CausalLM scores texts"):
        model.score(["a"])
    model.data_module = None
    with pytest.raises(InputError, match="has no labels to predict"):
        model.predict([{"text": "a"}])


def test_language_model_becomes_an_encoder_decoder(run: CommandLine) -> None:
    assert run(*LM, "--experiment=lm") == 0, run.err
    options = ("-c", "config.yaml", ALLOW, "--trainer.max_steps=1", "--experiment=pairs")
    shape = "--model.backbone.n_encoder_layer=3"
    assert run("fit", *options, shape, "--model.init_from=logs/lm/version_0") == 0, run.err
    assert "n_encoder_layer=1 (not 3)" in run.out
    assert run(*LM, "--model.init_from=logs/pairs/version_0", ALLOW) == 2
    assert "this is an encoder-decoder, whose weights do not fit a model without an encoder" in run.err
    assert run(*LM, "--model.backbone.n_encoder_layer=2") == 2
    assert "backbone.n_encoder_layer=2 is only for encoder-decoders (--model=Seq2SeqLM)" in run.err
    assert run("fit", "-c", "config.yaml", ALLOW, "--data=LanguageModeling") == 2
    assert "model Seq2SeqLM and data LanguageModeling cannot be combined" in run.err


def test_run_resumes_only_with_its_own_shape(run: CommandLine) -> None:
    assert run("fit", "-c", "config.yaml", ALLOW, "--trainer.max_steps=2") == 0, run.err
    resume = ("fit", "-c", "config.yaml", ALLOW, f"--ckpt_path={RUN}")
    assert run(*resume, "--model.backbone.n_encoder_layer=2") == 2
    assert "n_encoder_layer=2" in run.err
    assert run(*resume) == 0, run.err
    assert "Stopped after 4 steps" in run.out


def test_predictions_are_the_generated_targets(run: CommandLine) -> None:
    """Sources are encoded alike in training, in prediction and as prompts."""
    rows = [{"en": f"{number} bottles", "fr": f"{number} bouteilles"} for number in range(8)]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ("--data.template=say {en}", "--data.target=fr")
    files = (f"--data.{split}=pairs.jsonl" for split in ("train", "validation"))
    data = ("--data=TextToText", *columns, *files, "--data.max_new_tokens=6")
    data = (*data, "--data.tokenizer=bytes", "--data.cache_dir=cache")
    model = ("--model=Seq2SeqLM", "--trainer.accelerator=cpu", "--trainer.max_steps=6")
    sizes = {"n_layer": 1, "n_encoder_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 40}
    shape = (f"--model.backbone.{name}={value}" for name, value in sizes.items())
    assert run("fit", *model, *data, *shape, "--model.optimizer.lr=0.01", "--experiment=run") == 0, run.err
    assert "val/chrf" in run.out
    output = ("--output=predictions.jsonl", "--data.max_new_tokens=6", columns[0])
    assert run("predict", f"--model={RUN}", "--input=pairs.jsonl", *output) == 0, run.err
    predicted = [json.loads(line)["answer"] for line in Path("predictions.jsonl").read_text().splitlines()]
    loaded = gl.load(RUN)
    prompts = [f"say {row['en']}" for row in rows]
    found = loaded.complete(prompts, temperature=0.0, max_new_tokens=6)
    assert [each.text for (each,) in found] == predicted
