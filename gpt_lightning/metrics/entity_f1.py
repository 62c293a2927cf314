"""Entity-level precision, recall and F1, as in CoNLL's conlleval and seqeval."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.metrics.classification import ratio, scores_per_class
from gpt_lightning.metrics.loss import MeanLoss

# N words, K tags, C entity types
OUTSIDE = ("O", "_")
"""Parsed tag ``O``, which also pads the start and the end of a text."""


_LETTERS: Final = ("B", "I", "E", "S", "L", "U", "O")
_BILOU: Final = {"L": "E", "U": "S"}


def parse_tag(tag: str) -> tuple[str, str]:
    """Return (letter, type) of a tag: B-PER is ("B", "PER"), I-ART-WORK is ("I", "ART-WORK"), O is ("O", "_").

    The letters L and U of the scheme BILOU become E and S of BIOES. A tag without a letter, such as PER, is read as
    I-PER, as in transformers.
    """
    letter, hyphen, kind = tag.partition("-")
    if letter not in _LETTERS:
        return "I", tag
    return _BILOU.get(letter, letter) if hyphen else letter, kind or "_"


def starts_entity(previous: tuple[str, str], tag: tuple[str, str]) -> bool:
    """Return True if an entity starts at a word with ``tag`` that follows a word with ``previous``."""
    (previous_letter, previous_type), (letter, kind) = previous, tag
    if letter in "BS" or (letter in "IE" and previous_letter in "OES"):
        # E and S end an entity, so a following I or E starts a new one.
        return True
    return letter != "O" and kind != previous_type


def ends_entity(tag: tuple[str, str], following: tuple[str, str]) -> bool:
    """Return True if an entity ends at a word with ``tag`` that precedes a word with ``following``."""
    (letter, kind), (following_letter, following_type) = tag, following
    if letter in "ES" or (letter in "BI" and following_letter in "BSO"):
        return True
    return letter != "O" and kind != following_type


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return (type, first word, one past the last word) of each entity, in order.

    The schemes BIO, BIOES, BILOU and IOB1 are supported. In sequences that are valid in none of them, an I or E starts
    an entity if it follows O or another type, as in conlleval and the default mode of seqeval.
    """
    found = []
    first = 0
    parsed = [OUTSIDE, *map(parse_tag, tags), OUTSIDE]
    for word in range(len(tags)):
        previous, tag, following = parsed[word : word + 3]
        if starts_entity(previous, tag):
            first = word
        if ends_entity(tag, following):
            found.append((tag[1], first, word + 1))
    return found


class EntityMetrics(MeanLoss):
    """Loss, precision, recall and F1 of entities, and accuracy of words.

    Args:
        tags: names of the K tag ids, such as ``["O", "B-PER", "I-PER"]``.
    """

    counts: Tensor
    words: Tensor
    opening: Tensor
    closing: Tensor
    type_of_tag: Tensor

    def __init__(self, tags: Sequence[str]) -> None:
        super().__init__()
        parsed = [parse_tag(tag) for tag in tags]
        self.types = sorted({kind for letter, kind in parsed if letter not in "O."})
        if not self.types:
            raise InputError(f"the tags {list(tags)} contain no entity type. Name tags like B-PER and I-PER")
        index = {kind: number for number, kind in enumerate(self.types)}
        # The rules as tables over pairs of tags. Row K of ``opening`` means no previous word, and column K of
        # ``closing`` no following word.
        self._table("opening", [[starts_entity(previous, tag) for tag in parsed] for previous in [*parsed, OUTSIDE]])
        self._table("closing", [[ends_entity(tag, following) for following in [*parsed, OUTSIDE]] for tag in parsed])
        self._table("type_of_tag", [index.get(kind, 0) for _, kind in parsed])  # O has no type, so its entry is unused
        # Numbers of correct, predicted and true entities of each type.
        self.add_state("counts", torch.zeros(3, len(self.types), dtype=torch.int64), dist_reduce_fx="sum")
        # Number of words with a correct tag, and number of words.
        self.add_state("words", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def _table(self, name: str, values: list[list[bool]] | list[int]) -> None:
        self.register_buffer(name, torch.tensor(values), persistent=False)

    def update(self, mean_loss: Tensor, weight: Tensor, predicted: Tensor, labels: Tensor, rows: Tensor) -> None:
        """Add a batch of whole texts.

        Args:
            mean_loss: (), mean over the labeled words.
            weight: (), number of labeled words, or the sum of their weights.
            predicted: (N,) int64, predicted tag of each labeled word.
            labels: (N,) int64, true tag of each labeled word.
            rows: (N,) int64, index of each word's text; the words of a text are adjacent.
        """
        self.add_loss(mean_loss, weight)
        if not len(labels):
            return
        border = torch.ones(1, dtype=torch.bool, device=rows.device)
        is_new_row = rows[1:] != rows[:-1]
        first_word, last_word = torch.cat([border, is_new_row]), torch.cat([is_new_row, border])
        start, end = self._entities(predicted, first_word, last_word)
        true_start, true_end = self._entities(labels, first_word, last_word)
        kind, true_type = self.type_of_tag[predicted], self.type_of_tag[labels]
        # At most one entity ends at each word, so comparing the entities that end at a word finds all matches.
        is_correct = end & true_end & (start == true_start) & (kind == true_type)
        no_entity = torch.zeros_like(self.counts[0])
        self.counts = self.counts + torch.stack(
            [
                no_entity.index_add(0, kind, is_correct.long()),
                no_entity.index_add(0, kind, end.long()),
                no_entity.index_add(0, true_type, true_end.long()),
            ]
        )
        all_words = torch.tensor(len(labels), device=labels.device)
        self.words = self.words + torch.stack([(predicted == labels).sum(), all_words])

    def _entities(self, tags: Tensor, first_word: Tensor, last_word: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first word of each word's entity, (N,) int64, and whether an entity ends there, (N,) bool.

        This is the vectorized form of ``entities``.
        """
        border = len(self.type_of_tag)
        previous = tags.roll(1).masked_fill(first_word, border)
        following = tags.roll(-1).masked_fill(last_word, border)
        word = torch.arange(len(tags), device=tags.device)
        is_start = self.opening[previous, tags] | first_word
        return torch.where(is_start, word, 0).cummax(0).values, self.closing[tags, following]

    def compute(self) -> dict[str, Tensor]:
        """Return scalars and a table per entity type.

        Returns:
            ``loss``, ``entity_precision``, ``entity_recall`` and ``entity_f1`` over all entities, ``entity_macro_f1``
            over the types that occur or were predicted, and ``token_accuracy``, the share of words with the right tag:
            (), float32. Scores without entities are 0, as in seqeval.
            ``per_class``: (C, 4), precision, recall, F1 and support of each of ``types``.
        """
        correct, predicted, gold = self.counts.cpu()
        words = self.words.cpu()
        per_class = scores_per_class(correct, predicted, gold)
        values = {
            "loss": self.mean_loss(),
            "entity_precision": ratio(correct.sum(), predicted.sum()),
            "entity_recall": ratio(correct.sum(), gold.sum()),
            "entity_f1": ratio(2 * correct.sum(), (predicted + gold).sum()),
            # Types that neither occur nor were predicted have F1 0, so only the divisor must exclude them.
            "entity_macro_f1": ratio(per_class[:, 2].sum(), (predicted + gold > 0).sum()),
            "token_accuracy": words[0].double() / words[1],
            "per_class": per_class,
        }
        return self.to_float32(values)
