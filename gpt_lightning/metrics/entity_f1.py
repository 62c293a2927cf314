"""Precision, recall and F1 of whole entities, by the rules of CoNLL's conlleval and seqeval."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.metrics.classification import ratio, scores_per_class
from gpt_lightning.metrics.loss import MeanLoss

# N words, K tags, C types of entities
OUTSIDE = ("O", "_")  # also what stands before and after a text


def parse_tag(tag: str) -> tuple[str, str]:
    """``(letter, type)`` of a tag: B-PER is ("B", "PER"), I-ART-WORK is ("I", "ART-WORK"), and O is ("O", "_")."""
    before, hyphen, after = tag[1:].partition("-")
    return tag[0], (after if hyphen else before) or "_"


def opens(previous: tuple[str, str], tag: tuple[str, str]) -> bool:
    """Whether an entity begins at a word of ``tag`` after one of ``previous``; a lone I or E opens one too."""
    (previous_letter, previous_type), (letter, kind) = previous, tag
    if letter in "BS" or (letter in "IE" and previous_letter in "OES"):
        # S before E or I, E before E or I: the entity before is over, whatever its type.
        return True
    return letter not in "O." and kind != previous_type


def closes(tag: tuple[str, str], following: tuple[str, str]) -> bool:
    """Whether an entity ends at a word of ``tag`` before one of ``following``."""
    (letter, kind), (following_letter, following_type) = tag, following
    if letter in "ES" or (letter in "BI" and following_letter in "BSO"):
        return True
    return letter not in "O." and kind != following_type


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """``(type, first word, one past the last word)`` of each entity, in order.

    Reads BIO, BIOES and IOB1. Sequences that none of them allows are read as conlleval and seqeval's default mode do:
    an I or E after O, or of another type than the word before, begins an entity.
    """
    found = []
    first = 0
    parsed = [OUTSIDE, *map(parse_tag, tags), OUTSIDE]
    for word in range(len(tags)):
        previous, tag, following = parsed[word : word + 3]
        if opens(previous, tag):
            first = word
        if closes(tag, following):
            found.append((tag[1], first, word + 1))
    return found


class EntityMetrics(MeanLoss):
    """Loss, precision, recall and F1 of entities, and accuracy of words, from counts that are added up over ranks.

    Args:
        tags: what each of the K ids means, such as ``["O", "B-PER", "I-PER"]``.
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
            raise InputError(f"no entity among the tags {list(tags)}; name them like B-PER and I-PER")
        index = {kind: number for number, kind in enumerate(self.types)}
        # The rules, asked once for each pair of tags. Row K of opening and column K of closing: a text's border.
        self._table("opening", [[opens(previous, tag) for tag in parsed] for previous in [*parsed, OUTSIDE]])
        self._table("closing", [[closes(tag, following) for following in [*parsed, OUTSIDE]] for tag in parsed])
        self._table("type_of_tag", [index.get(kind, 0) for _, kind in parsed])  # O and . close nothing: any will do
        # Right, predicted and true entities of each type; words that are right, and all words.
        self.add_state("counts", torch.zeros(3, len(self.types), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("words", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def _table(self, name: str, values: list[list[bool]] | list[int]) -> None:
        self.register_buffer(name, torch.tensor(values), persistent=False)

    def update(self, mean_loss: Tensor, weight: Tensor, predicted: Tensor, labels: Tensor, rows: Tensor) -> None:
        """Add a batch of whole texts.

        Args:
            mean_loss: () the mean over the labeled words or tokens.
            weight: () how many, or the sum of their weights.
            predicted: (N,) int64 tag of each word; words that are not labeled are left out.
            labels: (N,) int64 true tag.
            rows: (N,) int64, the same along a text and other in the next one.
        """
        self.add_loss(mean_loss, weight)
        if not len(labels):
            return
        border = torch.ones(1, dtype=torch.bool, device=rows.device)
        turn = rows[1:] != rows[:-1]
        first_word, last_word = torch.cat([border, turn]), torch.cat([turn, border])
        begin, end = self._entities(predicted, first_word, last_word)
        true_begin, true_end = self._entities(labels, first_word, last_word)
        kind, true_kind = self.type_of_tag[predicted], self.type_of_tag[labels]
        # One entity at most ends at a word, so that the word of its end finds its twin.
        right = end & true_end & (begin == true_begin) & (kind == true_kind)
        no_entity = torch.zeros_like(self.counts[0])
        self.counts = self.counts + torch.stack(
            [
                no_entity.index_add(0, kind, right.long()),
                no_entity.index_add(0, kind, end.long()),
                no_entity.index_add(0, true_kind, true_end.long()),
            ]
        )
        all_words = torch.tensor(len(labels), device=labels.device)
        self.words = self.words + torch.stack([(predicted == labels).sum(), all_words])

    def _entities(self, tags: Tensor, first_word: Tensor, last_word: Tensor) -> tuple[Tensor, Tensor]:
        """``entities`` at once: (N,) int64 where the entity of each word began, (N,) bool whether one ends there."""
        border = len(self.type_of_tag)
        previous = tags.roll(1).masked_fill(first_word, border)
        following = tags.roll(-1).masked_fill(last_word, border)
        word = torch.arange(len(tags), device=tags.device)
        begins = self.opening[previous, tags] | first_word
        return torch.where(begins, word, 0).cummax(0).values, self.closing[tags, following]

    def compute(self) -> dict[str, Tensor]:
        """Scalars and ``per_class`` (C, 4).

        ``loss``, ``entity_precision``, ``entity_recall`` and ``entity_f1`` over all entities, ``entity_macro_f1`` over
        the types that occur or were predicted, and ``token_accuracy``, the share of words with the right tag, are ()
        float32; scores of no entities are 0 as in seqeval. ``per_class`` holds precision, recall, F1 and support of
        each of ``types``.
        """
        correct, predicted, gold = self.counts.cpu()
        words = self.words.cpu()
        per_class = scores_per_class(correct, predicted, gold)
        values = {
            "loss": self.mean_loss(),
            "entity_precision": ratio(correct.sum(), predicted.sum()),
            "entity_recall": ratio(correct.sum(), gold.sum()),
            "entity_f1": ratio(2 * correct.sum(), (predicted + gold).sum()),
            # Types that neither occur nor were predicted have F1 0: they only must not be counted.
            "entity_macro_f1": ratio(per_class[:, 2].sum(), (predicted + gold > 0).sum()),
            "token_accuracy": words[0].double() / words[1],
            "per_class": per_class,
        }
        return self.to_float32(values)
