"""Small tokenizers of each kind that published models have."""

from collections.abc import Callable, Sequence

import tokenizers
import tokenizers.processors
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from gpt_lightning.tokenizers.build import bytes_tokenizer, train_bpe, train_characters
from gpt_lightning.tokenizers.config import TokenizerConfig
from gpt_lightning.tokenizers.tokenizer import Tokenizer

SIZE = 300


def llama2(texts: Sequence[str]) -> Tokenizer:
    """Return a BPE with byte fallback that puts ``<s>`` in front, whose normalizer prepends the blank, as Llama 2."""
    inner = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=tokens, show_progress=False)
    words = [word for text in texts for word in text.split()]
    inner.train_from_iterator(words, trainer)
    state = inner.to_str()
    inner = tokenizers.Tokenizer.from_str(state)
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return Tokenizer(inner, TokenizerConfig(bos_token="<s>", eos_token="</s>", unk_token="<unk>"))


def metaspace(texts: Sequence[str]) -> Tokenizer:
    """Return a BPE with ``▁`` in place of blanks and ``<s>`` in front, as Mistral."""
    inner = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    inner.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    inner.train_from_iterator(texts, trainer)
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return Tokenizer(inner, TokenizerConfig(bos_token="<s>", eos_token="</s>", unk_token="<unk>"))


def unigram(texts: Sequence[str]) -> Tokenizer:
    """Return a Unigram model that normalizes text and ends it with ``</s>``, which also pads, as T5."""
    inner = tokenizers.Tokenizer(models.Unigram())
    inner.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    inner.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=SIZE, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return Tokenizer(inner, TokenizerConfig(eos_token="</s>", pad_token="</s>", unk_token="<unk>"))


def wordpiece(texts: Sequence[str]) -> Tokenizer:
    """Return a WordPiece model with ``[CLS]`` and ``[SEP]`` around texts, as BERT."""
    inner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=special, show_progress=False)
    inner.train_from_iterator(texts, trainer)
    inner.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return Tokenizer(inner, TokenizerConfig(pad_token="[PAD]", eos_token="[SEP]", unk_token="[UNK]"))


def llama3(texts: Sequence[str]) -> Tokenizer:
    """Return a byte-level BPE with a post-processor in two steps, as Llama 3."""
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=["<|begin_of_text|>", "<|end_of_text|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    template = tokenizers.processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
        special_tokens=[("<|begin_of_text|>", 0)],
    )
    inner.post_processor = tokenizers.processors.Sequence(
        [tokenizers.processors.ByteLevel(trim_offsets=True), template]
    )
    return Tokenizer(inner, TokenizerConfig(bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"))


def gpt2(texts: Sequence[str]) -> Tokenizer:
    """Return a byte-level BPE that adds no tokens, as GPT-2."""
    inner = tokenizers.Tokenizer(models.BPE())
    inner.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    inner.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    return Tokenizer(inner, TokenizerConfig(bos_token="<|endoftext|>", eos_token="<|endoftext|>"))


KINDS: dict[str, Callable[[Sequence[str]], Tokenizer]] = {
    "bpe": lambda texts: train_bpe(texts, SIZE),
    "bytes": lambda _: bytes_tokenizer(),
    "characters": train_characters,
    "gpt2": gpt2,
    "llama2": llama2,
    "llama3": llama3,
    "metaspace": metaspace,
    "unigram": unigram,
    "wordpiece": wordpiece,
}
