"""Tiny random model in a Hugging Face folder, loaded by our adapter for lm-evaluation-harness and by its ``HFLM``."""

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import tokenizers.processors
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from gpt_lightning.evaluation.lm_eval.model import HarnessLM
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tasks.load import load_task
from tests.models.test_gpt import randomize

BLOCK_SIZE = 40
TEXT = "".join(
    f"{n} bottles of beer on the wall, {n} bottles of beer.\nTake one down, pass it around.\n" for n in range(40)
)
WORDS = TEXT.split(" ")
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' and strict %}{{ raise_exception('no system') }}{% endif %}"
    "{{ bos_token }}[{{ m.role }}] {{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def write_folder(folder: Path, *, adds_bos: bool) -> Path:
    """Write the model and its tokenizer.

    Args:
        folder: new folder.
        adds_bos: if True, the tokenizer puts a BOS token before every text; otherwise it has only an EOS token.
    """
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<s>"] if adds_bos else ["<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    if adds_bos:
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|endoftext|>",
        "chat_template": TEMPLATE,
    }
    tokenizer_config |= {"bos_token": "<s>"} if adds_bos else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=BLOCK_SIZE,
        bos_token_id=1 if adds_bos else 0,
        eos_token_id=0,
        tie_word_embeddings=True,
    )
    reference = transformers.LlamaForCausalLM(config)
    randomize(reference)
    reference.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class ModelPair:
    """Our adapter of a model, and the harness's own."""

    folder: Path
    ours: HarnessLM
    reference: Any


def model_pair(folder: Path, *, adds_bos: bool, batch_tokens: int = 100) -> ModelPair:
    """Write a model and load it with both adapters."""
    write_folder(folder, adds_bos=adds_bos)
    task, tokenizer = load_task(folder)
    assert isinstance(task, CausalLM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # raised by HFLM
        reference = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=3)
    return ModelPair(folder, HarnessLM(task, tokenizer, batch_tokens), reference)


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Any]:
    """Return requests in the harness's format."""
    return [Instance(request_type=kind, doc={}, arguments=each, idx=0) for each in arguments]
