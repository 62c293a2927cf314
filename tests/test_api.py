"""Python API, compared with the commands and with plain formulas."""

import ast
import inspect
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import torch.nn.functional as F
import transformers
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from safetensors.torch import load_file

import gpt_lightning as gl
from gpt_lightning.api import GenerationSettings, Model
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.text_scores import rolling_windows
from gpt_lightning.tasks.load import find_checkpoint
from gpt_lightning.tokenizers.build import bytes_tokenizer
from gpt_lightning.tokenizers.prompt import Message
from tests.heads import CommandLine, write_config
from tests.runs import causal_lm, language_modeling, trainer
from tests.tokenizers.published import FAMILIES
from tests.tokenizers.published_model import write_model

BLOCK_SIZE = 8


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint that Lightning wrote without our callbacks or a logger."""
    folder = tmp_path_factory.mktemp("language_model")
    fit = trainer(folder, max_steps=3, callbacks=[])
    fit.fit(causal_lm(block_size=BLOCK_SIZE), datamodule=language_modeling(folder))
    fit.save_checkpoint(folder / "model.ckpt")
    return folder / "model.ckpt"


# --- language models


def test_generate_matches_the_command(language_model: Path, run: CommandLine) -> None:
    model = gl.load(language_model, device="cpu")
    settings: GenerationSettings = {"max_new_tokens": 20, "seed": 3, "temperature": 0.7, "top_k": 5, "top_p": 0.9}
    text = model.generate("9 bottles", **settings)
    flags = [f"--{name}={value}" for name, value in settings.items()]
    assert run("generate", str(language_model), "--prompt=9 bottles", "--device=cpu", *flags) == 0
    assert run.out == f"9 bottles{text}\n"
    pieces = list(model.stream("9 bottles", **settings))
    assert "".join(pieces) == text
    assert len(pieces) > 1
    settings["seed"] = 4
    assert text != model.generate("9 bottles", **settings)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_completions_match_generated_texts(language_model: Path, batch_size: int) -> None:
    model = gl.load(language_model, device="cpu")
    prompts: list[str | list[Message]] = ["9", "beer", ""]
    settings: GenerationSettings = {"max_new_tokens": 4, "no_repeat_ngram_size": 2, "seed": 7}
    found = model.complete(prompts, samples=2, logprobs=True, batch_size=batch_size, **settings)
    for prompt, samples in zip(prompts, found, strict=True):
        for sample, completion in enumerate(samples):
            settings["seed"] = 7 + sample
            assert completion.text == model.generate(prompt, **settings)
            assert len(completion.logprobs) == len(completion.token_ids)
    beams = model.complete(["beer"], samples=2, num_beams=3, max_new_tokens=4)[0]
    assert beams[0].text == model.generate("beer", num_beams=3, max_new_tokens=4) != beams[1].text
    assert beams[0].logprobs == ()


def test_scores_match_a_plain_formula(language_model: Path) -> None:
    """Compare texts of one window with the sum of cross-entropies after the end-of-text token."""
    model = gl.load(language_model, device="cpu")
    task, end = model.task, model.tokenizer.end_of_text_id
    assert isinstance(task, gl.CausalLM)
    texts = ["5 beer", "é", ""]
    for text, score in zip(texts, model.score(texts), strict=True):
        ids = torch.tensor([[end, *model.tokenizer.encode(text)]])
        logits = task.double()(ids[:, :-1]) if ids.size(1) > 1 else torch.zeros(1, 0, 257)
        expected = F.cross_entropy(logits[0], ids[0, 1:], reduction="sum").item()
        assert score.nll == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert (score.num_tokens, score.num_bytes) == (ids.size(1) - 1, len(text.encode()))
        task.float()
    score = model.score(["5 beer"])[0]
    assert score.bits_per_byte == pytest.approx(score.nll / math.log(2) / 6)
    assert math.isnan(model.score([""])[0].bits_per_byte)


# --- activations


def test_patches_apply_to_all_methods_of_a_language_model(language_model: Path) -> None:
    model = gl.load(language_model, device="cpu")
    assert model.layers[:3] == ["embedding", "blocks.0.attention.heads", "blocks.0.attention"]
    with model.record("blocks.0", "norm") as activations:
        model.score(["5 beer"])
    assert [list(each.shape) for (each,) in activations.values()] == [[1, 6, 16]] * 2

    def results() -> list[Any]:
        return [
            model.score(["7 bee!"]),
            model.generate("7", max_new_tokens=9, temperature=1.0),
            model.embed(["7 bee!"]),
        ]

    before = results()
    with model.patch("blocks.0.mlp", lambda mlp: mlp * -9.0):
        patched = results()
    after = results()
    for one, other, again in zip(before, patched, after, strict=True):
        assert str(one) != str(other)
        assert str(one) == str(again)
    with model.patch("blocks.0", activations["blocks.0"][0]):
        with model.record("norm") as others:
            model.score(["7 beer"])
        assert others["norm"][0].equal(activations["norm"][0])


def test_patches_of_whole_texts_are_refused_where_texts_are_read_in_parts(language_model: Path) -> None:
    model = gl.load(language_model, device="cpu")
    with model.record("blocks.0") as activations:
        model.score(["5 beer"])
    message = r"the patch of blocks.0 has a tensor or positions, which need a whole text per row"
    with model.patch("blocks.0", activations["blocks.0"][0]):
        with pytest.raises(InputError, match=message):
            model.generate("5 beer", max_new_tokens=2)
        with pytest.raises(InputError, match=message):
            model.complete(["5 beer"], num_beams=2, max_new_tokens=2)
        with pytest.raises(InputError, match=message):
            model.score(["5 be", "5 beer"])  # share a row
        with pytest.raises(InputError, match=r"has shape \[1, 6, 16\], but the activation has shape \[1, 4, 16\]"):
            model.score(["5 be"])
    with pytest.raises(InputError, match=r"unknown layer 'block.0'; did you mean"), model.patch("block.0", 0.0):
        pass
    with pytest.raises(InputError, match="unknown layer 'head'"), model.record("head"):
        pass


def test_predictions_of_a_head_follow_patches(tmp_path: Path) -> None:
    shape = gl.GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=32)
    task = gl.SequenceClassification(labels=["sport", "weather"], backbone=shape, vocab_size=257).eval()
    model = Model(task, bytes_tokenizer(), tmp_path)
    one, other = {"text": "the sun comes out"}, {"text": "she runs and wins"}
    with model.record("blocks.0") as activations:
        (expected,) = model.predict([other])
    (before,) = model.predict([one])
    with model.patch("blocks.0", activations["blocks.0"][0]):
        (found,) = model.predict([one])
    assert found["scores"] == expected["scores"] != before["scores"]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 16, 17, 29])
def test_windows_of_long_texts_match_the_harness(length: int) -> None:
    ids = list(range(1, length + 1))
    reference = map(make_disjoint_window, get_rolling_token_windows(ids, 0, BLOCK_SIZE, context_len=1))
    ours = [(list(each.context), list(each.tokens)) for each in rolling_windows(ids, 0, BLOCK_SIZE)]
    assert ours == list(reference)


def test_embeddings_are_pooled_hidden_states(language_model: Path) -> None:
    model = gl.load(language_model, device="cpu")
    texts = ["5", "5 beer", "a text that is longer than the context"]
    mean, last = model.embed(texts, batch_size=2), model.embed(texts, pooling="last")
    for row, text in enumerate(texts):
        ids = model.tokenizer.encode(text)[:BLOCK_SIZE]
        with torch.no_grad():
            hidden = model.task.backbone(torch.tensor([ids]))[0]
        torch.testing.assert_close(mean[row], hidden.mean(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(last[row], hidden[-1], rtol=1e-5, atol=1e-6)
    assert model.embed([]).shape == (0, 16)
    assert model.embed([""]).isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_equal_the_hidden_states_of_transformers(tmp_path: Path, family: str) -> None:
    """The ids of a text are those of transformers: with BOS if the tokenizer adds it, and truncated alike."""
    reference = write_model(tmp_path, family)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = ["The cat sat on the mat", "<s>Hi", "long text " * 200]
    found = gl.load(tmp_path, device="cpu").embed(texts)
    for row, text in enumerate(texts):
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
        with torch.no_grad():
            hidden = reference.model(inputs["input_ids"]).last_hidden_state[0]
        torch.testing.assert_close(found[row], hidden.mean(0), rtol=1e-4, atol=1e-5)


def test_heads_embed_the_input_that_they_were_trained_with(run: CommandLine) -> None:
    model = gl.load(run.fit("topics", "--data.layout.prefix=[5]", "--data.layout.suffix=[6]"), device="cpu")
    ids = torch.tensor([[5, *model.tokenizer.encode("rain"), 6]])
    with torch.no_grad():
        hidden = model.task.backbone(ids, attention_mask=torch.ones_like(ids, dtype=torch.bool))[0]
    torch.testing.assert_close(model.embed(["rain"])[0], hidden.mean(0), rtol=1e-5, atol=1e-6)


def test_saved_folder_loads_as_the_same_model(language_model: Path, tmp_path: Path) -> None:
    model = gl.load(language_model, device="cpu")
    assert model.save(tmp_path / "folder") is None
    loaded = gl.load(tmp_path / "folder", device="cpu")
    assert loaded.generate("9", max_new_tokens=9) == model.generate("9", max_new_tokens=9)
    model.save(tmp_path / "half", dtype="float16")
    weights = load_file(tmp_path / "half" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}


# --- heads


@pytest.mark.parametrize("name", ["topics", "tags"])
def test_predictions_match_the_command(run: CommandLine, name: str) -> None:
    folder = run.fit(name)
    rows = [json.loads(line) for line in Path(f"{name}.jsonl").read_text().splitlines()]
    unlabeled = [{key: row[key] for key in ("id", "text", "tokens") if key in row} for row in rows]
    flags = ["--trainer.accelerator=cpu", "--data.batch_size=16"]
    assert run("predict", "--model", str(folder), "--input", f"{name}.jsonl", "--output", "out.jsonl", *flags) == 0
    expected = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    model = gl.load(folder, device="cpu")
    assert model.predict(unlabeled) == expected
    assert model.predict(iter([{"body": row.get("text", ""), **row} for row in unlabeled]), batch_size=3)
    if name == "topics":
        renamed = [{"body": row["text"]} for row in unlabeled]
        predictions = model.predict(renamed, text_column="body")
        assert [row["label"] for row in predictions] == [row["label"] for row in expected]


def scores(predictions: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], float]:
    """Return the score of each label by row, text and label."""
    return {(row["id"], row["text"], label): score for row in predictions for label, score in row["scores"].items()}


def test_predictions_read_the_columns_of_the_training_data(run: CommandLine) -> None:
    write_config(run.folder, "topics")
    rows = [json.loads(line) for line in Path("topics.jsonl").read_text().splitlines()]
    renamed = [{"id": row["id"], "body": row["text"], "kind": row["label"]} for row in rows]
    Path("renamed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in renamed))
    sources = [f"--data.{split}=renamed.jsonl" for split in ("train", "validation", "test")]
    folder = run.fit("topics", *sources, "--data.text_column=body", "--data.label_column=kind")
    assert run("export", str(folder), "model") == 0, run.err
    for model in (str(folder), "model"):
        common = ("predict", "--model", model, "--trainer.accelerator=cpu", "--overwrite")
        predict = (*common, "--output", "out.jsonl", "--input")
        assert run(*predict, "renamed.jsonl") == 0, run.err
        predictions = Path("out.jsonl").read_text()
        loaded = gl.load(model, device="cpu")
        assert [row["label"] for row in loaded.predict(renamed)] == [
            json.loads(line)["label"] for line in predictions.splitlines()
        ]
        assert scores(loaded.predict(rows, text_column="text")) == pytest.approx(scores(loaded.predict(renamed)))
        assert run(*predict, "topics.jsonl", "--data.text_column=text") == 0, run.err
        expected = scores(map(json.loads, predictions.splitlines()))
        assert scores(map(json.loads, Path("out.jsonl").read_text().splitlines())) == pytest.approx(expected)
        assert run(*predict, "renamed.jsonl", "-c", "topics.yaml") == 0, run.err
        assert "from the run: data.text_column=body\nfrom the run: data.label_column=kind\n" in run.out
        assert scores(map(json.loads, Path("out.jsonl").read_text().splitlines())) == pytest.approx(expected)
        assert run(*predict, "topics.jsonl", "-c", "topics.yaml") == 2
        assert "no column 'body'; the columns are 'id', 'text', 'label'; choose one with --data.text_column" in run.err
        assert run("test", f"--ckpt_path={model}", "--data.test=renamed.jsonl", "--trainer.accelerator=cpu") == 0, (
            run.err
        )


def test_run_folder_and_its_best_checkpoint_load_as_the_same_model(run: CommandLine) -> None:
    folder = run.fit("topics")
    best = find_checkpoint(str(folder))
    row = [{"text": "rain"}]
    assert gl.load(folder, device="cpu").predict(row) == gl.load(str(best), device="cpu").predict(row)
    assert repr(gl.load(folder)).startswith("Model(SequenceClassification, ")


def test_generate_has_the_arguments_of_stream() -> None:
    parameters = inspect.signature(Model.stream).parameters.values()
    keywords = {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    hints = get_type_hints(Model.stream)
    assert get_type_hints(GenerationSettings) == {name: hints[name] for name in keywords}


# --- invalid use


def test_invalid_calls_are_refused(language_model: Path, run: CommandLine) -> None:
    model, head = gl.load(language_model, device="cpu"), gl.load(run.fit("topics"), device="cpu")
    with pytest.raises(InputError, match="a CausalLM has no labels to predict"):
        model.predict([{"text": "x"}])
    for call in (head.generate, lambda: head.score(["x"])):
        with pytest.raises(InputError, match=r"holds a SequenceClassification, but only a CausalLM"):
            call()
    with pytest.raises(InputError, match="give a list of texts, not a string"):
        model.score("x")
    with pytest.raises(InputError, match="pooling='max' must be mean or last"):
        model.embed(["x"], pooling="max")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="max_new_tokens=0 must be at least 1"):
        model.generate("x", max_new_tokens=0)
    with pytest.raises(InputError, match=r"rows\.jsonl:2: there is no column 'text'"):
        head.predict([{"text": "x"}, {"txt": "x"}])
    with pytest.raises(InputError, match="--dtype int8: choose one of float32"):
        model.save("folder", dtype="int8")
    assert not Path("folder").exists()
    for prompt in (None, 5, ["a"], [], [{"role": "user"}], {"role": "user", "content": "a"}, b"a"):
        with pytest.raises(InputError, match=r"the prompt is .+\. Give a text, or a list of messages such as \[\{"):
            model.generate(prompt)  # type: ignore[arg-type]
    for prompts in ("beer", None, 5):
        with pytest.raises(InputError, match=r"prompts=.+ must be a list of prompts, such as \[prompt\]"):
            model.complete(prompts)  # type: ignore[arg-type]
    for texts in ([5], [None], ["a", b"b"], 5, None):
        with pytest.raises(InputError, match=r"give a list of texts; .+ is not a string"):
            model.score(texts)  # type: ignore[arg-type]
    invalid_settings: list[tuple[Any, str]] = [
        ({"num_beams": 2, "temperature": 0.5}, "--num_beams=2 is beam search, which does not sample"),
        ({"temperature": "hot"}, "--temperature='hot' must be a finite number"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
        ({"stop": [""]}, "--stop is empty"),
        ({"stop": [5]}, "give a list of stop strings; 5 is not a string"),
        ({"num_beams": 2, "max_new_tokens": 9}, "a prompt of 1 tokens and 9 new tokens exceed block_size=8"),
    ]
    for settings, message in invalid_settings:
        with pytest.raises(InputError, match=message):
            model.generate("x", **settings)
    with pytest.raises(InputError, match="samples=3 must be at most num_beams=2"):
        model.complete(["x"], samples=3, num_beams=2)
    invalid_rows: list[tuple[Any, str]] = [
        *((rows, "rows must be a list of dicts") for rows in (5, None, "text", [5], {"text": "x"})),
        ([{"text": object()}], r"a row has a value that JSON lacks \(Object of type object is not JSON serializable\)"),
        ([{}], "no column"),
    ]
    for rows, message in invalid_rows:
        with pytest.raises(InputError, match=message):
            head.predict(rows)
    with pytest.raises(InputError, match="no checkpoint, run folder or model folder has this path"):
        gl.load("nowhere")


# --- the package


def test_public_names_are_imported_lazily() -> None:
    script = "import sys; before = {*sys.modules}; import gpt_lightning as gl; print(*{*sys.modules} - before); "
    script += "[getattr(gl, name) for name in gl.__all__]"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(result.stdout.split()) & {"torch", "lightning", "numpy", "tokenizers", "datasets", "typing"}
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(gl))) if isinstance(node, ast.ImportFrom)]
    for_type_checkers = {(str(node.module), alias.name) for node in imports for alias in node.names}
    homes = {(f"gpt_lightning.{module}", name) for module, names in gl._HOMES.items() for name in names}
    assert for_type_checkers == homes
    assert set(gl.__all__) <= set(dir(gl))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gl.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_raw_text_is_split_by_the_rules_of_the_model(run: CommandLine) -> None:
    tags = {"tokens": ["Bo", "is", "n't", "in", "N'Djamena", "."], "tags": ["B-PER", "O", "O", "O", "B-LOC", "O"]}
    for name in ("train", "raw"):
        rows = [tags] * 4 if name == "train" else [{"text": "Bo isn't in N'Djamena."}]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = [f"--data.{split}=train.jsonl" for split in ("train", "validation", "test")]
    write_config(run.folder, "tags")
    folder = run.fit("tags", *sources)
    assert run("export", str(folder), "model") == 0, run.err
    content = torch.load(find_checkpoint(str(folder)), weights_only=True)
    assert content["hyper_parameters"].pop("word_rules") == ["clitics", "apostrophes"]
    torch.save(content, "former.ckpt")  # as versions without the rules wrote it
    for model, num_words in (str(folder), 6), ("model", 6), ("former.ckpt", 9):
        (predicted,) = gl.load(model, device="cpu").predict([{"text": "Bo isn't in N'Djamena."}])
        assert len(predicted["tags"]) == num_words
    flags = ("--model=former.ckpt", "--trainer.accelerator=cpu", "--data.train=train.jsonl")
    assert run("predict", *flags, "--input", "raw.jsonl", "--output", "out.jsonl") == 0, run.err
    assert json.loads(Path("out.jsonl").read_text()) == predicted, "the rules are not those of the training words"
