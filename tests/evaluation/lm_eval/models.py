"""A tiny random model as a folder of Hugging Face's, and as lm-evaluation-harness sees it on either side."""

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import tokenizers
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers

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


def write_folder(folder: Path, *, begins: bool) -> Path:
    """Write it.

    Args:
        folder: a new one.
        begins: its tokenizer puts a token of its own before every text; otherwise only ends of texts are known.
    """
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<s>"] if begins else ["<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([TEXT], trainer)
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    if begins:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    folder.mkdir(parents=True)
    inner.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "chat_template": TEMPLATE}
    said |= {"bos_token": "<s>"} if begins else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    config = transformers.LlamaConfig(
        vocab_size=inner.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=BLOCK_SIZE,
        bos_token_id=1 if begins else 0,
        eos_token_id=0,
        tie_word_embeddings=True,
    )
    theirs = transformers.LlamaForCausalLM(config)
    randomize(theirs)
    theirs.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Both:
    """The same model from both sides."""

    folder: Path
    ours: HarnessLM
    theirs: Any


def both(folder: Path, *, begins: bool, batch_tokens: int = 100) -> Both:
    """Write a model and read it on both sides."""
    write_folder(folder, begins=begins)
    task, tokenizer = load_task(folder)
    assert isinstance(task, CausalLM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        theirs = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=3)
    return Both(folder, HarnessLM(task, tokenizer, batch_tokens), theirs)


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Any]:
    """What the harness asks."""
    return [Instance(request_type=kind, doc={}, arguments=each, idx=0) for each in arguments]
