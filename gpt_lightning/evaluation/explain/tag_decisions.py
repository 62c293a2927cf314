"""Decisions about words: the tags of entities.

W words, T tokens, L tags.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gpt_lightning.data.word_tokens import Words
from gpt_lightning.evaluation.explain.decision import (
    Decision,
    Found,
    Reading,
    RowDecisions,
    Rows,
    choose,
    log_odds,
    window_ids,
)
from gpt_lightning.evaluation.explain.model_input import (
    ModelInput,
    decoded_input,
    encode,
    encode_words,
    find_slice,
    make_input,
)
from gpt_lightning.metrics.entity_f1 import entities
from gpt_lightning.tasks import TokenClassification
from gpt_lightning.tasks.finite import require_finite


class TagDecision(Decision):
    """Tags of the words of an entity, or of one word. The score is the sum of their log-odds.

    Args:
        task: the model.
        ids: token ids of the input.
        tags: number of the tag of each word.
        places: token of each word that the head reads.
        protected: positions of all tokens of the words.
        subject: the words.
    """

    kind = "tag"

    def __init__(
        self,
        task: TokenClassification,
        ids: Sequence[int],
        tags: Sequence[int],
        places: Sequence[int],
        protected: Sequence[int],
        subject: str,
    ) -> None:
        target = " ".join(task.labels[tag] for tag in tags)
        super().__init__(task, ids, target, places, protected=protected, subject=subject)
        self.task, self.tags = task, torch.tensor(tags, device=task.device)

    def logits(self, rows: Rows) -> Tensor:
        """Return the logits of the words, (B, P, L)."""
        is_read = torch.zeros_like(rows.attention_mask).scatter(1, rows.places, True)
        logits_WL: Tensor = self.task(rows.input_ids, rows.attention_mask, is_read)
        return logits_WL.float().view(*rows.places.shape, -1)

    def scores(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the sum of the log-odds of the tags."""
        return log_odds(logits, self.tags.expand(logits.shape[:2])).sum(1)

    def outcomes(self, logits: Tensor, rows: Rows) -> list[str]:
        """Return the predicted tags of the words."""
        return [" ".join(self.task.labels[tag] for tag in tags) for tags in logits.argmax(2).tolist()]

    def probabilities(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the lowest probability among the tags."""
        return log_odds(logits, self.tags.expand(logits.shape[:2])).sigmoid().amin(1)


def tag_decisions(task: TokenClassification, batch: Mapping[str, Any], reading: Reading) -> Iterator[RowDecisions]:
    """Yield the decisions about each text of a batch: the tags of its entities, or of the target.

    Without an entity, it is the word whose tag is the least certain.

    Raises:
        InputError: the target is no word, or its tag is unknown.
        RunError: the output of the model is not finite.
    """
    logits_WL = task(batch["input_ids"], batch["attention_mask"], batch["scored"]).float()
    require_finite(logits_WL, batch["ids"])
    windows_W, tokens_W = batch["scored"].nonzero().unbind(1)
    rows_W = batch["examples"][windows_W]
    for row, (name, text, words) in enumerate(zip(batch["ids"], batch["texts"], batch["words"], strict=True)):
        is_row = rows_W == row
        places = list(zip(windows_W[is_row].tolist(), tokens_W[is_row].tolist(), strict=True))
        found = []
        for first, tags in _tagged_words(task, logits_WL[is_row], text, words, reading.target):
            window = places[first][0]
            model_input = _window_input(window_ids(batch, window), text, words, reading)
            inside = [place for number, place in places[first : first + len(tags)] if number == window]
            decision = _decision(task, model_input, text, words[first : first + len(inside)], tags, inside)
            found.append(Found(decision, model_input))
        yield RowDecisions(name, {"text": text}, found)


def _tagged_words(
    task: TokenClassification, logits_WL: Tensor, text: str, words: Words, target: str | None
) -> list[tuple[int, list[int]]]:
    """Return the first word and the tags of each entity, or of the target."""
    predicted: list[int] = logits_WL.argmax(1).tolist()
    if target is not None:
        word, tag = _given_word(target, task.labels, [text[start:end] for start, end in words])
        return [(word, [predicted[word] if tag is None else tag])]
    found = entities([task.labels[tag] for tag in predicted])
    if found or not predicted:
        return [(first, predicted[first:stop]) for _, first, stop in found]
    least = int(logits_WL.softmax(1).amax(1).argmin())
    return [(least, predicted[least : least + 1])]


def _given_word(target: str, tags: Sequence[str], words: Sequence[str]) -> tuple[int, int | None]:
    """Return the index of the word that the target names, and its tag if it names one, as in ``WORD=TAG``."""
    word, separator, tag = target.rpartition("=")
    if target in words or not separator:
        return choose(target, words, "word"), None
    return choose(word, words, "word"), choose(tag, tags, "tag")


def _decision(
    task: TokenClassification,
    model_input: ModelInput,
    text: str,
    words: Words,
    tags: Sequence[int],
    places: Sequence[int],
) -> TagDecision:
    """Return the decision about consecutive words of one window."""
    start, end = words[0][0], words[-1][1]
    overlapping = [word.tokens for word in model_input.words if word.start < end and word.end > start]
    protected = [*places, *(place for tokens in overlapping for place in tokens)]
    return TagDecision(task, model_input.ids, tags[: len(places)], places, protected, text[start:end])


def _window_input(ids: list[int], text: str, words: Words, reading: Reading) -> ModelInput:
    """Return the input of a window over a text, whose words were encoded together or separately."""
    tokenizer = reading.tokenizer
    prefix, _, suffix = reading.layout.parts
    inner = ids[len(prefix) : len(ids) - len(suffix)]
    for encoded in (encode(tokenizer, "text", text, words), encode_words(tokenizer, "text", text, words)):
        start = find_slice(inner, encoded.ids.tolist())
        if start is not None:
            places = [(0, start + index) for index in range(len(inner))]
            return make_input(tokenizer, [encoded], [*prefix, *places, *suffix])
    return decoded_input(tokenizer, ids, "text")
