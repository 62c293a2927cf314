"""Greedy continuations equal those of transformers, for tokenizers and end tokens of published models."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import gpt_lightning as gl
from gpt_lightning.tasks.export import export_task
from gpt_lightning.tasks.load import load_task
from tests.tokenizers.published import FAMILIES
from tests.tokenizers.published_model import write_model

PROMPTS = ["The cat sat on the", "", "In the café:"]
NEW_TOKENS = 16


def our_text(folder: Path, prompt: str, **settings: Any) -> str:
    """Return our greedy continuation."""
    model = gl.load(folder, device="cpu")
    return model.generate(prompt, max_new_tokens=NEW_TOKENS, temperature=0.0, **settings)


def reference_ids(model: Any, prompt_ids: list[int], **settings: Any) -> list[int]:
    """Return the new token ids of transformers."""
    ids = torch.tensor([prompt_ids])
    options = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0, **settings}
    new: list[int] = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, len(prompt_ids) :].tolist()
    return new


def text_after(tokenizer: Any, prompt_ids: list[int], new: list[int]) -> str:
    """Return the text of transformers that the new ids add to the prompt."""
    before, whole = (tokenizer.decode(ids, skip_special_tokens=True) for ids in (prompt_ids, prompt_ids + new))
    assert whole.startswith(before)
    return str(whole[len(before) :])


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_texts_equal_those_of_transformers(family: str, tmp_path: Path) -> None:
    model = write_model(tmp_path, family)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = gl.load(tmp_path, device="cpu")
    for prompt in PROMPTS:
        ids = tokenizer(prompt)["input_ids"] or [model.config.bos_token_id or model.config.eos_token_id]
        text = ours.generate(prompt, max_new_tokens=NEW_TOKENS, temperature=0.0)
        assert text == text_after(tokenizer, ids, reference_ids(model, ids))


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_every_end_token_ends_the_text(tmp_path: Path, file: str) -> None:
    """Read the list from either file, and keep it in an exported folder."""
    model = write_model(tmp_path / "model", "llama3")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = tokenizer(PROMPTS[0])["input_ids"]
    free = reference_ids(model, ids, eos_token_id=[])
    ends = [tokenizer.eos_token_id, free[9]]
    settings = {"eos_token_id": ends, "bos_token_id": 0, "temperature": 0.6, "do_sample": True}
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    if file == "config.json":
        (tmp_path / "model" / "generation_config.json").unlink()
        (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"eos_token_id": ends}))
    else:
        (tmp_path / "model" / file).write_text(json.dumps(settings))
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    new = reference_ids(model, ids)
    assert len(new) == free.index(free[9]) + 1 < NEW_TOKENS
    assert our_text(tmp_path / "model", PROMPTS[0]) == text_after(tokenizer, ids, new)

    task, ours = load_task(tmp_path / "model")
    assert export_task(task, ours, tmp_path / "model", tmp_path / "export") is None
    assert our_text(tmp_path / "export", PROMPTS[0]) == our_text(tmp_path / "model", PROMPTS[0])
    exported = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "export").eval()
    assert reference_ids(exported, ids) == new
    assert json.loads((tmp_path / "export" / "config.json").read_text())["eos_token_id"] == ends
    if file == "generation_config.json":
        assert json.loads((tmp_path / "export" / file).read_text()) == settings


def test_a_missing_bos_token_stays_missing(tmp_path: Path) -> None:
    write_model(tmp_path / "model", "qwen")
    task, tokenizer = load_task(tmp_path / "model")
    export_task(task, tokenizer, tmp_path / "model", tmp_path / "export")
    for folder in (tmp_path / "model", tmp_path / "export"):
        assert transformers.AutoTokenizer.from_pretrained(folder).bos_token is None
        assert transformers.AutoConfig.from_pretrained(folder).bos_token_id is None
        assert transformers.GenerationConfig.from_pretrained(folder).bos_token_id is None


def test_stop_strings_end_the_text(tmp_path: Path) -> None:
    """Compare with transformers, which stops after the token that completes the string."""
    model = write_model(tmp_path, "llama2")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer(PROMPTS[0])["input_ids"]
    ours = gl.load(tmp_path, device="cpu")
    whole = text_after(tokenizer, ids, reference_ids(model, ids))
    assert len(whole) > 12
    for start in range(0, len(whole) - 4, 5):
        for stops in ([whole[start : start + 4]], [whole[start : start + 2], whole[-3:], "absent"]):
            new = reference_ids(model, ids, stop_strings=stops, tokenizer=tokenizer)
            text = text_after(tokenizer, ids, new)
            end = min((text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text)[1]
            assert ours.generate(PROMPTS[0], max_new_tokens=NEW_TOKENS, temperature=0.0, stop=stops) == text[:end]


@pytest.mark.parametrize("family", ["llama2", "gpt2"])
def test_stop_strings_end_the_texts_of_batches_and_of_beam_search(tmp_path: Path, family: str) -> None:
    model = write_model(tmp_path, family)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = gl.load(tmp_path, device="cpu")
    settings: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "stop": ["absent"]}
    for strategy in ({"temperature": 0.0}, {"num_beams": 3}):
        beams = {name: value for name, value in strategy.items() if name == "num_beams"}
        settings["stop"] = ["absent"]
        free = [ours.generate(prompt, **settings, **strategy) for prompt in PROMPTS]
        settings["stop"] = [free[0][5:7], free[2][2:3]]
        expected = []
        for prompt in PROMPTS:
            ids = tokenizer(prompt)["input_ids"] or [model.config.bos_token_id or model.config.eos_token_id]
            new = reference_ids(model, ids, stop_strings=settings["stop"], tokenizer=tokenizer, **beams)
            text = text_after(tokenizer, ids, new)
            ends = [text.find(stop) for stop in settings["stop"] if stop in text]
            expected.append((text[: min(ends, default=None)], "stop" if ends else "length"))
        found = [best for best, *_ in ours.complete(PROMPTS, batch_size=3, **settings, **strategy)]
        assert [(each.text, each.finish_reason) for each in found] == expected
        assert [ours.generate(prompt, **settings, **strategy) for prompt in PROMPTS] == [text for text, _ in expected]
        assert "stop" in {each.finish_reason for each in found}
