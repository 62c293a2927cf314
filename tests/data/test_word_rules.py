"""Word rules: what they keep together, that they cover the text, and their choice by training words."""

import random
from pathlib import Path
from typing import Any

import pytest
from nltk.tokenize import NLTKWordTokenizer  # type: ignore[import-untyped]

from gpt_lightning.data.word_joining import join_words, locate_words, raw_texts
from gpt_lightning.data.word_rules import WORD_RULES, GivenWords, WordRule, choose_rules, split_by_rules
from gpt_lightning.data.word_split import split_words
from tests.data.drive import HARD_TEXTS, batches, write_rows
from tests.data.test_sequence_tagging import module

TEXT = "Dr. Lee's e-mail (a.b@x.org) didn't cost $3.14 in N'Djamena -- see https://x.org/a?b=c, @Bo_1 #tag... AT&T!"
EXPECTED: dict[WordRule, list[str]] = {
    "apostrophes": ["Lee's", "didn't", "N'Djamena"],
    "clitics": ["Lee", "'s", "did", "n't"],
    "hyphens": ["e-mail"],
    "periods": ["a.b", "x.org", "3.14", "x.org"],
    "symbols": ["b@x", "org/a?b=c", "Bo_1", "AT&T"],
    "abbreviations": ["Dr."],
    "mentions": ["@Bo_1", "#tag"],
    "urls": ["https://x.org/a?b=c"],
    "runs": ["--", "..."],
    "whitespace": ["(a.b@x.org)", "https://x.org/a?b=c,", "#tag..."],
}


def words(text: str, *rules: WordRule) -> list[str]:
    return [text[start:stop] for start, stop in split_by_rules(text, rules)]


def test_every_rule_keeps_its_words_together() -> None:
    assert set(EXPECTED) == set(WORD_RULES)
    assert words(TEXT) == [TEXT[start:stop] for start, stop in split_words(TEXT)]
    for rule, expected in EXPECTED.items():
        found = words(TEXT, rule)
        assert [word for word in found if word in expected] == expected, rule
        assert set(expected) - set(words(TEXT)), rule
    assert words(TEXT, "whitespace") == TEXT.split()


@pytest.mark.parametrize(
    "text", ["", " ", "don't", "'s", "n't", "x's.", "...", "東京'は", "a-", "-a", "e\u0301-a", "@", "http://"]
)
def test_words_cover_all_but_whitespace(text: str) -> None:
    check(text, list(WORD_RULES[:-1]))
    check(text, list(WORD_RULES))


def check(text: str, rules: list[WordRule]) -> None:
    spans = split_by_rules(text, rules)
    assert [edge for span in spans for edge in span] == sorted(edge for span in spans for edge in span)
    covered = [place for start, stop in spans for place in range(start, stop)]
    assert covered == [place for place, character in enumerate(text) if not character.isspace()]
    if "clitics" not in rules:
        assert {edge for span in spans for edge in span} <= {edge for word in split_words(text) for edge in word}


def test_random_rules_cover_random_texts() -> None:
    generator = random.Random(0)
    pieces = [*TEXT.split(), *HARD_TEXTS, *"'’-.,:/@#&_! \n", "n't", "'s", "http://", "www.", "U.S.", "e\u0301", "東"]
    for _ in range(500):
        text = "".join(generator.choices(pieces, k=generator.randrange(8)))
        check(text, generator.sample(WORD_RULES, k=generator.randrange(len(WORD_RULES) + 1)))


SENTENCES = [
    "Anna's friend doesn't live in N'Djamena, but in Port-au-Prince.",
    "They've paid $3.5 million (about 12,000 each) to A.B. Corp. in the U.S. -- didn't they?",
    "It's well-known: he'd met Dr. Smith & Co. at 12:30.",
    "The price rose 3.14 % to 5,000... and I'm sorry!",
]


def test_rules_reproduce_the_words_of_the_penn_treebank() -> None:
    """The reference is nltk's tokenizer, which splits the last period of a text also after abbreviations."""
    texts = [GivenWords(text, list(NLTKWordTokenizer().span_tokenize(text))) for text in SENTENCES if '"' not in text]
    chosen = choose_rules(texts)
    assert {"clitics", "apostrophes", "hyphens", "periods", "runs"} <= set(chosen.rules)
    assert len(chosen.missed) <= 0.05 * chosen.num_words
    assert len(choose_missed(texts, [])) > 0.25 * chosen.num_words


def choose_missed(texts: list[GivenWords], rules: list[WordRule]) -> list[tuple[int, int]]:
    return [word for text, given in texts for word in given if word not in split_by_rules(text, rules)]


@pytest.mark.parametrize("rules", [[], ["apostrophes", "hyphens", "periods"], ["clitics", "runs"], ["whitespace"]])
def test_rules_are_recovered_from_their_words(rules: list[WordRule]) -> None:
    texts = [GivenWords(text, split_by_rules(text, rules)) for text in [*SENTENCES, TEXT]]
    chosen = choose_rules(texts)
    assert chosen.missed == []
    assert set(chosen.rules) >= set(rules)
    assert chosen.warning() is None


