"""Entity metrics, compared with seqeval on valid and invalid tag sequences."""

import math
import random
import time
import warnings
from collections.abc import Sequence
from types import SimpleNamespace

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
from transformers import TokenClassificationPipeline

from gpt_lightning.errors import InputError
from gpt_lightning.metrics import EntityMetrics
from gpt_lightning.metrics.entity_f1 import entities

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ART-WORK", "I-ART-WORK"]
BIOES = ["O", *(f"{letter}-{kind}" for kind in ("PER", "LOC") for letter in "BIES")]
ARBITRARY = [
    "O",
    "B",
    "I",
    "E",
    "S",
    "B-",
    "I-A",
    "E-A",
    "S-A",
    "B-A",
    "I-B",
    "O-A",
]

Text = list[str]
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def random_texts(tags: Sequence[str], number: int, seed: int) -> tuple[list[Text], list[Text]]:
    """Return true and predicted tags, drawn at random; two thirds of the predictions are correct."""
    rng = random.Random(seed)
    gold = [[rng.choice(tags) for _ in range(rng.randint(1, 12))] for _ in range(number)]
    predicted = [[tag if rng.random() < 0.67 else rng.choice(tags) for tag in text] for text in gold]
    return gold, predicted


def valid_texts(number: int, seed: int, bioes: bool) -> list[Text]:
    """Return random tags that are valid in BIO or BIOES."""
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


def batch_of(tags: Sequence[str], gold: list[Text], predicted: list[Text]) -> Batch:
    """Return the words of texts as one batch; the loss of each word is the number of words of its text."""
    ids = {tag: number for number, tag in enumerate(tags)}
    labels = torch.tensor([ids[tag] for text in gold for tag in text], dtype=torch.int64)
    predicted_ids = torch.tensor([ids[tag] for text in predicted for tag in text], dtype=torch.int64)
    # Texts 7, 8, 9, 7, 8, ...: only adjacent texts need different indices.
    rows = torch.tensor([7 + number % 3 for number, text in enumerate(gold) for _ in text], dtype=torch.int64)
    loss = torch.tensor(sum(len(text) ** 2 for text in gold) / max(len(labels), 1))
    return loss, torch.tensor(len(labels)), predicted_ids, labels, rows


def build(tags: Sequence[str], gold: list[Text], predicted: list[Text], size: int) -> EntityMetrics:
    metric = EntityMetrics(tags)
    for start in range(0, len(gold), size):
        metric.update(*batch_of(tags, gold[start : start + size], predicted[start : start + size]))
    return metric


