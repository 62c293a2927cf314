"""Settings of decoding in ``generation_config.json``, compared with those of transformers."""

from pathlib import Path
from typing import Any

import pytest
import transformers

import gpt_lightning as gl
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.generation_config import decoding_defaults, ignored_settings
from tests.tasks.test_continuation import PROMPTS, reference_ids, text_after
from tests.tokenizers.published_model import write_model


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {}),
        ({"temperature": 0.6, "top_p": 0.9, "top_k": 20}, {}),  # without do_sample, transformers ignores them
        ({"do_sample": False, "temperature": 0.6}, {}),
        ({"do_sample": True}, {"temperature": 1.0, "top_k": 50}),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_k": 50, "top_p": 0.9}),
        ({"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": None}, {"temperature": 1.0}),
        (
            {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3},
            {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3},
        ),
        ({"num_beams": 1, "repetition_penalty": 1.0, "min_new_tokens": 0}, {}),
        ({"repetition_penalty": 1.05, "min_new_tokens": 2}, {"repetition_penalty": 1.05, "min_new_tokens": 2}),
        (
            {"num_beams": 2, "early_stopping": True, "min_length": 5, "max_new_tokens": 9},
            {"num_beams": 2, "early_stopping": True, "min_length": 5, "max_new_tokens": 9},
        ),
        ({"early_stopping": True, "min_length": 0}, {"early_stopping": True}),
        ({"early_stopping": True, "do_sample": True}, {"temperature": 1.0, "top_k": 50}),
        ({"do_sample": True, "num_beams": 4, "top_k": 9}, {"temperature": 1.0, "top_k": 9}),
    ],
)
def test_settings_are_those_that_transformers_uses(config: dict[str, Any], expected: dict[str, Any]) -> None:
    assert decoding_defaults({"eos_token_id": 2, "transformers_version": "5", **config}) == expected


@pytest.mark.parametrize("value", ["hot", True, [0.5]])
def test_values_that_are_no_numbers_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"generation_config\.json: temperature=.* is not a number. Fix the file"):
        decoding_defaults({"do_sample": True, "temperature": value})


def test_texts_equal_those_of_transformers_with_the_same_file(tmp_path: Path) -> None:
    """Beam search, penalties and the end token come from the file; an argument replaces its value."""
    model = write_model(tmp_path, "llama3")
    settings = {"num_beams": 3, "length_penalty": 0.5, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2}
    transformers.GenerationConfig(eos_token_id=model.config.eos_token_id, **settings).save_pretrained(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = gl.load(tmp_path, device="cpu")
    texts = set()
    for changed in ({}, {"num_beams": 1, "temperature": 0.0}, {"repetition_penalty": 1.0, "num_beams": 2}):
        ids = tokenizer(PROMPTS[0])["input_ids"]
        options = {name: value for name, value in changed.items() if name != "temperature"}
        expected = text_after(tokenizer, ids, reference_ids(model, ids, **options))
        assert ours.generate(PROMPTS[0], max_new_tokens=16, **changed) == expected  # type: ignore[arg-type]
        texts.add(expected)
    assert len(texts) == 3


def test_settings_without_effect_are_named() -> None:
    config = {
        **{"min_p": 0.1, "typical_p": 1.0, "suppress_tokens": [3], "bad_words_ids": None, "forced_eos_token_id": 2},
        **{"early_stopping": "never", "do_sample": True, "num_beams": 4, "num_beam_groups": 1, "max_length": 142},
    }
    assert ignored_settings(config) == {
        **{"min_p": 0.1, "suppress_tokens": [3], "early_stopping": "never"},
        **{"num_beams": 4, "max_length": 142},
    }
    assert ignored_settings({"do_sample": True, "temperature": 0.6, "early_stopping": True, "num_beams": 1}) == {}
