"""Instruction tuning data: batches, packing, cutting, prompts of evaluations, and invalid rows."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data import InstructionTuning
from gpt_lightning.errors import InputError
from gpt_lightning.tasks import CausalLM
from gpt_lightning.training.data_identity import differences
from tests.data.drive import attach, batches, write_rows
from tests.runs import causal_lm

ROWS = [
    {"id": f"row {n}", "messages": [{"role": role, "content": f"{role} {turn} " + "x" * ((7 * n + turn) % 13)}
     for turn in range(1 + n % 3) for role in ("user", "assistant")]}
    for n in range(12)
]  # fmt: skip


def module(folder: Path, rows: list[Any] = ROWS, **arguments: Any) -> InstructionTuning:
    """Return a data module for rows, with a tokenizer of bytes and the template ``plain``."""
    path = write_rows(folder / "rows.jsonl", rows)
    defaults: dict[str, Any] = {
        **dict.fromkeys(("train", "validation", "test"), path),
        "tokenizer": "bytes",
        "chat_template": "plain",
        "block_size": 128,
        "batch_size": 4,
        "seed": 0,
        "cache_dir": str(folder / "cache"),
    }
    return InstructionTuning(**(defaults | arguments))


def tuned(vocab_size: int = 257) -> CausalLM:
    """Return a tiny model in float64."""
    shape = {"block_size": 128, "position": "rotary", "dropout": 0.0, "n_layer": 2}
    return causal_lm(vocab_size, **shape).double()


def total_loss(task: CausalLM, read: list[Any]) -> float:
    """Return the summed loss of batches, and add its gradients to the task's."""
    total = 0.0
    for batch in read:
        loss = task.step(batch, "train") * (batch["labels"] != IGNORE_INDEX).sum()
        loss.backward()
        total += float(loss.detach())
    return total


def test_batches_train_the_answers(tmp_path: Path) -> None:
    data = module(tmp_path)
    read = batches(data, "fit")
    assert sorted(name for batch in read for name in batch["ids"]) == sorted(str(row["id"]) for row in ROWS)
    for batch in read:
        for row, name in enumerate(batch["ids"]):
            messages: Any = ROWS[int(name.split()[1])]["messages"]
            labels = batch["labels"][row]
            is_label = labels != IGNORE_INDEX
            answers = [each["content"] + "<|endoftext|>" for each in messages if each["role"] == "assistant"]
            trained = labels[is_label].tolist()
            assert "".join("<|endoftext|>" if token == 256 else chr(token) for token in trained) == "".join(answers)
            assert batch["num_bytes"][row] == sum(token != 256 for token in trained)
            inputs = batch["input_ids"][row]
            assert inputs[1:][is_label[:-1]].tolist() == trained[: len(inputs) - 1][: int(is_label[:-1].sum())]
            first = int(is_label.int().argmax())
            assert batch["prefix_mask"][row].tolist() == [place <= first for place in range(len(inputs))]


