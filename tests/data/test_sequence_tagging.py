"""Token classification data: row shapes, invalid rows, alignment of words and windows, batches, prediction."""

import itertools
import random
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data.sequence_tagging import SequenceTagging
from gpt_lightning.data.tags import Scheme
from gpt_lightning.data.word_split import split_words
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import train_bpe
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from tests.data.drive import HARD_TEXTS, TOKENIZERS, attach, batches, save_tokenizer, tags_to_spans, write_rows

TAGS = [
    (["Anna", "lives", "in", "New", "York"], ["B-PER", "O", "O", "B-LOC", "I-LOC"]),
    (["Bob", "Stone", "sings"], ["B-PER", "I-PER", "O"]),
    (["Rome"], ["B-LOC"]),
    (["no", "name", "here"], ["O", "O", "O"]),
]
BIOES = [
    ["S-PER", "O", "O", "B-LOC", "E-LOC"],
    ["B-PER", "E-PER", "O"],
    ["S-LOC"],
    ["O", "O", "O"],
]
NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
IN_ORDER = {"BIO": [tags for _, tags in TAGS], "BIOES": BIOES}


def module(folder: Path, **arguments: Any) -> SequenceTagging:
    defaults: dict[str, Any] = {
        "tokenizer": "bytes",
        "block_size": 64,
        "stride": 4,
        "batch_size": 2,
        "seed": 0,
        "cache_dir": str(folder / "cache"),
    }
    return SequenceTagging(**(defaults | arguments))


def write_tags(path: Path) -> str:
    return write_rows(path, [{"tokens": words, "tags": tags} for words, tags in TAGS])


def numbers_of(read: list[Any]) -> dict[str, list[int]]:
    """Return the numbers of the tags of each text by its id."""
    found: dict[str, list[int]] = {}
    for batch in read:
        assert batch["examples"].tolist() == sorted(batch["examples"].tolist())
        for place, labels, scored in zip(batch["examples"], batch["labels"], batch["scored"], strict=True):
            assert (labels[~scored] == IGNORE_INDEX).all()
            found.setdefault(batch["ids"][place], []).extend(labels[scored].tolist())
    return found


def tags_of(data: SequenceTagging, read: list[Any]) -> dict[str, list[str]]:
    """Return the tags of each text by its id."""
    return {text: [data.labels[number] for number in numbers] for text, numbers in numbers_of(read).items()}


def in_order(tags: list[list[str]]) -> dict[str, list[str]]:
    return {str(number): each for number, each in enumerate(tags)}


# --- Row shapes


def conll(path: Path, tags: list[list[str]], columns: str = "{word}\t{tag}") -> str:
    sentences = (
        "".join(columns.format(word=word, tag=tag) + "\n" for word, tag in zip(words, each, strict=True))
        for (words, _), each in zip(TAGS, tags, strict=True)
    )
    path.write_text("-DOCSTART- -X- O\n\n" + "\n".join(sentences))
    return str(path)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@pytest.mark.parametrize("given", ["BIO", "BIOES"])
@pytest.mark.parametrize("shape", ["conll", "columns", "jsonl"])
def test_tags_convert_between_schemes(tmp_path: Path, shape: str, given: str, scheme: str) -> None:
    tags = IN_ORDER[given]
    if shape == "jsonl":
        rows = [{"tokens": words, "tags": each} for (words, _), each in zip(TAGS, tags, strict=True)]
        path = write_rows(tmp_path / "a.jsonl", rows)
    else:
        path = conll(tmp_path / "a.conll", tags, "{word}\t{tag}" if shape == "conll" else "{word} NN x {tag}")
    data = module(tmp_path, train=path, test=path, scheme=scheme)
    read = batches(data, "test")
    assert tags_of(data, read) == in_order(IN_ORDER[scheme])
    letters = {"BIO": "BI", "BIOES": "BIES"}[scheme]
    assert data.labels == ["O", *(f"{letter}-{kind}" for kind in ("LOC", "PER") for letter in letters)]
    texts = {row: text for batch in read for row, text in zip(batch["ids"], batch["texts"], strict=True)}
    assert texts == {str(number): " ".join(words) for number, (words, _) in enumerate(TAGS)}
    for batch in read:
        for row, text, words in zip(batch["ids"], batch["texts"], batch["words"], strict=True):
            assert [text[start:end] for start, end in words] == TAGS[int(row)][0]


