"""Pairs of texts: batches, truncation, references, and invalid rows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data import TextToText
from gpt_lightning.errors import InputError
from tests.data.drive import attach, batches, write_rows
from tests.pairs import seq2seq
from tests.tokenizers.published import write_tokenizer

ROWS = [{"id": str(n), "en": f"source {n}" * (1 + n % 3), "fr": [f"cible {n}", "autre"]} for n in range(10)]
END = 256


def module(folder: Path, rows: list[Any] = ROWS, **arguments: Any) -> TextToText:
    path = write_rows(folder / "rows.jsonl", rows)
    defaults: dict[str, Any] = {
        **dict.fromkeys(("train", "validation", "test"), path),
        "template": "{en}",
        "target": "fr",
        "tokenizer": "bytes",
        "block_size": 64,
        "batch_size": 4,
        "seed": 0,
        "cache_dir": str(folder / "cache"),
    }
    return TextToText(**(defaults | arguments))


def text(data: TextToText, ids: torch.Tensor) -> str:
    return data.tokenizer.decode(ids[ids >= 0])


def test_batches(tmp_path: Path) -> None:
    data = module(tmp_path)
    seen = []
    for batch in batches(data, "fit"):
        assert "references" not in batch
        for row, name in enumerate(batch["ids"]):
            source = batch["input_ids"][row][batch["attention_mask"][row]]
            assert (int(source[0]), text(data, source[1:])) == (END, ROWS[int(name)]["en"])
            labels = batch["labels"][row]
            count = int((labels != IGNORE_INDEX).sum())
            assert text(data, labels) == f"cible {name}"
            assert int(labels[count - 1]) == END, "the end is trained"
            assert batch["decoder_input_ids"][row][:count].tolist() == [END, *labels[: count - 1].tolist()]
            assert batch["num_bytes"][row] == len(f"cible {name}")
            seen.append(name)
    assert sorted(seen) == [str(n) for n in range(10)]


def test_evaluation_has_references_first(tmp_path: Path) -> None:
    data = module(tmp_path, generate_examples=3)
    read = batches(data, "test")
    assert [len(batch["references"]) for batch in read] == [3, 0, 0]
    assert read[0]["references"] == [[f"cible {name}", "autre"] for name in read[0]["ids"][:3]]
    assert data.stop_ids == (END,)
    assert data.decoder_start_ids == [END]


def test_prediction_needs_no_target(tmp_path: Path) -> None:
    (batch,) = batches(module(tmp_path, [{"en": "a"}, {"en": "b"}]), "predict")
    assert batch["ids"] == ["0", "1"]
    assert (batch["labels"] == IGNORE_INDEX).all()
    assert batch["decoder_input_ids"].tolist() == [[END], [END]]


def test_padding_changes_no_loss(tmp_path: Path) -> None:
    """A batch has the summed loss of its rows one by one, and rows of padding add nothing."""
    data, task = module(tmp_path), seq2seq(257).double().eval()

    def total(batch: Any) -> float:
        return float(task.step(batch, "train").detach() * (batch["labels"] != IGNORE_INDEX).sum())

    expected = sum(map(total, batches(module(tmp_path, batch_size=1), "fit")))
    assert sum(map(total, batches(data, "fit"))) == pytest.approx(expected, rel=1e-9)
    found = 0.0
    for rank in range(3):
        attach(data, "fit", rank=rank, world_size=3)
        data.setup("fit")
        found += sum(map(total, data.train_dataloader()))
    assert found == pytest.approx(expected, rel=1e-9)


def test_start_tokens_of_a_published_model(tmp_path: Path) -> None:
    """BART's targets start with two tokens, of which the second is no label."""
    folder = write_tokenizer(tmp_path / "model", "gpt2")
    (folder / "generation_config.json").write_text(json.dumps({"decoder_start_token_id": 2, "forced_bos_token_id": 0}))
    data = module(tmp_path, tokenizer=str(folder))
    assert data.decoder_start_ids == [2, 0]
    (batch, *_) = batches(data, "fit")
    assert batch["decoder_input_ids"][:, :2].tolist() == [[2, 0]] * 4
    assert (batch["labels"][:, 0] == IGNORE_INDEX).all()
    assert batch["labels"][:, 1].equal(batch["decoder_input_ids"][:, 2])
    (folder / "generation_config.json").write_text(json.dumps({"decoder_start_token_id": 10**6}))
    (tmp_path / "other").mkdir()
    without = module(tmp_path / "other", tokenizer=str(folder))
    assert without.decoder_start_ids == [without.tokenizer.end_of_text_id]


def test_long_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"en": "abc" * 30, "fr": "d"}, {"en": "a", "fr": "e" * 30}]
    path = re.escape(str(tmp_path / "rows.jsonl"))
    with pytest.raises(InputError, match=rf"^{path}:2: its target has 31 tokens, more than fit block_size=20; raise"):
        batches(module(tmp_path, rows, block_size=20), "fit")
    data = module(tmp_path, rows, block_size=20, on_bad_row="skip")
    (batch,) = batches(data, "fit")
    assert text(data, batch["input_ids"][0]) == ("abc" * 30)[:19]
    assert "train: 1 rows, 2 trained tokens (9.1% of 22), 1 rows cut, 1 rows dropped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "arguments", "reason"),
    [
        ({"en": "a"}, {}, "no column 'fr'"),
        ({"en": "a", "fr": " "}, {}, "column 'fr' is ' ', not a text or a list of texts that are not empty"),
        ({"messages": []}, {"template": None, "target": None}, "no column 'instruction' and 'output', or 'prompt'"),
    ],
)
def test_invalid_rows(tmp_path: Path, row: dict[str, Any], arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=rf"rows.jsonl:1: .*{reason}"):
        batches(module(tmp_path, [row], **arguments), "fit")


def test_the_target_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data.target=en is also a column of --data.template"):
        module(tmp_path, target="en")