def test_packed_rows_have_the_loss_and_gradients_of_separate_ones(tmp_path: Path) -> None:
    losses, gradients = [], []
    for packing in (False, True):
        data = module(tmp_path, packing=packing)
        read = batches(data, "fit")
        if packing:
            assert sum(len(batch["ids"]) for batch in read) < len(ROWS)
            assert all(batch["document_ids"].diff().min() >= 0 for batch in read)
        else:
            assert all("document_ids" not in batch for batch in read)
        task = tuned()
        losses.append(total_loss(task, read))
        gradients.append([parameter.grad for parameter in task.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    for separate, packed in zip(*gradients, strict=True):
        torch.testing.assert_close(separate, packed, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("packing", [False, True])
def test_training_starts_at_any_batch(tmp_path: Path, packing: bool) -> None:
    data = module(tmp_path, packing=packing, batch_size=2)
    for epoch in (0, 3):
        attach(data, "fit", position=(epoch, 0))
        data.setup("fit")
        expected = list(data.train_dataloader())
        attach(data, "fit", position=(epoch, 2))
        for batch, other in zip(expected[2:], data.train_dataloader(), strict=True):
            assert batch["ids"] == other["ids"]
            assert batch["labels"].equal(other["labels"])


def test_long_conversations_lose_their_first_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    system = {"role": "system", "content": "S"}
    turns = [{"role": role, "content": f"{role[0]}{turn}" * 4} for turn in range(9) for role in ("user", "assistant")]
    data = module(tmp_path, [{"messages": [system, *turns]}], block_size=40)
    (batch,) = batches(data, "fit")
    text = data.tokenizer.decode(batch["input_ids"][0])
    assert text == "S\nu7u7u7u7\na7a7a7a7u8u8u8u8\na8a8a8a8"
    assert (batch["labels"] != IGNORE_INDEX).sum() == 18
    assert (
        "train: 1 rows, 4 turns, 18 trained tokens (46.2% of 39), 1 rows cut, 0 rows dropped" in capsys.readouterr().out
    )


def test_the_prompt_of_a_long_last_turn_is_cut(tmp_path: Path) -> None:
    row = {"prompt": "abc" * 40, "completion": "the answer"}
    (batch,) = batches(module(tmp_path, [row], block_size=20), "fit")
    assert batch["input_ids"].shape == (1, 20)
    assert module(tmp_path).tokenizer.decode(batch["input_ids"][0]) == "abcabcabc\nthe answer"


@pytest.mark.parametrize(
    ("rows", "arguments", "reason"),
    [
        ([{"prompt": "a", "completion": "b" * 30}], {}, "last answer and one token of the prompt have 32 tokens, more"),
        (
            [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "train": False}]}],
            {},
            "no label, because its answers have train: false",
        ),
        (
            [
                {
                    "messages": [
                        {"role": "user", "content": "a" * 30},
                        {"role": "assistant", "content": "b"},
                        {"role": "user", "content": "c"},
                        {"role": "assistant", "content": "d", "train": False},
                    ]
                }
            ],
            {},
            "cutting it to block_size left no label",
        ),
    ],
)
def test_rows_without_labels(
    tmp_path: Path, rows: list[Any], arguments: Any, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = re.escape(str(tmp_path / "rows.jsonl"))
    with pytest.raises(InputError, match=rf"^{path}:2: .*{reason}.*on_bad_row=skip"):
        batches(module(tmp_path, [ROWS[0], *rows], block_size=22, **arguments), "fit")
    (batch,) = batches(module(tmp_path, [ROWS[0], *rows], block_size=22, on_bad_row="skip", **arguments), "fit")
    assert batch["ids"] == ["row 0"]
    assert "1 rows dropped" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"--data.train: no row has a label"):
        batches(module(tmp_path, rows, block_size=22, on_bad_row="skip", **arguments), "fit")


def test_what_is_trained(tmp_path: Path) -> None:
    messages: list[Any] = [
        {"role": role, "content": f"{role[0]}{turn}"} for turn in range(2) for role in ("user", "assistant")
    ]
    expected = {"assistant": "a0a1", "last": "a1", "all": "u0\na0u1\na1"}
    for train_on, text in expected.items():
        data = module(tmp_path, [{"messages": messages}], train_on=train_on)
        (batch,) = batches(data, "fit")
        labels = batch["labels"][0]
        assert data.tokenizer.decode(labels[labels != IGNORE_INDEX]) == text
    messages[1]["train"] = False
    data = module(tmp_path, [{"messages": messages}])
    (batch,) = batches(data, "fit")
    labels = batch["labels"][0]
    assert data.tokenizer.decode(labels[labels != IGNORE_INDEX]) == "a1"


def test_evaluation_has_prompts_and_references(tmp_path: Path) -> None:
    rows = [{"id": str(n), "en": f"source {n}", "fr": [f"target {n}", "other"]} for n in range(10)]
    settings: dict[str, Any] = {"template": "French: {en}", "target": "fr", "max_new_tokens": 8}
    data = module(tmp_path, rows, generate_examples=5, **settings)
    read = batches(data, "test")
    prompts = {
        data.tokenizer.decode(prompt): references
        for batch in read
        for prompt, references in zip(batch["prompts"], batch["references"], strict=True)
    }
    assert prompts == {f"French: source {n}\n": [f"target {n}", "other"] for n in range(0, 10, 2)}
    assert data.stop_ids == (256,)
    assert all("prompts" not in batch for batch in batches(data, "fit"))
    none = batches(module(tmp_path, rows, generate_examples=0, **settings), "test")
    assert not any(batch["prompts"] for batch in none)
    predicted = batches(module(tmp_path, [{"prompt": "a"}, {"prompt": "b", "completion": "c"}]), "predict")
    assert [data.tokenizer.decode(each) for batch in predicted for each in batch["prompts"]] == ["a\n", "b\n"]
    assert all((batch["labels"] == IGNORE_INDEX).all() for batch in predicted)


def test_prompts_leave_room_for_answers(tmp_path: Path) -> None:
    turns = [{"role": role, "content": f"{role[0]}{turn}" * 4} for turn in range(9) for role in ("user", "assistant")]
    data = module(tmp_path, [{"messages": turns}], block_size=60, max_new_tokens=30)
    ((prompt,),) = [batch["prompts"] for batch in batches(data, "test")]
    assert data.tokenizer.decode(prompt) == "u7u7u7u7\na7a7a7a7u8u8u8u8\n"
    with pytest.raises(InputError, match=r"--data.max_new_tokens=60 leaves no room for a prompt in block_size=60"):
        module(tmp_path, block_size=60, max_new_tokens=60)
    assert module(tmp_path, block_size=60).max_new_tokens == 30
    assert module(tmp_path, block_size=4096).max_new_tokens == 128