def test_tags_may_be_numbers_of_given_names(tmp_path: Path) -> None:
    rows = [{"tokens": words, "ner_tags": [NAMES.index(tag) for tag in tags]} for words, tags in TAGS]
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    path = write_rows(tmp_path / "a.jsonl", rows)
    for labels in (NAMES, str(tmp_path / "names.txt")):
        data = module(tmp_path, train=path, test=path, tags_column="ner_tags", labels=labels)
        read = batches(data, "test")
        assert data.labels == NAMES
        assert tags_of(data, read) == in_order(IN_ORDER["BIO"])
        assert numbers_of(read) == {str(number): row["ner_tags"] for number, row in enumerate(rows)}


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@pytest.mark.parametrize("with_text", [False, True])
def test_spans_become_tags(tmp_path: Path, scheme: str, with_text: bool) -> None:
    rows: list[dict[str, object]] = []
    for words, tags in TAGS:
        text = " ".join(words)
        spans = [
            {"start": start, "end": end, "label": kind} | ({"text": text[start:end]} if with_text else {})
            for start, end, kind in tags_to_spans(tags, split_words(text))
        ]
        rows.append({"body": text, "entities": spans})
    path = write_rows(tmp_path / "a.jsonl", rows)
    data = module(tmp_path, train=path, test=path, text_column="body", spans_column="entities", scheme=scheme)
    assert tags_of(data, batches(data, "test")) == in_order(IN_ORDER[scheme])


def test_texts_without_words_are_split(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "a.jsonl", [{"text": "Anna's in 東京.", "tags": ["B-PER", *["O"] * 3, "B-LOC", "I-LOC", "O"]}]
    )
    data = module(tmp_path, train=path, test=path)
    (batch,) = batches(data, "test")
    assert [batch["texts"][0][start:end] for start, end in batch["words"][0]] == [
        "Anna",
        "'",
        "s",
        "in",
        "東",
        "京",
        ".",
    ]
    assert tags_of(data, [batch]) == {"0": ["B-PER", "O", "O", "O", "B-LOC", "I-LOC", "O"]}


# --- Invalid rows

