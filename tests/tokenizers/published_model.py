"""Tiny random Llama models with tokenizers like those of published models."""

from pathlib import Path
from typing import Any

import transformers

from tests.models.test_gpt import randomize
from tests.tokenizers.published import write_tokenizer


def write_model(folder: Path, family: str, **token_ids: Any) -> Any:
    """Write a random Llama model with the tokenizer of a family; return it as transformers loads it."""
    write_tokenizer(folder, family)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id} | token_ids
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        **ids,
    )
    model = transformers.LlamaForCausalLM(config)
    randomize(model)
    model.save_pretrained(folder)
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
