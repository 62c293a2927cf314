"""Entities against seqeval, on sequences that a scheme allows and on any others."""

import math
import random
import time
import warnings
from collections.abc import Sequence

import pytest
import torch
from seqeval.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    classification_report,
    f1_score,
    precision_score,
    recall_score,
)
from seqeval.metrics.sequence_labeling import get_entities  # type: ignore[import-untyped]
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.metrics import EntityMetrics
from gpt_lightning.metrics.entity_f1 import entities

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ART-WORK", "I-ART-WORK"]
BIOES = ["O", *(f"{letter}-{kind}" for kind in ("PER", "LOC") for letter in "BIES")]
ANY = ["O", "B", "I", "E", "S", "B-", "I-A", "E-A", "S-A", "B-A", "I-B", "NOUN", "VERB", "X", ".", ".-A", "O-A", "IA"]

Text = list[str]
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def any_texts(tags: Sequence[str], number: int, seed: int) -> tuple[list[Text], list[Text]]:
    """(true, predicted) tags of words in any order; two thirds of the predictions are the truth."""
    rng = random.Random(seed)
    gold = [[rng.choice(tags) for _ in range(rng.randint(1, 12))] for _ in range(number)]
    guess = [[tag if rng.random() < 0.67 else rng.choice(tags) for tag in text] for text in gold]
    return gold, guess


def valid_texts(number: int, seed: int, bioes: bool) -> list[Text]:
    """Tags that the scheme allows."""
    rng = random.Random(seed)
    texts = []
    for _ in range(number):
        text: Text = []
        for _ in range(rng.randint(1, 5)):
            kind, length = rng.choice(("PER", "LOC")), rng.randint(1, 4)
            if rng.random() < 0.4:
                text += ["O"] * length
            elif not bioes:
                text += [f"B-{kind}", *[f"I-{kind}"] * (length - 1)]
            elif length == 1:
                text.append(f"S-{kind}")
            else:
                text += [f"B-{kind}", *[f"I-{kind}"] * (length - 2), f"E-{kind}"]
        texts.append(text)
    return texts


def batch_of(tags: Sequence[str], gold: list[Text], guess: list[Text]) -> Batch:
    """The words of texts, one after another; the mean loss of a word is the number of words of its text."""
    ids = {tag: number for number, tag in enumerate(tags)}
    labels = torch.tensor([ids[tag] for text in gold for tag in text], dtype=torch.int64)
    predicted = torch.tensor([ids[tag] for text in guess for tag in text], dtype=torch.int64)
    # Texts 7, 8, 9, 7, 8, ...: a number may come again, only not at once.
    rows = torch.tensor([7 + number % 3 for number, text in enumerate(gold) for _ in text], dtype=torch.int64)
    loss = torch.tensor(sum(len(text) ** 2 for text in gold) / max(len(labels), 1))
    return loss, torch.tensor(len(labels)), predicted, labels, rows


def fed(tags: Sequence[str], gold: list[Text], guess: list[Text], size: int) -> EntityMetrics:
    metric = EntityMetrics(tags)
    for start in range(0, len(gold), size):
        metric.update(*batch_of(tags, gold[start : start + size], guess[start : start + size]))
    return metric


def by_seqeval(gold: list[Text], guess: list[Text]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags that belong to no scheme, and of divisions by 0
        return {
            "loss": sum(len(text) ** 2 for text in gold) / sum(len(text) for text in gold),
            "entity_precision": precision_score(gold, guess),
            "entity_recall": recall_score(gold, guess),
            "entity_f1": f1_score(gold, guess),
            "entity_macro_f1": f1_score(gold, guess, average="macro"),
            "token_accuracy": accuracy_score(gold, guess),
        }


def numbers(metric: EntityMetrics) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items() if value.ndim == 0}


