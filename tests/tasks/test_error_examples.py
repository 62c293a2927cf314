"""Hardest examples, and how their texts are marked up."""

from gpt_lightning.tasks.error_examples import HardestExamples, escape, shorten
from gpt_lightning.tasks.token_classification import highlight_errors


def test_most_severe_errors_are_kept_in_order() -> None:
    hardest = HardestExamples(3)
    for severity in (1.0, 5.0, 2.0, 4.0, 3.0):
        hardest.add(severity, lambda severity=severity: f"{severity}")  # type: ignore[misc]
    assert hardest.texts() == ["5.0", "4.0", "3.0"]
    hardest.reset()
    assert hardest.texts() == []


def test_text_is_built_only_for_kept_errors() -> None:
    hardest = HardestExamples(1)
    hardest.add(2.0, lambda: "kept")

    def never() -> str:
        raise AssertionError

    hardest.add(1.0, never)
    hardest.add(2.0, never)
    assert hardest.texts() == ["kept"]


def test_markdown_and_html_are_escaped() -> None:
    assert escape("<b>*x*</b>\n# [y](z)|") == r"&lt;b&gt;\*x\*&lt;/b&gt; \# \[y\]\(z\)\|"


def test_long_text_loses_its_middle() -> None:
    assert shorten("abcdef", 4) == "ab … ef"
    assert shorten("abcd", 4) == "abcd"


def test_missed_and_wrong_entities_are_highlighted() -> None:
    text, words = "Ann met Bob in Rome", [(0, 3), (4, 7), (8, 11), (12, 14), (15, 19)]
    gold = ["B-PER", "O", "B-PER", "O", "B-LOC"]
    predicted = ["B-PER", "O", "O", "B-LOC", "I-LOC"]
    markdown = highlight_errors(text, words, predicted, gold)
    assert markdown == "Ann met *Bob* (missed PER) **in Rome** (wrong LOC) *Rome* (missed LOC)"
    assert highlight_errors(text, words, gold, gold) == text
