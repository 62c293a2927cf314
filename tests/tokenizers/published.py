"""Tiny tokenizers like those of published models, in folders that transformers reads."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import tokenizers
import tokenizers.processors
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from gpt_lightning.tokenizers.split_pattern import SPLIT_PATTERN

TEXT = "".join(
    f"The cat number {n} sat on the mat, and the dog didn't!\nWhere? In the café: {n * 37}  spaces.\n\n"
    for n in range(40)
)
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


def _trained(inner: tokenizers.Tokenizer, trainer: Any) -> tokenizers.Tokenizer:
    inner.train_from_iterator([TEXT], trainer)
    return inner


def _byte_level(special: list[str], normalizer: Any = None, split: Any = None) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.normalizer = normalizer
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    inner.pre_tokenizer = level if split is None else pre_tokenizers.Sequence([split, level])
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(
        inner,
        trainers.BpeTrainer(vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )


def _sentencepiece(special: list[str]) -> tokenizers.Tokenizer:
    """Return a BPE over characters with byte fallback, without a normalizer, a pre-tokenizer and a decoder."""
    inner = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [*special, *BYTE_TOKENS]
    trained = _trained(inner, trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False))
    state = json.loads(trained.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] not in BYTE_TOKENS]
    state["pre_tokenizer"] = None
    return tokenizers.Tokenizer.from_str(json.dumps(state))


def _adds(inner: tokenizers.Tokenizer, template: str) -> tokenizers.Tokenizer:
    special = [word for word in template.split() if word != "$A"]
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single=template, special_tokens=[(token, inner.token_to_id(token)) for token in special]
    )
    return inner


def llama2() -> tokenizers.Tokenizer:
    inner = _sentencepiece(["<unk>", "<s>", "</s>"])
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _adds(inner, "<s> $A")


def metaspace(prepend_scheme: str = "first", split: bool = False) -> tokenizers.Tokenizer:
    inner = _sentencepiece(["<unk>", "<s>", "</s>"])
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme, split=split)
    inner.decoder = decoders.Metaspace(prepend_scheme=prepend_scheme)
    return _adds(inner, "<s> $A")


def gemma() -> tokenizers.Tokenizer:
    inner = _sentencepiece(["<pad>", "<eos>", "<bos>", "<unk>"])
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _adds(inner, "<bos> $A")


def llama3() -> tokenizers.Tokenizer:
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated")
    return _adds(_byte_level(special, split=split), "<|begin_of_text|> $A")


def gpt2() -> tokenizers.Tokenizer:
    inner = _byte_level(["<|endoftext|>"])
    inner.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    return inner


def qwen() -> tokenizers.Tokenizer:
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated")
    return _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC(), split)


def wordpiece() -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    return _adds(_trained(inner, trainer), "[CLS] $A [SEP]")


def unigram() -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.Unigram())
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    return _adds(_trained(inner, trainer), "$A </s>")


CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | "
    "trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_S = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
FAMILIES: dict[str, tuple[Callable[[], tokenizers.Tokenizer], dict[str, Any]]] = {
    "llama2": (llama2, {**_S, "chat_template": INST}),
    "llama3": (
        llama3,
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "chat_template": HEADERS},
    ),
    "mistral": (metaspace, {**_S, "add_bos_token": True, "add_eos_token": False, "chat_template": INST}),
    # transformers ignores the flag next to a tokenizer.json.
    "llama2_flag": (llama2, {**_S, "add_bos_token": False, "chat_template": INST}),
    "gemma": (gemma, {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}),
    "gpt2": (gpt2, dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")),
    "qwen": (
        qwen,
        {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": CHATML},
    ),
    "wordpiece": (wordpiece, {"unk_token": "[UNK]", "pad_token": "[PAD]", "eos_token": "[SEP]"}),
    "unigram": (unigram, {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}),
}
"""Name -> function that returns a tokenizer, and its ``tokenizer_config.json``."""


def write_tokenizer(folder: Path, family: str) -> Path:
    """Write the files of a tokenizer into a folder, and return the folder."""
    make, config = FAMILIES[family]
    inner = make()
    inner.add_special_tokens(
        [
            AddedToken(str(config[role]), special=True, normalized=False)
            for role in ("bos_token", "eos_token")
            if config.get(role)
        ]
    )
    folder.mkdir(parents=True, exist_ok=True)
    inner.save(str(folder / "tokenizer.json"))
    content = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