GOOD: list[dict[str, object]] = [
    {"id": "r0", "tokens": TAGS[0][0], "tags": TAGS[0][1]},
    {"tokens": ["a"], "tags": ["O"]},
]
BAD: dict[str, tuple[object, str]] = {
    "unknown": (
        {"tokens": ["Nato"], "tags": ["B-ORG"]},
        r"the label 'B-ORG' is not one of the 5 labels of the model; did you mean 'B-",
    ),
    "fewer tags": ({"tokens": ["a", "b", "c"], "tags": ["O", "O"]}, r"3 words, but 2 tags; give each word one tag"),
    "more tags": ({"tokens": ["a"], "tags": ["O", "O"]}, r"1 words, but 2 tags; give each word one tag"),
    "string": ({"tokens": ["a"], "tags": "O"}, r"1 words, but 'O'; give each word one tag"),
    "follows nothing": (
        {"tokens": ["a", "b"], "tags": ["O", "I-PER"]},
        r"tag 'I-PER' of word 2 \(index 1\) after 'O' is wrong in IOB2, the scheme that fits most texts of this file",
    ),
    "other type": ({"tokens": ["a", "b"], "tags": ["B-LOC", "I-PER"]}, r"tag 'I-PER' of word 2 \(index 1\) after"),
    "no tag": ({"tokens": ["a"], "tags": ["PER"]}, r"tag 'PER' of word 1 \(index 0\) is neither O nor a type"),
    "null tag": ({"tokens": ["a"], "tags": [None]}, r"tag None of word 1 \(index 0\) is neither O"),
    "numbers": (
        {"tokens": ["a"], "tags": [0]},
        r"the tags are numbers; name them in the order of .* with --data\.labels=",
    ),
    "empty word": ({"tokens": ["a", ""], "tags": ["O", "O"]}, r"word 2 \(index 1\) is '', not a non-blank string"),
    "blank word": ({"tokens": [" \u00a0"], "tags": ["O"]}, r"word 1 \(index 0\) is ' \\xa0', not a non-blank"),
    "null word": ({"tokens": [None], "tags": ["O"]}, r"word 1 \(index 0\) is None, not a non-blank"),
    "no words": ({"tokens": [], "tags": []}, r"column 'tokens' is \[\], not a list of words; fix this row"),
    "text": ({"tokens": "a b", "tags": ["O", "O"]}, r"column 'tokens' is 'a b', not a list of words"),
    "no column": (
        {"tags": ["O"]},
        r"there is no column 'tokens'; the columns are 'tags'; choose one with --data\.tokens_column=",
    ),
    "no tags": (
        {"tokens": ["a"]},
        r"there is no column 'tags'; the columns are 'tokens'; choose one with --data\.tags_column=",
    ),
    "null words": ({"tokens": None, "tags": []}, r"column 'tokens' is null; fix or remove this row"),
    "null tags": ({"tokens": ["a"], "tags": None}, r"column 'tags' is null; fix or remove this row"),
    "empty text": ({"text": " ", "tags": []}, r"column 'text' is empty"),
    "same id": ({"id": "r0", "tokens": ["a"], "tags": ["O"]}, r"the id 'r0' is already used by .*/test\.jsonl:1; give"),
    "id of another type": ({"id": 1.5, "tokens": ["a"], "tags": ["O"]}, r"column 'id' is 1\.5, not an id"),
}

ANNA: dict[str, object] = {"id": "r0", "text": "Anna in Rome", "spans": [{"start": 0, "end": 4, "label": "PER"}]}


def anna(*spans: object) -> dict[str, object]:
    return {"text": "Anna in Rome", "spans": list(spans)}


def span(start: object, end: object, label: object = "PER", **more: object) -> dict[str, object]:
    return {"start": start, "end": end, "label": label, **more}


BAD_SPANS: dict[str, tuple[object, str]] = {
    "after": (
        anna(span(8, 13)),
        r"the span 8-13 \('PER'\) is empty or outside the text of 12 characters; fix the offsets",
    ),
    "before": (anna(span(-1, 4)), r"the span -1-4 \('PER'\) is empty or outside the text"),
    "empty": (anna(span(4, 4)), r"the span 4-4 \('PER'\) is empty or outside"),
    "backwards": (anna(span(4, 0)), r"the span 4-0 \('PER'\) is empty or outside"),
    "strings": (anna(span("0", "4")), r"the start and end of the span .* are not whole numbers"),
    "other text": (
        anna(span(0, 4, text="Bob")),
        r"the span 0-4 \('PER'\) is 'Anna' in the text, but its \"text\" is 'Bob'",
    ),
    "blank": (anna(span(4, 5)), r"the span 4-5 ' ' \('PER'\) contains no word of the text"),
    "overlap": (
        anna(span(0, 4), span(0, 7)),
        r"the span 0-4 'Anna' \('PER'\) and the span 0-7 'Anna in' \('PER'\) overlap",
    ),
    "same word": (
        anna(span(0, 2), span(2, 4)),
        r"the span 0-2 'An' .* the words there are 'Anna'; fix the offsets, or",
    ),
    "boolean": (anna(span(False, 4)), r"the start and end of the span .* are not whole numbers"),
    "text of another type": (anna(span(0, 4, text=7)), r'the "text" of the span 0-4 is 7, not a string; fix it'),
    "list": (anna([0, 4, "PER"]), r"the span \[0, 4, 'PER'\] is not like \{'start': 0, 'end': 5, 'label': 'PER'\}"),
    "no label": (anna({"start": 0, "end": 4}), r"the span \{'start': 0, 'end': 4\} is not like"),
    "null label": (anna(span(0, 4, None)), r"the label of the span 0-4 is None, not a non-empty string; fix it"),
    "empty label": (anna(span(0, 4, "")), r"the label of the span 0-4 is ''"),
    "unknown": (anna(span(8, 12, "LOC")), r"the label 'B-LOC' is not one of the 3 labels of the model"),
    "no spans": (
        {"text": "a"},
        r"there is no column 'spans'; the columns are 'text'; choose one with --data\.spans_column=",
    ),
    "null": ({"text": "a", "spans": None}, r"column 'spans' is null; fix or remove this row"),
    "number": ({"text": "a", "spans": 7}, r"column 'spans' is 7, not a list of spans"),
    "object": ({"text": "Anna in Rome", "spans": span(0, 4)}, r"column 'spans' is .*start.*, not a list of spans"),
    "no text": ({"tokens": ["a"], "spans": []}, r"there is no column 'text'; .*; choose one with --data\.text_column="),
    "null text": ({"text": None, "spans": []}, r"column 'text' is null"),
    "empty text": ({"text": "\n", "spans": []}, r"column 'text' is empty"),
}


