"""The methods find a word that decides the label, and they do not find it in a model that has learned nothing."""

import random
from pathlib import Path

import pytest
import torch

from gpt_lightning.api import Model
from gpt_lightning.data import TextClassification
from gpt_lightning.evaluation.explain.explanation import Explanation
from gpt_lightning.models import GPTConfig
from gpt_lightning.tasks import SequenceClassification
from tests.evaluation.explain.models import write_rows

TRIGGER = "zanthor"
WORDS = "the a cat dog sees likes small red green house tree river old new and or with under over near".split()  # noqa: SIM905


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """Return rows of 8 to 16 random words; those labeled ``yes`` have the trigger at a random place."""
    draw, found = random.Random(seed), []
    for number in range(count):
        words = draw.choices(WORDS, k=draw.randint(8, 16))
        if number % 2:
            words.insert(draw.randint(0, len(words)), TRIGGER)
        found.append({"text": " ".join(words), "label": ["no", "yes"][number % 2]})
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TextClassification:
    folder = tmp_path_factory.mktemp("planted")
    file = write_rows(folder / "train.jsonl", rows(400, seed=1))
    module = TextClassification(
        train=str(file), tokenizer="bpe:400", block_size=64, batch_size=32, cache_dir=str(folder), seed=0
    )
    module.setup("fit")
    return module


def make_task(data: TextClassification) -> SequenceClassification:
    torch.manual_seed(0)
    config = GPTConfig(
        n_layer=1, n_head=2, n_embd=32, block_size=64, vocab_size=data.vocab_size, attention="bidirectional"
    )
    return SequenceClassification(backbone=config, labels=data.labels)


def explanations(task: SequenceClassification, data: TextClassification) -> list[Explanation]:
    """Return the explanations of new rows that have the trigger, for the label ``yes``."""
    model = Model(task.eval(), data.tokenizer, Path("model"), TextClassification)
    return model.explain([row for row in rows(40, seed=2) if row["label"] == "yes"], target="yes")


def share_ranked_first(found: list[Explanation]) -> float:
    """Return the share of rows in which the trigger contributes the most."""
    first = 0
    for explanation in found:
        decision = explanation.decisions[0]
        pairs = zip(decision.attributions.words, decision.words, strict=True)
        first += max(pairs, key=lambda pair: pair[0])[1].text == TRIGGER
    return first / len(found)


def test_the_word_that_decides_is_found(data: TextClassification) -> None:
    task = make_task(data)
    untrained = explanations(task, data)
    optimizer = torch.optim.AdamW(task.train().parameters(), lr=3e-3)
    for _, batch in zip(range(100), (batch for _ in range(9) for batch in data.train_dataloader()), strict=False):
        optimizer.zero_grad()
        torch.autograd.backward(task.step(batch, "train"))
        optimizer.step()
    trained = explanations(task, data)
    assert share_ranked_first(trained) >= 0.95
    assert share_ranked_first(untrained) < 0.5
    assert {each.decisions[0].predicted for each in trained} == {"yes"}
    for explanation in trained:
        erasure = explanation.decisions[0].erasure
        assert erasure is not None
        assert [removal.text for removal in erasure.removals] == [TRIGGER]
        assert erasure.is_changed
        assert explanation.decisions[0].attributions.is_complete
