"""Layout of a head's input: the tokens before, between and after its texts, and the truncation of long texts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import tokenizers
import tokenizers.processors
from numpy.typing import NDArray

from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class InputLayout:
    """Tokens around the texts of a head's input, which the head was trained with.

    Attributes:
        prefix: token ids before the first text. null takes those that the tokenizer's publishers add, or else the
            end-of-text token, as between the documents of pretraining.
        separator: token ids between two texts. null takes those that the publishers add, or else a line end.
        suffix: token ids after the last text. null takes those that the publishers add, or else none; for question
            answering it is the end-of-text token.
        truncation_side: side of a long text whose tokens are left out, ``right`` or ``left``. null takes that of the
            tokenizer, or else ``right``.
        version: 1 for heads of versions that did not store the layout. They ignore the tokens that the publishers add,
            and encode each word of a tagged text by itself.
        copies: number of times that taggers and question answering read their texts, 1 or 2. With 2, the texts stand
            twice in the input, with the separator between them, and the head reads the second copy, whose tokens see
            the whole text even with causal attention (Springer et al. 2024, arXiv:2402.15449). About half as many
            tokens of a text then fit into ``block_size``.
    """

    prefix: list[int] | None = None
    separator: list[int] | None = None
    suffix: list[int] | None = None
    truncation_side: Literal["right", "left"] | None = None
    version: Literal[1, 2] = 2
    copies: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        for name in ("prefix", "separator", "suffix"):
            ids = getattr(self, name)
            if ids is not None and not (isinstance(ids, list) and all(type(each) is int and each >= 0 for each in ids)):
                raise InputError(f"layout.{name}={ids!r} must be a list of token ids, such as [0]")
        if self.truncation_side not in (None, "right", "left"):
            raise InputError(f"layout.truncation_side={self.truncation_side!r} must be right or left")
        if self.version not in (1, 2):
            raise InputError(f"layout.version={self.version!r} must be 1 or 2. Use the version that wrote the model")
        if self.copies not in (1, 2):
            raise InputError(f"layout.copies={self.copies!r} must be 1 or 2")

    @classmethod
    def published(cls, tokenizer: Tokenizer) -> "InputLayout":
        """Return the layout in which the publishers of a tokenizer encode texts: that of transformers."""
        single, pair = _added(tokenizer), _added(tokenizer, is_pair=True)
        side = tokenizer.config.truncation_side
        return cls(
            prefix=single[0],
            separator=pair[1],
            suffix=single[-1],
            truncation_side="left" if side == "left" else "right",
        )

    def complete(self, tokenizer: Tokenizer, *, ends_with_token: bool) -> "InputLayout":
        """Return the layout with token ids in place of null.

        Args:
            tokenizer: tokenizer of the model.
            ends_with_token: True if the default suffix is the end-of-text token, False if it is empty.

        Raises:
            InputError: a token id is outside of the vocabulary.
        """
        end_of_text = [tokenizer.end_of_text_id]
        published = InputLayout.published(tokenizer) if self.version > 1 else InputLayout()
        layout = replace(
            self,
            prefix=self.prefix if self.prefix is not None else published.prefix or end_of_text,
            separator=self.separator if self.separator is not None else published.separator or tokenizer.encode("\n"),
            suffix=self.suffix if self.suffix is not None else published.suffix or end_of_text * ends_with_token,
            truncation_side=self.truncation_side or published.truncation_side or "right",
        )
        if bad := [each for part in layout.parts for each in part if each >= tokenizer.vocab_size]:
            raise InputError(
                f"layout: the token id {bad[0]} is outside of the vocabulary of {tokenizer.vocab_size} tokens. "
                "Use the tokenizer that the model was trained with"
            )
        return layout

    @property
    def parts(self) -> tuple[list[int], list[int], list[int]]:
        """Prefix, separator and suffix of a complete layout."""
        assert self.prefix is not None
        assert self.separator is not None
        assert self.suffix is not None
        return self.prefix, self.separator, self.suffix

    def num_added(self, num_texts: int = 1) -> int:
        """Return the number of tokens that the layout adds to an input of one or two texts, or copies of a text."""
        prefix, separator, suffix = self.parts
        return len(prefix) + len(separator) * (num_texts - 1) + len(suffix)

    def check_read_once(self, reader: str, remedy: str) -> None:
        """Refuse a layout with two copies where the texts are read once.

        Args:
            reader: name of the class or the command that reads the texts, for the message.
            remedy: sentence without the final period that says what to do.

        Raises:
            InputError: the layout has two copies.
        """
        if self.copies > 1:
            raise InputError(f"layout.copies={self.copies}: {reader} reads each text once. {remedy}")

    def copy_size(self, max_tokens: int) -> int:
        """Return the maximum number of tokens in each copy of the texts, for inputs of ``max_tokens``."""
        return (max_tokens - self.num_added(self.copies)) // self.copies

    def before_last_copy(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens before the last copy of the texts: the prefix and, with two copies, the first of them.

        Args:
            ids: token ids of one copy, (n,).
        """
        prefix, separator, _ = (np.array(part, dtype=np.int64) for part in self.parts)
        return np.concatenate((prefix, *[ids, separator] * (self.copies - 1)))

    def input_ids(self, texts: Sequence[NDArray[np.int64]], max_tokens: int) -> NDArray[np.int64]:
        """Return the input for one or two tokenized texts, truncated to ``max_tokens``, the longer text first.

        Args:
            texts: token ids of each text, (n,).
            max_tokens: maximum length of the input.
        """
        prefix, separator, suffix = self.parts
        room = max_tokens - self.num_added(len(texts))
        lengths = fitting_lengths([len(text) for text in texts], max(room, 0))
        kept = [self._cut(text, length) for text, length in zip(texts, lengths, strict=True)]
        joined = [part for text in kept for part in (separator, text)][1:]
        return np.concatenate([np.array(part, dtype=np.int64) for part in (prefix, *joined, suffix)])

    def _cut(self, ids: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        return ids[len(ids) - length :] if self.truncation_side == "left" else ids[:length]


def fitting_lengths(lengths: Sequence[int], room: int) -> list[int]:
    """Return the lengths of one or two texts after truncation to ``room`` tokens together.

    The longer text is truncated first, down to the length of the other one. Then both are truncated evenly, and the
    second one keeps the odd token. This is the strategy ``longest_first`` of Hugging Face's tokenizers.
    """
    if sum(lengths) <= room:
        return list(lengths)
    if len(lengths) == 1:
        return [room]
    first, second = lengths
    half = room // 2
    if min(lengths) > half:
        shorter, longer = half, room - half
        return [longer, shorter] if first > second else [shorter, longer]
    return [first, room - first] if first <= second else [room - second, second]


def _added(tokenizer: Tokenizer, *, is_pair: bool = False) -> list[list[int]]:
    """Return the ids that a tokenizer adds before, between and after its texts."""
    text = next((text for text in ("a", "0", tokenizer.decode(range(100))) if tokenizer.encode(text)), "a")
    encoding = tokenizer.published_encoding(text, text if is_pair else None)
    added: list[list[int]] = [[]]
    previous: int | None = None
    for index, sequence in zip(encoding.ids, encoding.sequence_ids, strict=True):
        if sequence is None:
            added[-1].append(index)
        elif sequence != previous:
            added.append([])
            previous = sequence
    return added


def with_layout(tokenizer: Tokenizer, layout: InputLayout) -> tokenizers.Tokenizer:
    """Return a copy of the tokenizer whose post-processor adds the tokens of a complete layout.

    For byte-level tokens, it also removes the blank before a word from the word's offsets.
    """
    state = tokenizer.state()
    parts = dict(zip(("prefix", "separator", "suffix"), layout.parts, strict=True))
    added = {
        name: {"id": name, "ids": ids, "tokens": [tokenizer.token(index) for index in ids]}
        for name, ids in parts.items()
        if ids
    }
    single, pair = (
        [each for each in template.split() if each.startswith("$") or each in added]
        for template in ("prefix $A suffix", "prefix $A separator $B suffix")
    )
    copy = tokenizers.Tokenizer.from_str(json.dumps(state))
    template = tokenizers.processors.TemplateProcessing(single=single, pair=pair, special_tokens=list(added.values()))
    if "ByteLevel" in json.dumps(state["decoder"]):
        trim = tokenizers.processors.ByteLevel(add_prefix_space=False, trim_offsets=True)
        copy.post_processor = tokenizers.processors.Sequence([trim, template])
    else:
        copy.post_processor = template
    return copy