def check_bad_row(
    folder: Path,
    out: pytest.CaptureFixture[str],
    good: list[dict[str, object]],
    row: object,
    message: str,
    **columns: str,
) -> None:
    """Check that an invalid row stops with its location, or is skipped and counted."""
    train = write_rows(folder / "train.jsonl", good)
    test = write_rows(folder / "test.jsonl", [good[0], row, {**good[0], "id": "r2"}])
    remedy = r".* \(--data\.on_bad_row=skip skips invalid rows\)$"
    with pytest.raises(InputError, match=f"^{re.escape(test)}:2: (?:{message}){remedy}"):
        batches(module(folder, train=train, test=test, **columns), "test")
    assert out.readouterr().out == ""
    data = module(folder, train=train, test=test, on_bad_row="skip", **columns)
    tags = tags_of(data, batches(data, "test"))
    assert set(tags) == {"r0", "r2"}
    assert tags["r0"] == tags["r2"]
    assert "B-PER" in tags["r0"]
    assert re.match(r"test: skipped 1 of 3 rows: 1 x .*\n$", out.readouterr().out)


@pytest.mark.parametrize(("row", "message"), BAD.values(), ids=BAD.keys())
def test_an_invalid_row_with_words_stops_or_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: object, message: str
) -> None:
    check_bad_row(tmp_path, capsys, GOOD, row, message)


@pytest.mark.parametrize(("row", "message"), BAD_SPANS.values(), ids=BAD_SPANS.keys())
def test_an_invalid_row_with_spans_stops_or_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: object, message: str
) -> None:
    check_bad_row(tmp_path, capsys, [ANNA], row, message, spans_column="spans")


def test_a_number_without_a_name_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"tokens": ["a"], "tags": [0]}, {"tokens": ["a"], "tags": [5]}])
    with pytest.raises(InputError, match=rf"^{re.escape(path)}:2: the label 5 is not one of the 5 labels of the m"):
        batches(module(tmp_path, train=path, labels=NAMES), "fit")


def test_an_invalid_sentence_of_conll_is_reported_with_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("a\tB-PER\n\nb\tO\nc\tI-PER\n")
    with pytest.raises(InputError, match=r"a\.conll:3: tag 'I-PER' of word 2 \(index 1\) after 'O' is wrong in IOB2"):
        batches(module(tmp_path, train=str(tmp_path / "a.conll")), "fit")