def seqeval_entities(text: Text) -> list[tuple[str, int, int]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [(kind, first, last + 1) for kind, first, last in get_entities(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("I-PER I-PER O", [("PER", 0, 2)]),
        ("I-PER I-LOC", [("PER", 0, 1), ("LOC", 1, 2)]),
        ("B-PER I-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 3)]),
        ("I-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
        ("B-PER I-PER E-PER S-LOC", [("PER", 0, 3), ("LOC", 3, 4)]),
        ("S-LOC I-LOC E-LOC E-LOC", [("LOC", 0, 1), ("LOC", 1, 3), ("LOC", 3, 4)]),
        ("B-ART-WORK I-ART-WORK", [("ART-WORK", 0, 2)]),
    ],
)
def test_entities_by_hand(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert entities(text.split()) == expected
    if text:
        assert seqeval_entities(text.split()) == expected


@pytest.mark.parametrize("tags", [BIO, BIOES, ANY])
def test_entities_equal_seqeval_on_any_sequence(tags: list[str]) -> None:
    texts, _ = any_texts(tags, 3000, 0)
    for text in texts:
        assert entities(text) == seqeval_entities(text), text
    texts = valid_texts(500, 1, bioes=tags is BIOES)
    for text in texts:
        assert entities(text) == seqeval_entities(text), text


@pytest.mark.parametrize("tags", [BIO, BIOES])
@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_seqeval(tags: list[str], seed: int) -> None:
    gold, guess = any_texts(tags, 400, seed)
    metric = fed(tags, gold, guess, 16)
    assert numbers(metric) == pytest.approx(by_seqeval(gold, guess), rel=1e-6)

    report = classification_report(gold, guess, output_dict=True, zero_division=0)
    per_class = metric.compute()["per_class"]
    assert len(per_class) == len(metric.types) > 1
    for kind, row in zip(metric.types, per_class.tolist(), strict=True):
        assert row == pytest.approx([report[kind][name] for name in ("precision", "recall", "f1-score", "support")])


@pytest.mark.parametrize("bioes", [False, True])
def test_scores_of_valid_texts_equal_seqeval(bioes: bool) -> None:
    # Of a type that neither occurs nor is predicted, macro F1 knows nothing.
    used = BIOES if bioes else BIO[:5]
    tags = [*used, "B-NEVER", "I-NEVER"]
    gold = valid_texts(300, 0, bioes)
    rng = random.Random(1)
    guess = [[tag if rng.random() < 0.9 else rng.choice(used) for tag in text] for text in gold]
    assert numbers(fed(tags, gold, guess, 11)) == pytest.approx(by_seqeval(gold, guess), rel=1e-6)
    assert numbers(fed(tags, gold, gold, 11))["entity_f1"] == 1.0


@pytest.mark.parametrize("tags", [BIO, BIOES, ANY])
def test_counts_equal_those_of_entities(tags: list[str]) -> None:
    gold, guess = any_texts(tags, 2000, 5)
    metric = fed(tags, gold, guess, 50)
    true = {(number, *found) for number, text in enumerate(gold) for found in entities(text)}
    predicted = {(number, *found) for number, text in enumerate(guess) for found in entities(text)}
    expected = [
        [sum(entity[1] == kind for entity in found) for kind in metric.types]
        for found in (true & predicted, predicted, true)
    ]
    assert metric.counts.tolist() == expected
    assert {entity[1] for entity in true | predicted} == set(metric.types)


def test_an_entity_does_not_cross_texts() -> None:
    metric = EntityMetrics(BIO)
    labels, rows = torch.tensor([1, 2, 2, 2]), torch.tensor([0, 0, 1, 1])
    metric.update(torch.tensor(1.0), torch.tensor(4), labels, labels, rows)
    assert metric.types == ["ART-WORK", "LOC", "PER"]
    assert metric.counts.tolist() == [[0, 0, 2]] * 3
    metric.update(torch.tensor(1.0), torch.tensor(4), torch.tensor([1, 2, 0, 2]), labels, rows)
    assert metric.counts.tolist() == [[0, 0, 3], [0, 0, 4], [0, 0, 4]]


def test_ranks_order_and_borders_of_batches_do_not_matter() -> None:
    gold, guess = any_texts(BIO, 300, 3)
    whole = fed(BIO, gold, guess, 300)
    ranks = [fed(BIO, gold[part], guess[part], 7) for part in (slice(0, 5), slice(5, 200), slice(200, 300))]
    for rank in ranks[1:]:
        ranks[0].merge_state(rank)
    for other in (ranks[0], fed(BIO, gold[::-1], guess[::-1], 20), fed(BIO, gold, guess, 1)):
        assert numbers(other) == pytest.approx(numbers(whole), rel=1e-6)
        assert other.counts.tolist() == whole.counts.tolist()
        assert other.words.tolist() == whole.words.tolist()


def test_memory_does_not_grow() -> None:
    def size(metric: EntityMetrics) -> int:
        return sum(getattr(metric, name).numel() for name in metric._defaults)

    gold, guess = any_texts(BIO, 200, 4)
    assert size(fed(BIO, gold, guess, 10)) == size(EntityMetrics(BIO))


def test_of_no_words_and_no_entities() -> None:
    metric = EntityMetrics(BIO)
    empty = torch.zeros(0, dtype=torch.int64)
    metric.update(torch.tensor(math.nan), torch.tensor(0), empty, empty, empty)
    values = numbers(metric)
    assert math.isnan(values["loss"])
    assert math.isnan(values["token_accuracy"])
    assert values["entity_f1"] == values["entity_macro_f1"] == 0.0
    outside = torch.zeros(3, dtype=torch.int64)
    metric.update(torch.tensor(2.0), torch.tensor(3), outside, outside, outside)
    zeros = dict.fromkeys(("entity_precision", "entity_recall", "entity_f1", "entity_macro_f1"), 0)
    assert numbers(metric) == {"loss": 2.0, **zeros, "token_accuracy": 1}


def test_tags_without_entities_are_refused() -> None:
    with pytest.raises(InputError, match=r"no entity among the tags \['O'\]; name them like B-PER"):
        EntityMetrics(["O"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_survives_low_precision_modules_and_reset(dtype: torch.dtype) -> None:
    gold, guess = any_texts(BIO, 300, 6)
    metric = fed(BIO, gold[:100], guess[:100], 20)
    nn.ModuleDict({"metric": metric}).to(dtype)
    metric.update(*batch_of(BIO, gold[100:], guess[100:]))
    assert numbers(metric) == pytest.approx(by_seqeval(gold, guess), rel=1e-6)
    metric.reset()
    metric.update(*batch_of(BIO, gold, guess))
    assert numbers(metric) == pytest.approx(by_seqeval(gold, guess), rel=1e-6)


def test_many_words_are_quick() -> None:
    words = 100_000
    generator = torch.Generator().manual_seed(0)
    labels, predicted = torch.randint(0, len(BIO), (2, words), generator=generator)
    rows = torch.arange(words) // 30
    metric = EntityMetrics(BIO)
    start = time.process_time()
    metric.update(torch.tensor(1.0), torch.tensor(words), predicted, labels, rows)
    assert time.process_time() - start < 0.5