def test_words_are_joined_as_they_are_written() -> None:
    for text in SENTENCES:
        given = [text[start:stop] for start, stop in NLTKWordTokenizer().span_tokenize(text)]
        if " & " not in text and "--" not in text:
            (joined,) = raw_texts([given], [None])
            assert joined.text == text.replace(" %", "%")
            assert [joined.text[start:stop] for start, stop in joined.words] == given


@pytest.mark.parametrize(
    ("given", "inner", "expected"),
    [
        (["a", '"', "b", "c", '"', "d", "."], "", 'a "b c" d.'),
        (["well", "-", "known", "3", ".", "14"], "", "well-known 3.14"),
        (["well", "-", "known"], "-", "well - known"),
        (["東", "京", "。", "大", "阪"], "", "東京。大阪"),
        (["(", "x", ")", ",", "$", "5"], "", "(x), $5"),
    ],
)
def test_joining(given: list[str], inner: str, expected: str) -> None:
    joined = join_words(given, set(inner))
    assert joined.text == expected
    assert [joined.text[start:stop] for start, stop in joined.words] == given


def test_given_words_are_located_in_their_text() -> None:
    assert locate_words(" a,\tb ", ["a", ",", "b"]) == [(1, 2), (2, 3), (4, 5)]
    assert locate_words("a b", ["a"]) is None
    assert locate_words("a b", ["b", "a"]) is None


# --- in the data module

ROWS: list[dict[str, Any]] = [
    {"tokens": ["Anna", "is", "n't", "in", "N'Djamena", "."], "tags": ["B-PER", "O", "O", "O", "B-LOC", "O"]},
    {"tokens": ["Port-au-Prince", ",", "Bo", "'s", "home"], "tags": ["B-LOC", "O", "B-PER", "O", "O"]},
]
RULES = ["clitics", "apostrophes", "hyphens"]


def predicted_words(data: Any) -> list[list[str]]:
    return [
        [text[start:stop] for start, stop in spans]
        for batch in batches(data, "predict")
        for text, spans in zip(batch["texts"], batch["words"], strict=True)
    ]


def test_raw_text_is_split_as_the_training_words(tmp_path: Path) -> None:
    raw = write_rows(tmp_path / "raw.jsonl", [{"text": "Bo isn't in N'Djamena."}])
    train = write_rows(tmp_path / "train.jsonl", ROWS)
    data = module(tmp_path, train=train, test=raw)
    assert data.word_rules == RULES
    assert predicted_words(data) == [["Bo", "is", "n't", "in", "N'Djamena", "."]]
    loaded = module(tmp_path, test=raw, labels=["O", "B-PER", "I-PER"], word_rules=RULES)
    assert predicted_words(loaded) == predicted_words(data)
    former = module(tmp_path, train=train, test=raw, labels=["O", "B-PER", "I-PER"], word_rules=[])
    assert predicted_words(former) == [["Bo", "isn", "'", "t", "in", "N", "'", "Djamena", "."]]


def test_the_text_of_a_row_with_words_is_its_raw_text(tmp_path: Path) -> None:
    rows = [{"tokens": ["rock", "-n-", "roll", "x"], "tags": ["O"] * 4, "text": "rock -n- roll x"}]
    data = module(tmp_path, train=write_rows(tmp_path / "a.jsonl", rows))
    assert data.word_rules == ["whitespace"]


def test_texts_and_spans_are_split_without_rules(tmp_path: Path) -> None:
    rows = [{"text": "N'Djamena", "spans": [{"start": 2, "end": 9, "label": "X"}]}]
    data = module(tmp_path, train=write_rows(tmp_path / "a.jsonl", rows), spans_column="spans")
    assert data.word_rules == []
    assert [batch["scored"].sum().item() for batch in batches(data, "fit")] == [3]
    rows = [{"text": "N'Djamena", "tags": ["O", "O", "B-X"]}]
    assert module(tmp_path, train=write_rows(tmp_path / "b.jsonl", rows)).word_rules == []


def test_words_that_no_rule_finds_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*ROWS, {"tokens": ["New York", "-LRB-", "x", "-RRB-"], "tags": ["O"] * 4}]
    data = module(tmp_path, train=write_rows(tmp_path / "a.jsonl", rows))
    batches(data, "fit")
    out = capsys.readouterr().out
    assert out.startswith(
        "train: 3 of 15 words in a sample, such as 'New York', '-LRB-', '-RRB-', are not found if raw "
    )
    assert f"split by the rules {', '.join(RULES)}. To predict such words, give lists of words" in out
    quiet = module(tmp_path, train=write_rows(tmp_path / "b.jsonl", ROWS))
    batches(quiet, "fit")
    assert capsys.readouterr().out == ""