def test_skipped_rows_are_counted_by_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        *GOOD,
        {"tokens": ["a", "b"], "tags": ["O"]},
        {"tokens": ["a"], "tags": None},
        {"tokens": ["a", "b", "c"], "tags": ["O"]},
    ]
    path = write_rows(tmp_path / "a.jsonl", rows)
    data = module(tmp_path, train=path, on_bad_row="skip")
    assert sum(len(batch["examples"]) for batch in batches(data, "fit")) == 2
    assert capsys.readouterr().out == ("train: skipped 3 of 5 rows: 2 x … words, but … tags, 1 x column … is null\n")


def test_a_split_without_valid_rows_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"tokens": [], "tags": []}])
    with pytest.raises(InputError, match=r"^--data\.train: no row is valid; fix the file"):
        batches(module(tmp_path, train=path, on_bad_row="skip"), "fit")


# --- Alignment


def hard_rows() -> list[dict[str, Any]]:
    """Return the hard texts with random spans of complete words."""
    generator = random.Random(0)
    rows: list[dict[str, Any]] = []
    for text in [*HARD_TEXTS, "".join(HARD_TEXTS)] * 3:
        words = split_words(text)
        edges = sorted(generator.sample(range(len(words) + 1), k=generator.randint(min(2, len(words)), len(words))))
        pairs = [pair for pair in itertools.pairwise(edges) if generator.random() < 0.7]
        spans = [span(words[first][0], words[stop - 1][1], generator.choice(["A", "B"])) for first, stop in pairs]
        rows.append({"id": f"t{len(rows)}", "text": text, "spans": spans})
    assert sum(len(row["spans"]) for row in rows) > 50
    return rows


def pieces_of(tokenizer: Tokenizer, text: str, room: int) -> list[list[int]]:
    """Return the tokens of each word with the whitespace before it, truncated to ``room`` tokens."""
    ends = [0, *(end for _, end in split_words(text))]
    return [tokenizer.encode(text[start:end])[:room] for start, end in itertools.pairwise(ends)]


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@pytest.mark.parametrize("block_size", [12, 40, 512])
@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("pooling", ["first", "last"])
def test_words_and_tags_are_recovered_from_the_windows(
    tmp_path: Path, pooling: Literal["first", "last"], kind: str, block_size: int, scheme: Scheme
) -> None:
    rows = {row["id"]: row for row in hard_rows()}
    path = write_rows(tmp_path / "a.jsonl", rows.values())
    data = module(
        tmp_path,
        train=path,
        test=path,
        spans_column="spans",
        scheme=scheme,
        pooling=pooling,
        block_size=block_size,
        tokenizer=save_tokenizer(tmp_path, kind),
        layout=InputLayout(version=1),  # encodes words separately
    )
    windows, tags = 0, dict[str, list[str]]()
    for batch in batches(data, "test"):
        assert batch["texts"] == [rows[row]["text"] for row in batch["ids"]]
        assert [[*map(tuple, words)] for words in batch["words"]] == [split_words(text) for text in batch["texts"]]
        for place, tokens, mask, labels, scored in zip(
            batch["examples"],
            batch["input_ids"],
            batch["attention_mask"],
            batch["labels"],
            batch["scored"],
            strict=True,
        ):
            row, text = batch["ids"][place], batch["texts"][place]
            pieces = pieces_of(data.tokenizer, text, block_size - 1)
            ids = tokens[mask].tolist()
            assert len(ids) <= block_size
            assert ids[0] == data.tokenizer.end_of_text_id
            done = tags.setdefault(row, [])
            for position in np.flatnonzero(scored).tolist():
                piece = pieces[len(done)]  # scored words are in order, so each is scored once
                first = position if pooling == "first" else position + 1 - len(piece)
                assert ids[first : first + len(piece)] == piece
                start, end = [0, *(end for _, end in split_words(text))][len(done) : len(done) + 2]
                if len(piece) < block_size - 1:
                    assert data.tokenizer.decode(ids[first : first + len(piece)]) == text[start:end]
                done.append(data.labels[labels[position]])
            windows += 1
    assert windows >= {512: 1, 40: 1, 12: 2}[block_size] * len(rows)
    for name, row in rows.items():
        words = split_words(row["text"])
        assert len(tags[name]) == len(words)
        expected = [(each["start"], each["end"], each["label"]) for each in row["spans"]]
        assert tags_to_spans(tags[name], words) == expected


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_training_labels_each_word_once_per_epoch(tmp_path: Path, kind: str) -> None:
    rows = hard_rows()
    path = write_rows(tmp_path / "a.jsonl", rows)
    tokenizer = save_tokenizer(tmp_path, kind)
    sizes = {"block_size": 12, "batch_size": 5}
    layout = InputLayout(version=1)  # encodes words separately
    data = module(tmp_path, train=path, test=path, spans_column="spans", tokenizer=tokenizer, layout=layout, **sizes)
    evaluated = sorted(itertools.chain(*numbers_of(batches(data, "test")).values()))
    for epoch in range(2):
        read = batches(data, "fit", position=(epoch, 0))
        assert sorted(label for batch in read for label in batch["labels"][batch["scored"]].tolist()) == evaluated
        assert all(len(batch["input_ids"]) == 5 for batch in read[:-1]), "each window is a row"
        assert all(batch["examples"].tolist() == list(range(len(batch["input_ids"]))) for batch in read)
    assert len(evaluated) == sum(len(split_words(row["text"])) for row in rows)


