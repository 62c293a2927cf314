"""Input of a model with the characters of its texts that each token covers."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.data.word_tokens import Words, assign_tokens
from gpt_lightning.evaluation.explain.candidates import TokenTexts
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.tokenizer import Tokenizer

LAYOUT: Final = "layout"
"""Part of the tokens that stand in no text: those around the texts, and special tokens."""
_WORD: Final = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class InputToken:
    """Token of an input.

    Attributes:
        id: token id.
        text: characters that the token adds to its text, or the name of a token of the layout. The tokens of a text
            join to the text, so the second of two tokens that share a character is empty.
        part: name of the text that the token belongs to, or ``layout``.
    """

    id: int
    text: str
    part: str


@dataclass(frozen=True)
class Word:
    """Word of a text with its tokens.

    Attributes:
        text: the word.
        part: name of its text.
        start: first character of the word in its text.
        end: character after the word.
        tokens: positions of its tokens in the input, with those of the whitespace before it.
    """

    text: str
    part: str
    start: int
    end: int
    tokens: list[int]


@dataclass(frozen=True)
class ModelInput:
    """Tokens of an input, and the words that they form.

    Attributes:
        tokens: all tokens in order.
        words: words of all texts in order.
        num_cut: tokens of the texts that are not in the input, because it is full.
    """

    tokens: list[InputToken]
    words: list[Word]
    num_cut: int = 0

    @property
    def ids(self) -> list[int]:
        """Token ids."""
        return [token.id for token in self.tokens]

    @property
    def text_positions(self) -> list[int]:
        """Positions of the tokens that belong to a text."""
        return [place for place, token in enumerate(self.tokens) if token.part != LAYOUT]


@dataclass(frozen=True)
class EncodedText:
    """Text with its tokens.

    Attributes:
        name: name of the text in its row, such as ``question``.
        text: the text.
        ids: token ids, (n,).
        offsets: start and end of each token in characters, (n, 2).
        words: start and end of its words, in characters; None finds them.
    """

    name: str
    text: str
    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    words: Words | None = None


def encode(tokenizer: Tokenizer, name: str, text: str, words: Words | None = None) -> EncodedText:
    """Return a text encoded as a whole."""
    ((ids, offsets),) = tokenizer.encode_with_offsets([text])
    return EncodedText(name, text, ids, offsets, words)


def encode_words(tokenizer: Tokenizer, name: str, text: str, words: Words) -> EncodedText:
    """Return a text whose words are encoded separately, each with the whitespace before it."""
    starts = [0, *(stop for _, stop in words)]
    pieces = [text[start:stop] for start, (_, stop) in zip(starts, words, strict=False)]
    found = tokenizer.encode_with_offsets(pieces)
    # The data module gives a word without tokens the end-of-text token.
    filler = np.array([tokenizer.end_of_text_id]), np.array([[0, 0]])
    filled = [each if len(each[0]) else filler for each in found]
    ids = [ids for ids, _ in filled]
    offsets = [start + offsets for start, (_, offsets) in zip(starts, filled, strict=False)]
    nothing = np.empty(0, dtype=np.int64)
    return EncodedText(
        name, text, np.concatenate([nothing, *ids]), np.concatenate([nothing.reshape(0, 2), *offsets]), words
    )


def truncated_input(
    tokenizer: Tokenizer, layout: InputLayout, texts: Sequence[EncodedText], max_tokens: int
) -> ModelInput:
    """Return the input of one or two texts, truncated as in training.

    Args:
        tokenizer: tokenizer of the model.
        layout: complete layout of the model's inputs.
        texts: the texts.
        max_tokens: maximum length of the input.
    """
    # The layout joins and cuts places instead of ids. Places are negative, so that the ids of the layout stay apart.
    starts = np.cumsum([0, *(len(text.ids) for text in texts)])
    places = [-1 - start - np.arange(len(text.ids)) for start, text in zip(starts, texts, strict=False)]
    joined = layout.input_ids(places, max_tokens)
    sources: list[tuple[int, int] | int] = []
    for value in joined.tolist():
        number = int(np.searchsorted(starts, -1 - value, side="right")) - 1
        sources.append(value if value >= 0 else (number, -1 - value - int(starts[number])))
    return make_input(tokenizer, texts, sources)


def make_input(
    tokenizer: Tokenizer, texts: Sequence[EncodedText], sources: Sequence[tuple[int, int] | int]
) -> ModelInput:
    """Return an input, given where each of its tokens comes from.

    Args:
        tokenizer: tokenizer of the model.
        texts: the texts.
        sources: index of a text and of one of its tokens, or the id of a token of the layout, for each token.
    """
    places: dict[tuple[int, int], int] = {}
    pieces, token_texts = [_pieces(text) for text in texts], TokenTexts(tokenizer)
    tokens = []
    for position, source in enumerate(sources):
        if isinstance(source, int):
            tokens.append(InputToken(source, token_texts(source), LAYOUT))
        else:
            number, index = source
            places[source] = position
            tokens.append(InputToken(int(texts[number].ids[index]), pieces[number][index], texts[number].name))
    words = [word for number, text in enumerate(texts) for word in _words(text, number, places)]
    return ModelInput(tokens, words, sum(len(text.ids) for text in texts) - len(places))


def _pieces(text: EncodedText) -> list[str]:
    """Return the characters that each token adds; together they are the text."""
    ends = np.maximum.accumulate(text.offsets[:, 1]).tolist() if len(text.ids) else []
    starts = [0, *ends]
    pieces = [text.text[start:end] for start, end in zip(starts, ends, strict=False)]
    return [*pieces[:-1], pieces[-1] + text.text[ends[-1] :]] if pieces else []


def _words(text: EncodedText, number: int, places: Mapping[tuple[int, int], int]) -> list[Word]:
    """Return the words of a text that have a token in the input."""
    bounds = text.words if text.words is not None else [match.span() for match in _WORD.finditer(text.text)]
    groups = assign_tokens(np.arange(len(text.ids)), text.offsets, bounds)
    found = [(bounds[group.first][0], bounds[group.stop - 1][1], group.ids.tolist()) for group in groups or []]
    if not found:  # a text without words, or tokens in another order
        found = [(start, end, [index]) for index, (start, end) in enumerate(text.offsets.tolist())]
    words = []
    for start, end, indices in found:
        positions = [places[number, index] for index in indices if (number, index) in places]
        if positions:
            words.append(Word(text.text[start:end], text.name, start, end, positions))
    return words


def find_slice(part: Sequence[int], whole: Sequence[int]) -> int | None:
    """Return the first place at which ``whole`` contains ``part``, or None."""
    part, size = list(part), len(part)
    return next((start for start in range(len(whole) - size + 1) if list(whole[start : start + size]) == part), None)


def decoded_input(tokenizer: Tokenizer, ids: Sequence[int], name: str) -> ModelInput:
    """Return an input whose text is unknown, with the text that its ids decode to.

    Args:
        tokenizer: tokenizer of the model.
        ids: token ids of the input.
        name: name of the text.
    """
    texts: list[EncodedText] = []
    sources: list[tuple[int, int] | int] = []
    for is_special, group in itertools.groupby(ids, key=tokenizer.special_ids.__contains__):
        run = list(group)
        if is_special:
            sources += run
        else:
            sources += [(len(texts), index) for index in range(len(run))]
            texts.append(_decode(tokenizer, run, name))
    return make_input(tokenizer, texts, sources)


def _decode(tokenizer: Tokenizer, ids: Sequence[int], name: str) -> EncodedText:
    """Return the text of ids. If its encoding differs, each token has the text that it decodes to by itself."""
    text = encode(tokenizer, name, tokenizer.decode(ids))
    if text.ids.tolist() == list(ids):
        return text
    pieces = [tokenizer.decode([index]) for index in ids]
    ends = np.cumsum([len(piece) for piece in pieces])
    return EncodedText(name, "".join(pieces), np.array(ids), np.stack((np.append(0, ends[:-1]), ends), 1))
