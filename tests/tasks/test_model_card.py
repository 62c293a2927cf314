"""Model cards: notes about the output of Hugging Face's classes."""

import pytest

from gpt_lightning.models import GPTConfig
from gpt_lightning.tasks import SequenceRegression, Task, TokenClassification
from gpt_lightning.tasks.model_card import adapter_card, model_card, transformers_notes
from tests.tokenizers.kinds import KINDS

SHAPE = GPTConfig(vocab_size=99, n_layer=1, n_head=2, n_embd=12)
TAGGER = TokenClassification(backbone=SHAPE, labels=["O", "B-X"], pooling="last", word_rules=["clitics", "urls"])
PRICE = SequenceRegression(backbone=SHAPE, pooling="last", target_mean=1200.5, target_std=0.25)


@pytest.mark.parametrize(
    ("task", "note"),
    [
        (TAGGER, "apart from the rules `clitics`, `urls` of its data format. A word has the tag of its last token."),
        (PRICE, "The prediction is such a number times 0.25 plus 1200.5 (`target_std` and `target_mean` of the head)."),
    ],
)
def test_cards_say_how_to_read_the_output_of_transformers(task: Task, note: str) -> None:
    assert note in model_card(task, {}, transformers_notes(task, KINDS["bpe"](["a b"]), None))
    assert note in adapter_card(task, 0, "base")


def test_the_card_of_a_model_that_transformers_cannot_load_says_only_why() -> None:
    assert transformers_notes(TAGGER, KINDS["bpe"](["a b"]), "no family") == [
        "Hugging Face's classes cannot load this model: no family"
    ]


def test_targets_in_their_own_unit_need_no_note() -> None:
    task = SequenceRegression(backbone=SHAPE, pooling="last")
    assert transformers_notes(task, KINDS["bpe"](["a b"]), None) == []
    assert 'num_labels=1, problem_type="regression"' in adapter_card(task, 0, "base")