def test_windows_of_a_text_share_words(tmp_path: Path) -> None:
    words = [f"{number:02}" for number in range(30)]
    path = write_rows(tmp_path / "a.jsonl", [{"tokens": words, "tags": ["O"] * 30}])
    data = module(tmp_path, train=path, test=path, block_size=16, stride=6)
    (batch,) = batches(data, "test")
    windows = [
        data.tokenizer.decode(tokens[mask].tolist()).split()
        for tokens, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    assert len(windows) > 5
    assert all(len(set(left) & set(right)) >= 2 for left, right in itertools.pairwise(windows))
    assert set(itertools.chain(*windows)) == set(words)


def test_a_stride_of_more_than_a_window_is_refused(tmp_path: Path) -> None:
    path = write_tags(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match=r"^--data\.stride=32 must be from 0 to 10, because windows have 11 tokens"):
        batches(module(tmp_path, train=path, block_size=12, stride=32), "fit")
    short = write_rows(tmp_path / "short.jsonl", [{"tokens": ["a", "b"], "tags": ["O", "O"]}])
    assert len(batches(module(tmp_path, train=short, block_size=12, stride=32), "fit")) == 1, (
        "a short text needs no overlap"
    )


def test_a_word_longer_than_a_window_is_truncated_and_scored(tmp_path: Path) -> None:
    words, tags = ["a", "x" * 50, "b"], ["O", "B-A", "I-A"]
    path = write_rows(tmp_path / "a.jsonl", [{"tokens": words, "tags": tags}])
    data = module(tmp_path, train=path, test=path, block_size=12)
    read = batches(data, "test")
    assert tags_of(data, read) == {"0": tags}
    assert max(batch["input_ids"].shape[1] for batch in read) == 12


def test_a_word_without_tokens_is_scored(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Inner
    from tokenizers import normalizers

    inner = Inner.from_file(save_tokenizer(tmp_path, "bytes"))
    inner.normalizer = normalizers.Replace("\u200b", "")
    inner.save(str(tmp_path / "tokenizer.json"))
    words, tags = ["\u200b", "a", "b"], ["B-A", "O", "B-A"]
    path = write_rows(tmp_path / "a.jsonl", [{"tokens": words, "tags": tags}])
    data = module(tmp_path, train=path, test=path, tokenizer=str(tmp_path))
    assert tags_of(data, batches(data, "test")) == {"0": tags}


# --- Batches


def test_training_batches_have_no_texts(tmp_path: Path) -> None:
    path = write_tags(tmp_path / "a.jsonl")
    data = module(tmp_path, train=path, validation=path, test=path)
    tensors = {"input_ids", "attention_mask", "labels", "scored", "examples"}
    assert all(set(batch) == tensors | {"ids"} for batch in batches(data, "fit"))
    for function in ("validate", "test", "predict"):
        assert all(set(batch) == tensors | {"ids", "texts", "words"} for batch in batches(data, function))


def test_words_are_character_ranges(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"tokens": ["a", "bc"], "tags": ["O", "O"]}])
    (batch,) = batches(module(tmp_path, train=path, test=path), "test")
    assert batch["words"] == [[(0, 1), (2, 4)]]


