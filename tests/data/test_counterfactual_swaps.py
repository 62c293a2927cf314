"""Training on twins with swapped words: which rows get one, and what becomes of their labels."""

from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data import ReadingComprehension, SequenceTagging, TextClassification, TextRegression, TextToText
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.word_swaps.load import load_swaps
from gpt_lightning.errors import InputError
from tests.data.drive import batches, tags_to_spans, token_span, write_rows

TEXTS = [
    {"id": "a", "text": "She likes it.", "label": "good"},
    {"id": "b", "text": "Rain all day.", "label": "bad"},
    {"id": "c", "text": "John met his aunt.", "label": "bad"},
]
QUESTION = {
    "id": "q",
    "question": "Who met her?",
    "context": "In Rome, Mary's uncle met her after John left. 👍🏽 Then Mary's uncle slept.",
    "answers": [{"text": "Mary's uncle", "answer_start": 9}],
}
TAGS = {
    "id": "t",
    "tokens": ["Mary", "'s", "aunt", "met", "John", "Smith"],
    "tags": ["B-PER", "O", "O", "O", "B-PER", "I-PER"],
}
SPANS = {
    "id": "s",
    "text": "Yesterday Mary's aunt met John Smith.",
    "spans": [{"start": 10, "end": 14, "label": "PER"}, {"start": 26, "end": 36, "label": "PER"}],
}


def build(kind: type[Any], folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Any:
    source = write_rows(folder / "rows.jsonl", rows)
    fixed = {"tokenizer": "bytes", "block_size": 128, "batch_size": 2, "seed": 0, "cache_dir": str(folder / "cache")}
    splits = dict.fromkeys(("train", "validation", "test"), source)
    return kind(**{**splits, **fixed, "counterfactual_swaps": "gender", **settings})


def test_each_row_with_a_word_of_the_list_gets_a_twin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = build(TextClassification, tmp_path, TEXTS)
    assert [(each.id, each.text, each.labels) for each in data.examples("train")] == [
        ("a", "She likes it.", ("good",)),
        ("a", "He likes it.", ("good",)),
        ("b", "Rain all day.", ("bad",)),
        ("c", "John met his aunt.", ("bad",)),
        ("c", "Jennifer met her uncle.", ("bad",)),
    ]
    assert len(data.examples("validation")) == len(data.examples("test")) == 3
    assert data.label_counts()[0] == {"good": 2, "bad": 3}
    assert "2 of 3 rows are also trained on with swapped words" in capsys.readouterr().out
    read = batches(data, "fit")
    assert sorted(name for batch in read for name in batch["ids"]) == ["a", "a", "b", "c", "c"]


@pytest.mark.parametrize("held_out", [{"validation": 0.25}, {"validation": None, "validation_fraction": 0.25}])
def test_no_twin_equals_a_held_out_row(tmp_path: Path, held_out: dict[str, Any]) -> None:
    rows = [{"text": f"{word} is number {number}", "label": "x"} for number in range(40) for word in ("She", "HE")]
    data = build(TextClassification, tmp_path, rows, **held_out)
    train, validation = ({each.text.lower() for each in data.examples(split)} for split in ("train", "validation"))
    plain = build(TextClassification, tmp_path, rows, counterfactual_swaps=None, **held_out)
    assert validation == {each.text.lower() for each in plain.examples("validation")}
    assert 8 < len(validation) < 32
    assert not train & validation
    swapped = [load_swaps("gender", "--swaps")(each.text).text.lower() for each in plain.examples("train")]
    num_twins = sum(text not in validation for text in swapped)
    assert 0 < num_twins < len(swapped)
    assert len(data.examples("train")) == len(swapped) + num_twins


def test_the_order_of_training_depends_on_the_seed_only(tmp_path: Path) -> None:
    """A run that resumes in the middle of an epoch reads the same batches, and other swaps have another digest."""
    whole = batches(build(TextClassification, tmp_path, TEXTS), "fit")
    resumed = batches(build(TextClassification, tmp_path, TEXTS), "fit", position=(0, 1))
    assert [batch["ids"] for batch in whole[1:]] == [batch["ids"] for batch in resumed]
    digests = []
    for swaps in ("gender", "gender", "race_names", None):
        rows = [*TEXTS, {"id": "d", "text": "Emily", "label": "bad"}]
        data = build(TextClassification, tmp_path, rows, counterfactual_swaps=swaps)
        batches(data, "fit")
        digests.append(data.identity()["data.train"])
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_pairs_and_numbers(tmp_path: Path) -> None:
    rows = [{"first": "He sings.", "second": "He is silent.", "label": 0.5}]
    data = build(TextRegression, tmp_path, rows, text_columns=["first", "second"])
    assert [each.texts for each in data.examples("train")][1] == ("She sings.", "She is silent.")
    assert [each.labels for each in data.examples("train")] == [("0.5",), ("0.5",)]


def test_tags_stay_on_their_words(tmp_path: Path) -> None:
    data = build(SequenceTagging, tmp_path, [TAGS])
    _, twin = data.examples("train")
    assert [twin.text[start:stop] for start, stop in twin.words] == ["James", "'s", "uncle", "met", "Jennifer", "Smith"]
    assert twin.tags == tuple(TAGS["tags"])
    labeled = [(batch["labels"] != IGNORE_INDEX).sum(1).tolist() for batch in batches(data, "fit")]
    assert labeled == [[6, 6]]


@pytest.mark.parametrize("version", [1, 2])
def test_spans_move_with_their_words(tmp_path: Path, version: int) -> None:
    data = build(SequenceTagging, tmp_path, [SPANS], spans_column="spans", layout={"version": version})
    _, twin = data.examples("train")
    spans = tags_to_spans(twin.tags, twin.words)
    assert [twin.text[start:stop] for start, stop, _ in spans] == ["James", "Jennifer Smith"]


def test_answers_move_with_the_context(tmp_path: Path) -> None:
    data = build(ReadingComprehension, tmp_path, [QUESTION])
    question, twin = data.examples("train")
    assert (twin.question, twin.answers) == ("Who met him?", (("James's aunt", 9),))
    data.use_examples([question, twin])
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    (trained,) = batches(data, "fit")
    places = sorted(zip(trained["start_positions"].tolist(), trained["end_positions"].tolist(), strict=True))
    found = set()
    for row, context in enumerate(batch["contexts"]):
        offsets = batch["offsets"][row].numpy()
        found |= {context[slice(*token_span(*place, offsets, context))] for place in places}
    assert {"Mary's uncle", "James's aunt"} <= found


def test_an_answer_inside_of_a_swapped_word_becomes_the_word(tmp_path: Path) -> None:
    row = {"question": "Who?", "context": "A stepmother.", "answers": [{"text": "step", "answer_start": 2}]}
    (_, twin) = build(ReadingComprehension, tmp_path, [row]).examples("train")
    assert twin.answers == (("stepfather", 2),)


def test_no_row_with_a_word_is_an_error(tmp_path: Path) -> None:
    data = build(TextClassification, tmp_path, TEXTS[1:2])
    with pytest.raises(InputError, match="counterfactual_swaps=gender: no training row has one of these words"):
        data.examples("train")


def test_other_data_modules_refuse(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="counterfactual_swaps: TextToText cannot swap words"):
        build(TextToText, tmp_path, [{"source": "She", "target": "Elle"}])
    assert issubclass(TextToText, DataModule)
