"""Rows of batches as people read them."""

from typing import Any

import torch

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.evaluation.inspection.runs import runs
from gpt_lightning.evaluation.inspection.token_rows import ANSWER, TokenRow, token_rows
from gpt_lightning.tokenizers.build import bytes_tokenizer
from gpt_lightning.tokenizers.token_texts import token_texts

BYTES = bytes_tokenizer()
END = BYTES.end_of_text_id
_ = IGNORE_INDEX


def rows(**batch: Any) -> list[TokenRow]:
    tensors = {name: torch.tensor(value) if name != "ids" else value for name, value in batch.items()}
    return list(token_rows(tensors, end_of_text_id=END, label_names=["red", "blue"]))


def test_a_block_ends_with_its_last_label_and_shows_documents() -> None:
    (row,) = rows(input_ids=[[97, END, 98, 99]], labels=[[END, 98, 99, 100]], num_bytes=[3], ids=["tokens 0-4"])
    assert row.ids.tolist() == [97, END, 98, 99, 100]
    assert row.is_trained.tolist() == [False, True, True, True, True]
    assert (row.borders, row.num_targets, row.num_padding, row.num_wrong_labels) == ([1], 4, 0, 0)
    assert list(row.parts()) == [], "a block has no complete document"


def test_packed_conversations_are_told_apart() -> None:
    """The last label of a conversation is in no input, so it is inserted before the next one."""
    (row,) = rows(
        input_ids=[[97, 98, 97, 99, 0]],
        labels=[[98, END, 99, END, _]],
        num_bytes=[2],
        prefix_mask=[[True, False, True, False, False]],
        document_ids=[[0, 0, 1, 1, 2]],
        ids=["0, 1"],
    )
    assert row.ids.tolist() == [97, 98, END, 97, 99, END]
    assert row.is_trained.tolist() == [False, True, True, False, True, True]
    assert [part.tolist() for part in row.parts()] == [[97, 98, END], [97, 99, END]]
    assert (row.num_padding, row.num_wrong_labels) == (1, 0)
    assert [(run.kind, run.begins_document) for run in runs(row, BYTES)] == [
        ("context", False),
        ("trained", False),
        ("context", True),
        ("trained", False),
    ]


def test_labels_that_are_not_shifted_are_counted() -> None:
    (row,) = rows(input_ids=[[97, 98, 99]], labels=[[97, 98, 99]], num_bytes=[3], prefix_mask=[[False] * 3], ids=["0"])
    assert row.num_wrong_labels == 2, "nothing follows the last label"


def test_a_pair_is_its_source_and_its_target() -> None:
    (row,) = rows(
        input_ids=[[97, 98, END]],
        attention_mask=[[True, True, False]],
        decoder_input_ids=[[END, 99]],
        labels=[[99, END]],
        num_bytes=[1],
        ids=["0"],
    )
    assert row.ids.tolist() == [97, 98, 99, END]
    assert row.is_trained.tolist() == [False, False, True, True]
    assert [len(part) for part in row.parts()] == [4]
    assert row.num_padding == 1


def test_words_have_labels_at_one_token() -> None:
    (row,) = rows(
        input_ids=[[97, 98, 99, END]],
        attention_mask=[[True, True, True, False]],
        labels=[[0, _, 1, _]],
        scored=[[True, False, True, False]],
        examples=[0],
        ids=["7"],
    )
    assert (row.id, row.notes, row.labels, row.num_targets) == ("7", {0: "red", 2: "blue"}, None, 2)
    assert [run.kind for run in runs(row, BYTES)] == ["text"]


def test_windows_of_questions_belong_to_their_question() -> None:
    found = rows(
        input_ids=[[97, 98, 99, END]] * 3,
        attention_mask=[[True] * 4] * 3,
        start_positions=[1, 3, _],
        end_positions=[2, 3, _],
        context_mask=[[True] * 4] * 3,
        null_positions=[3, 3, 0],
        examples=[0, 0, -1],
        ids=["q"],
    )
    assert [row.id for row in found] == ["q", "q"], "padding has no question"
    assert found[0].notes == {1: ANSWER}
    assert found[0].is_trained.tolist() == [False, True, True, False]
    assert found[1].labels == ("no answer",)


def test_rows_have_a_class_a_set_or_a_number() -> None:
    common: dict[str, Any] = {"input_ids": [[97], [98]], "attention_mask": [[True], [True]], "ids": ["0", "1"]}
    assert [row.labels for row in rows(**common, labels=[1, _])] == [("blue",), None]
    assert [row.labels for row in rows(**common, labels=[[1, 1], [0, 0]])] == [("red", "blue"), ()]
    assert [row.number for row in rows(**common, labels=[1.5, 2.0])] == [1.5, 2.0]


def test_token_texts_join_to_the_text() -> None:
    text = "é😀 a"
    assert token_texts(BYTES, [END, *BYTES.encode("é")]) == ["<|endoftext|>", "", "é"]
    assert "".join(token_texts(BYTES, BYTES.encode(text))) == text
    assert "".join(token_texts(BYTES, [0xF0, 97])) == BYTES.decode([0xF0, 97])