@pytest.mark.parametrize("function", ["fit", "test", "predict"])
def test_padding_has_neither_words_nor_text(tmp_path: Path, function: str) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"tokens": ["a"], "tags": ["O"]}] * 3)
    data = module(tmp_path, train=path, test=path, batch_size=1)
    *_, last = batches(data, function, rank=1, world_size=2)
    assert last["input_ids"].tolist() == [[data.tokenizer.end_of_text_id]]
    assert last["labels"].tolist() == [[IGNORE_INDEX]]
    assert last["scored"].tolist() == [[False]]
    assert last["examples"].tolist() == [-1]
    assert last.get("ids", []) == last.get("texts", []) == last.get("words", []) == []


@pytest.mark.parametrize("shape", ["words", "text", "conll"])
def test_prediction_needs_no_tags_and_keeps_the_order(tmp_path: Path, shape: str) -> None:
    if shape == "conll":
        (tmp_path / "a.conll").write_text("\n".join("".join(f"{word}\n" for word in words) for words, _ in TAGS))
        path = str(tmp_path / "a.conll")
    else:
        rows = [{"tokens": words} if shape == "words" else {"text": " ".join(words)} for words, _ in TAGS]
        path = write_rows(tmp_path / "a.jsonl", rows)
    data = module(tmp_path, test=path, labels=NAMES, block_size=12)
    read = batches(data, "predict")
    assert [text for batch in read for text in batch["texts"]] == [" ".join(words) for words, _ in TAGS]
    assert numbers_of(read) == {str(number): [IGNORE_INDEX] * len(words) for number, (words, _) in enumerate(TAGS)}
    with pytest.raises(InputError, match=r"there is no column 'tags'"):
        batches(data, "test")


def test_prediction_with_a_spans_column_reads_texts(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.jsonl", [ANNA])
    test = write_rows(tmp_path / "test.jsonl", [{"text": "Bob sings"}, {"text": "no", "spans": [span(0, 99)]}])
    data = module(tmp_path, train=train, test=test, spans_column="spans")
    assert numbers_of(batches(data, "predict")) == {"0": [IGNORE_INDEX] * 2, "1": [IGNORE_INDEX]}
    assert data.labels == ["O", "B-PER", "I-PER"]


@pytest.mark.parametrize("shape", ["words", "spans"])
def test_the_tokenizer_is_trained_on_the_training_texts(tmp_path: Path, shape: str) -> None:
    texts = [f"{text} {text}" for text in HARD_TEXTS]
    rows: list[dict[str, object]]
    if shape == "words":
        rows = [{"tokens": text.split(), "tags": ["O"] * len(text.split()), "text": "no"} for text in texts]
        texts = [" ".join(text.split()) for text in texts]
    else:
        rows = [{"text": text, "spans": [], "tokens": ["no"]} for text in texts]
    data = module(
        tmp_path,
        train=write_rows(tmp_path / "train.jsonl", rows),
        test=write_tags(tmp_path / "test.jsonl"),
        tokenizer="bpe:300",
        spans_column="spans" if shape == "spans" else None,
    )
    attach(data, "fit")
    assert data.tokenizer.hash == train_bpe(texts, 300).hash
    assert data.vocab_size == 300
