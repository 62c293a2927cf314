"""Batch formats: the keys and shapes that data modules produce and tasks consume.

B is the number of rows and T the number of tokens per row. Data modules and tasks both import this module, and neither
imports the other. ``ids`` are the user's row ids, in training too, so that messages can name the rows. There are fewer
than B ids if the batch ends with padding rows.
"""

from typing import Final, NotRequired, TypedDict

from torch import Tensor

IGNORE_INDEX: Final = -100
"""Label that the loss and all metrics ignore: torch's default ``ignore_index``."""


class LanguageModelingBatch(TypedDict):
    """Blocks of packed text for next-token prediction."""

    input_ids: Tensor
    """(B, T) int64."""
    labels: Tensor
    """(B, T) int64: the next token at each position (already shifted), or ``IGNORE_INDEX``."""
    num_bytes: Tensor
    """(B,) int64: UTF-8 bytes of the labeled tokens of each row, for bits per byte."""
    ids: NotRequired[list[str]]
    """Range of each block in the tokens of its split, such as ``tokens 0-1024``."""
    document_ids: NotRequired[Tensor]
    """(B, T) int64, non-decreasing along a row: present only if attention must not cross documents."""
    prefix_mask: NotRequired[Tensor]
    """(B, T) bool: True for the tokens of prompts, which see each other in both directions with prefix attention."""
    prompts: NotRequired[list[list[int]]]
    """Token ids of the prompts of the first rows, which are answered in evaluation and prediction."""
    references: NotRequired[list[list[str]]]
    """Correct answers to each prompt, at least one; in prediction, a prompt may have none."""


class Seq2SeqBatch(TypedDict):
    """Pairs of a source text, which the encoder reads, and a target text, which the decoder predicts.

    S is the number of tokens of the longest source, T of the longest target.
    """

    input_ids: Tensor
    """(B, S) int64: sources, padded on the right."""
    attention_mask: Tensor
    """(B, S) bool: False for padding."""
    decoder_input_ids: Tensor
    """(B, T) int64: the start token and the target without its last token, padded on the right."""
    labels: Tensor
    """(B, T) int64: the target, which ends with the end token, or ``IGNORE_INDEX``."""
    num_bytes: Tensor
    """(B,) int64: UTF-8 bytes of the labeled tokens of each row."""
    ids: NotRequired[list[str]]
    references: NotRequired[list[list[str]]]
    """Correct targets of the first sources, whose targets are generated in evaluation; at least one each."""


class SequenceClassificationBatch(TypedDict):
    """Texts with one label each or, in multi-label classification, any number. In training, ``texts`` is absent."""

    input_ids: Tensor
    """(B, T) int64, padded on the right."""
    attention_mask: Tensor
    """(B, T) bool: False for padding."""
    labels: Tensor
    """(B,) int64 or, if multi-label, (B, L) int64 of 0 and 1; ``IGNORE_INDEX`` for unlabeled and padding rows."""
    ids: NotRequired[list[str]]
    texts: NotRequired[list[str]]


class SequenceRegressionBatch(TypedDict):
    """Texts with one number each. In training, ``texts`` is absent."""

    input_ids: Tensor
    """(B, T) int64, padded on the right."""
    attention_mask: Tensor
    """(B, T) bool: False for padding."""
    labels: Tensor
    """(B,) float32: the number to predict; NaN for unlabeled and padding rows."""
    ids: NotRequired[list[str]]
    texts: NotRequired[list[str]]


class TokenClassificationBatch(TypedDict):
    """Windows of texts, in order. Each word is labeled at one of its tokens, the first or the last."""

    input_ids: Tensor
    """(B, T) int64, padded on the right."""
    attention_mask: Tensor
    """(B, T) bool: False for padding."""
    labels: Tensor
    """(B, T) int64: the tag at one token of each scored word of the window, ``IGNORE_INDEX`` at all other tokens."""
    scored: Tensor
    """(B, T) bool: True at those tokens, also without labels. Row by row, they are the words of each text in order."""
    examples: Tensor
    """(B,) int64: index in the batch of the text that the window belongs to; -1 for padding."""
    ids: NotRequired[list[str]]
    """Ids of the texts; in training, one id per window."""
    texts: NotRequired[list[str]]
    words: NotRequired[list[list[tuple[int, int]]]]
    """Start and end of each word of each text, in characters."""


class QuestionAnsweringBatch(TypedDict):
    """Rows of a question and a window of its context, with the tokens of the layout before, between and after them."""

    input_ids: Tensor
    """(B, T) int64, padded on the right."""
    attention_mask: Tensor
    """(B, T) bool: False for padding."""
    start_positions: Tensor
    """(B,) int64: first token of the answer, the null position if the window has no answer, or ``IGNORE_INDEX``."""
    end_positions: Tensor
    """(B,) int64: last token of the answer, with the same exceptions."""
    context_mask: Tensor
    """(B, T) bool: True for tokens at which an answer may start or end."""
    null_positions: Tensor
    """(B,) int64: position that means "no answer in this window": the last token, or the first without a suffix."""
    examples: Tensor
    """(B,) int64: index in the batch of the question that the window belongs to; -1 for padding."""
    offsets: NotRequired[Tensor]
    """(B, T, 2) int64: start and end of each token in its context, in characters."""
    ids: NotRequired[list[str]]
    """Ids of the questions; in training, one id per window."""
    questions: NotRequired[list[str]]
    contexts: NotRequired[list[str]]
    answers: NotRequired[list[list[str]]]
    """Correct answers to each question; an empty list if it has no answer."""


def ends_with_token(batch: type) -> bool:
    """Return whether the rows of a batch format need a token after their texts, as a null position."""
    return "null_positions" in batch.__annotations__