def by_seqeval(gold: list[Text], predicted: list[Text]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tags outside of any scheme, and divisions by 0
        return {
            "loss": sum(len(text) ** 2 for text in gold) / sum(len(text) for text in gold),
            "entity_precision": precision_score(gold, predicted),
            "entity_recall": recall_score(gold, predicted),
            "entity_f1": f1_score(gold, predicted),
            "entity_macro_f1": f1_score(gold, predicted, average="macro"),
            "token_accuracy": accuracy_score(gold, predicted),
        }


def scalars(metric: EntityMetrics) -> dict[str, float]:
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


@pytest.mark.parametrize("tags", [BIO, BIOES, ARBITRARY])
def test_entities_match_seqeval_on_any_sequence(tags: list[str]) -> None:
    texts, _ = random_texts(tags, 3000, 0)
    for text in texts:
        assert entities(text) == seqeval_entities(text), text
    texts = valid_texts(500, 1, bioes=tags is BIOES)
    for text in texts:
        assert entities(text) == seqeval_entities(text), text


@pytest.mark.parametrize("tags", [BIO, BIOES])
@pytest.mark.parametrize("seed", range(3))
def test_scores_match_seqeval(tags: list[str], seed: int) -> None:
    gold, predicted = random_texts(tags, 400, seed)
    metric = build(tags, gold, predicted, 16)
    assert scalars(metric) == pytest.approx(by_seqeval(gold, predicted), rel=1e-6)

    report = classification_report(gold, predicted, output_dict=True, zero_division=0)
    per_class = metric.compute()["per_class"]
    assert len(per_class) == len(metric.types) > 1
    for kind, row in zip(metric.types, per_class.tolist(), strict=True):
        assert row == pytest.approx([report[kind][name] for name in ("precision", "recall", "f1-score", "support")])


@pytest.mark.parametrize("bioes", [False, True])
def test_scores_of_valid_texts_match_seqeval(bioes: bool) -> None:
    # Macro F1 ignores types that neither occur nor are predicted.
    tags_in_use = BIOES if bioes else BIO[:5]
    tags = [*tags_in_use, "B-NEVER", "I-NEVER"]
    gold = valid_texts(300, 0, bioes)
    rng = random.Random(1)
    predicted = [[tag if rng.random() < 0.9 else rng.choice(tags_in_use) for tag in text] for text in gold]
    assert scalars(build(tags, gold, predicted, 11)) == pytest.approx(by_seqeval(gold, predicted), rel=1e-6)
    assert scalars(build(tags, gold, gold, 11))["entity_f1"] == 1.0


@pytest.mark.parametrize("tags", [BIO, BIOES, ARBITRARY])
def test_counts_match_entities(tags: list[str]) -> None:
    gold, predicted = random_texts(tags, 2000, 5)
    metric = build(tags, gold, predicted, 50)
    true_entities = {(number, *found) for number, text in enumerate(gold) for found in entities(text)}
    predicted_entities = {(number, *found) for number, text in enumerate(predicted) for found in entities(text)}
    expected = [
        [sum(entity[1] == kind for entity in found) for kind in metric.types]
        for found in (true_entities & predicted_entities, predicted_entities, true_entities)
    ]
    assert metric.counts.tolist() == expected
    assert {entity[1] for entity in true_entities | predicted_entities} == set(metric.types)


def test_entities_end_with_their_text() -> None:
    metric = EntityMetrics(BIO)
    labels, rows = torch.tensor([1, 2, 2, 2]), torch.tensor([0, 0, 1, 1])
    metric.update(torch.tensor(1.0), torch.tensor(4), labels, labels, rows)
    assert metric.types == ["ART-WORK", "LOC", "PER"]
    assert metric.counts.tolist() == [[0, 0, 2]] * 3
    metric.update(torch.tensor(1.0), torch.tensor(4), torch.tensor([1, 2, 0, 2]), labels, rows)
    assert metric.counts.tolist() == [[0, 0, 3], [0, 0, 4], [0, 0, 4]]


def test_result_does_not_depend_on_ranks_order_or_batch_size() -> None:
    gold, predicted = random_texts(BIO, 300, 3)
    single_process = build(BIO, gold, predicted, 300)
    ranks = [build(BIO, gold[part], predicted[part], 7) for part in (slice(0, 5), slice(5, 200), slice(200, 300))]
    for rank in ranks[1:]:
        ranks[0].merge_state(rank)
    for other in (ranks[0], build(BIO, gold[::-1], predicted[::-1], 20), build(BIO, gold, predicted, 1)):
        assert scalars(other) == pytest.approx(scalars(single_process), rel=1e-6)
        assert other.counts.tolist() == single_process.counts.tolist()
        assert other.words.tolist() == single_process.words.tolist()


def test_memory_does_not_grow() -> None:
    def size(metric: EntityMetrics) -> int:
        return sum(getattr(metric, name).numel() for name in metric._defaults)

    gold, predicted = random_texts(BIO, 200, 4)
    assert size(build(BIO, gold, predicted, 10)) == size(EntityMetrics(BIO))


def test_scores_without_words_or_entities() -> None:
    metric = EntityMetrics(BIO)
    empty = torch.zeros(0, dtype=torch.int64)
    metric.update(torch.tensor(math.nan), torch.tensor(0), empty, empty, empty)
    values = scalars(metric)
    assert math.isnan(values["loss"])
    assert math.isnan(values["token_accuracy"])
    assert values["entity_f1"] == values["entity_macro_f1"] == 0.0
    outside = torch.zeros(3, dtype=torch.int64)
    metric.update(torch.tensor(2.0), torch.tensor(3), outside, outside, outside)
    zeros = dict.fromkeys(("entity_precision", "entity_recall", "entity_f1", "entity_macro_f1"), 0)
    assert scalars(metric) == {"loss": 2.0, **zeros, "token_accuracy": 1}


def test_tags_without_entities_are_refused() -> None:
    with pytest.raises(InputError, match=r"the tags \['O'\] contain no entity type\. Name tags like B-PER"):
        EntityMetrics(["O"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_modules_and_reset_keep_float32_sums(dtype: torch.dtype) -> None:
    gold, predicted = random_texts(BIO, 300, 6)
    metric = build(BIO, gold[:100], predicted[:100], 20)
    nn.ModuleDict({"metric": metric}).to(dtype)
    metric.update(*batch_of(BIO, gold[100:], predicted[100:]))
    assert scalars(metric) == pytest.approx(by_seqeval(gold, predicted), rel=1e-6)
    metric.reset()
    metric.update(*batch_of(BIO, gold, predicted))
    assert scalars(metric) == pytest.approx(by_seqeval(gold, predicted), rel=1e-6)


def test_update_with_many_words_takes_less_than_half_a_second() -> None:
    words = 100_000
    generator = torch.Generator().manual_seed(0)
    labels, predicted = torch.randint(0, len(BIO), (2, words), generator=generator)
    rows = torch.arange(words) // 30
    metric = EntityMetrics(BIO)
    start = time.process_time()
    metric.update(torch.tensor(1.0), torch.tensor(words), predicted, labels, rows)
    assert time.process_time() - start < 0.5


def test_entities_are_the_groups_of_transformers() -> None:
    """The pipeline for token classification of transformers groups BIO tags, also invalid sequences."""
    pipeline = TokenClassificationPipeline.__new__(TokenClassificationPipeline)
    pipeline.tokenizer = SimpleNamespace(convert_tokens_to_string=" ".join)
    generator = random.Random(0)
    for _ in range(300):
        tags = generator.choices(["O", "B-A", "I-A", "B-B", "I-B", "ORG", "EVENT"], k=generator.randint(1, 9))
        words = [
            {"entity": tag, "score": 1.0, "index": number, "word": "x", "start": number, "end": number + 1}
            for number, tag in enumerate(tags)
        ]
        groups = [(each["entity_group"], each["start"], each["end"]) for each in pipeline.group_entities(words)]
        assert entities(tags) == [group for group in groups if group[0] != "O"]


def test_bilou_is_read_as_bioes_and_other_names_are_not() -> None:
    bioes = ["B-A", "I-A", "E-A", "S-A", "S-A", "O", "B-A", "E-A"]
    bilou = [tag.replace("E-", "L-").replace("S-", "U-") for tag in bioes]
    assert entities(bilou) == entities(bioes)
    assert entities(["LOC", "LOC", "O", "E-mail"]) == [("LOC", 0, 2), ("mail", 3, 4)]
