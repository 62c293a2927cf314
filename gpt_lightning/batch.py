"""The contract between data and tasks: the keys and shapes of a batch.

B rows, T tokens. Data modules make these, tasks read them, and neither imports the other. ``ids`` are what the user
calls the rows, in training too, so that a row that does harm can be named; they are fewer than B where the last are
padding.
"""

from typing import Final, NotRequired, TypedDict

from torch import Tensor

IGNORE_INDEX: Final = -100
"""A label that neither the loss nor any metric sees (the default ``ignore_index`` of torch)."""


class LanguageModelingBatch(TypedDict):
    """Blocks of packed text for next-token prediction."""

    input_ids: Tensor
    """(B, T) int64."""
    labels: Tensor
    """(B, T) int64: the token that follows each position (already shifted), or ``IGNORE_INDEX``."""
    num_bytes: Tensor
    """(B,) int64: UTF-8 bytes spelt by the labeled tokens of a row, for bits per byte."""
    ids: NotRequired[list[str]]
    """Where in the split's tokens each block lies."""
    document_ids: NotRequired[Tensor]
    """(B, T) int64, non-decreasing along a row: present when attention must not cross documents."""


class SequenceClassificationBatch(TypedDict):
    """Texts, each with a label or with several. Texts themselves are absent while training."""

    input_ids: Tensor
    """(B, T) int64, padded on the right."""
    attention_mask: Tensor
    """(B, T) bool: False for padding."""
    labels: Tensor
    """(B,) int64, or (B, L) int64 of 0 and 1 where a text may have several; ``IGNORE_INDEX`` where there is none."""
    ids: NotRequired[list[str]]
    texts: NotRequired[list[str]]


class TokenClassificationBatch(TypedDict):
    """Windows of texts, in order; each word is labeled at one of its tokens, the first or the last."""

    input_ids: Tensor
    """(B, T) int64, padded on the right."""
    attention_mask: Tensor
    """(B, T) bool: False for padding."""
    labels: Tensor
    """(B, T) int64, or ``IGNORE_INDEX`` for all but the tokens of the words that this window answers for."""
    scored: Tensor
    """(B, T) bool: those tokens, labeled or not. Read row by row they are the words of each text, in order."""
    examples: Tensor
    """(B,) int64: which text of the batch a window is of; -1 for padding."""
    ids: NotRequired[list[str]]
    """Of each text; while training, of each window the text that it is of."""
    texts: NotRequired[list[str]]
    words: NotRequired[list[list[tuple[int, int]]]]
    """Where in its text each word starts and ends, in characters."""


class QuestionAnsweringBatch(TypedDict):
    """A question and a window of its context a row: end of text, question, context, end of text."""

    input_ids: Tensor
    """(B, T) int64, padded on the right."""
    attention_mask: Tensor
    """(B, T) bool: False for padding."""
    start_positions: Tensor
    """(B,) int64: the answer's first token, the null position if it is not in this window, or ``IGNORE_INDEX``."""
    end_positions: Tensor
    """(B,) int64: its last token, likewise."""
    context_mask: Tensor
    """(B, T) bool: where an answer may start and end."""
    null_positions: Tensor
    """(B,) int64: the last token, which stands for "no answer here" and, being last, sees all of it."""
    examples: Tensor
    """(B,) int64: which question of the batch a window is of; -1 for padding."""
    offsets: NotRequired[Tensor]
    """(B, T, 2) int64: where in the context each token starts and ends, in characters."""
    ids: NotRequired[list[str]]
    """Of each question; while training, of each window the question that it is for."""
    questions: NotRequired[list[str]]
    contexts: NotRequired[list[str]]
    answers: NotRequired[list[list[str]]]
    """The right answers to each question; none where it has none."""