def test_padding_rows_have_no_labels(tmp_path: Path) -> None:
    data = module(tmp_path, ROWS[:3], batch_size=2)
    for rank in range(2):
        attach(data, "fit", rank=rank, world_size=2)
        data.setup("fit")
        for batch in data.train_dataloader():
            is_labeled = (batch["labels"] != IGNORE_INDEX).any(1)
            assert is_labeled.tolist() == [True] * len(batch["ids"]) + [False] * (len(is_labeled) - len(batch["ids"]))


def test_equal_prompts_are_held_out_together(tmp_path: Path) -> None:
    rows = [{"id": str(n), "prompt": f"prompt {n // 3}", "completion": f"answer {n}"} for n in range(60)]
    data = module(tmp_path, rows, validation=0.3)
    held_out = {example.prompt for example in data.examples("validation")}
    assert held_out
    assert held_out.isdisjoint(example.prompt for example in data.examples("train"))
    assert np.isclose(len(data.examples("validation")) / 60, 0.3, atol=0.2)


def test_prompts_that_are_cut_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [{"role": role, "content": f"{role[0]}{turn}" * 4} for turn in range(9) for role in ("user", "assistant")]
    line = "1 of 2 prompts lost their first turns or tokens, because generating 60 tokens leaves 140 of 200"
    for stage, split in (("test", "test"), ("predict", "test")):
        data = module(tmp_path, [{"messages": turns}, {"messages": turns[:2]}], block_size=200, max_new_tokens=60)
        batches(data, stage)
        assert f"{split}: {line}" in capsys.readouterr().out
    batches(module(tmp_path, [{"messages": turns[:2]}], block_size=200), "test")
    assert "prompts lost" not in capsys.readouterr().out


def test_greetings_before_the_first_prompt_are_not_trained(tmp_path: Path) -> None:
    chat = [{"role": role, "content": text} for role, text in (("assistant", "hi"), ("user", "q"), ("assistant", "a"))]
    for messages in (chat, [{"role": "system", "content": "s"}, *chat]):
        data = module(tmp_path, [{"messages": messages}])
        (batch,) = batches(data, "fit")
        labels = batch["labels"][0]
        assert data.tokenizer.decode(labels[labels != IGNORE_INDEX]) == "a"


@pytest.mark.parametrize(
    ("marks", "text"),
    [({"train": None, "weight": 0}, "a1"), ({"train": None, "weight": None}, "a0a1"), ({"weight": 1}, "a0a1")],
)
def test_marks_of_tables_may_be_null(tmp_path: Path, marks: dict[str, Any], text: str) -> None:
    messages: list[Any] = [
        {"role": role, "content": f"{role[0]}{turn}"} for turn in range(2) for role in ("user", "assistant")
    ]
    messages[1] |= marks
    data = module(tmp_path, [{"messages": messages}])
    (batch,) = batches(data, "fit")
    labels = batch["labels"][0]
    assert data.tokenizer.decode(labels[labels != IGNORE_INDEX]) == text
    messages[1]["weight"] = 0.5
    with pytest.raises(InputError, match=r"message 2 has weight=0\.5, not 0 or 1"):
        batches(module(tmp_path, [{"messages": messages}]), "fit")


def test_a_date_in_the_template_is_part_of_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    found = []
    for seconds in ("1700000000", "1800000000", "1700000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
        data = module(tmp_path, chat_template=template)
        read = batches(data, "fit")
        found.append((data.identity(), data.tokenizer.decode(read[0]["input_ids"][0])[:11]))
    assert found[0] == found[2]
    assert [text for _, text in found] == ["14 Nov 2023", "15 Jan 2027", "14 Nov 2023"]
    (one, _), (other, _), _ = found
    assert differences(one, other) == [
        "data.train has changed",
        "the environment variable SOURCE_DATE_EPOCH was 1700000000, now it is 1800000000",
    ]
    assert differences(one, {**other, "data.train": one["data.train"]}) == [], "the rows do not have the date"
    for value in ("today", "1700000000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
        with pytest.raises(InputError, match=f"SOURCE_DATE_EPOCH={value} must be a number of seconds since 1970"):
            batches(module(tmp_path, chat_template=template), "fit")
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    data = module(tmp_path)
    batches(data, "fit")
    assert not any("SOURCE_DATE_EPOCH" in key for key in data.identity())
