"""The worst errors."""

from gpt_lightning.tasks.error_examples import HardestExamples, escape, shorten
from gpt_lightning.tasks.token_classification import marked


def test_the_worst_are_kept_worst_first() -> None:
    worst = HardestExamples(3)
    for badness in (1.0, 5.0, 2.0, 4.0, 3.0):
        worst.add(badness, lambda badness=badness: f"{badness}")  # type: ignore[misc]
    assert worst.texts() == ["5.0", "4.0", "3.0"]
    worst.reset()
    assert worst.texts() == []


def test_texts_are_made_only_if_they_are_kept() -> None:
    worst = HardestExamples(1)
    worst.add(2.0, lambda: "kept")

    def never() -> str:
        raise AssertionError

    worst.add(1.0, never)
    worst.add(2.0, never)
    assert worst.texts() == ["kept"]


def test_hostile_text_stays_text() -> None:
    assert escape("<b>*x*</b>\n# [y](z)|") == r"&lt;b&gt;\*x\*&lt;/b&gt; \# \[y\]\(z\)\|"


def test_long_text_loses_its_middle() -> None:
    assert shorten("abcdef", 4) == "ab … ef"
    assert shorten("abcd", 4) == "abcd"


def test_missed_and_wrong_entities_are_marked() -> None:
    text, words = "Ann met Bob in Rome", [(0, 3), (4, 7), (8, 11), (12, 14), (15, 19)]
    gold = ["B-PER", "O", "B-PER", "O", "B-LOC"]
    predicted = ["B-PER", "O", "O", "B-LOC", "I-LOC"]
    shown = marked(text, words, predicted, gold)
    assert shown == "Ann met *Bob* (missed PER) **in Rome** (wrong LOC) *Rome* (missed LOC)"
    assert marked(text, words, gold, gold) == text
