"""Packed blocks: the predicted tokens, their order, padding and errors."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data.packing import PackedBlocks
from gpt_lightning.data.permutation import Permutation
from gpt_lightning.data.shards import TokenStream, tokenize
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import bytes_tokenizer

END = 256
DOCUMENTS = ["first", "汉字 é", "a longer one, over several blocks", "last"]


class Numbers:
    """Token stream in which each token is its position."""

    checksum = "numbers"

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def slice(self, start: int, stop: int) -> NDArray[np.int64]:
        assert 0 <= start <= stop <= self.length
        return np.arange(start, stop)


def numbers(length: int, block_size: int, **arguments: Any) -> PackedBlocks:
    token_bytes = np.arange(length, dtype=np.int64) % 5 + 1
    defaults: dict[str, Any] = {"token_bytes": token_bytes, "end_of_text_id": 0}
    return PackedBlocks(cast(TokenStream, Numbers(length)), block_size=block_size, **(defaults | arguments))


def text(folder: Path, block_size: int, **arguments: Any) -> PackedBlocks:
    """Return the blocks of ``DOCUMENTS``, tokenized as bytes."""
    path = folder / "text.jsonl"
    path.write_text("".join(json.dumps({"text": document}) + "\n" for document in DOCUMENTS))
    tokenizer = bytes_tokenizer()
    shards = tokenize(
        str(path), split="train", text_column="text", tokenizer=tokenizer, cache_dir=folder / "cache", shard_tokens=30
    )
    defaults: dict[str, Any] = {"token_bytes": tokenizer.token_bytes, "end_of_text_id": tokenizer.end_of_text_id}
    return PackedBlocks(TokenStream(shards), block_size=block_size, **(defaults | arguments))


def all_blocks(rows: PackedBlocks, epoch: int = 0) -> Any:
    return rows.batch(epoch, np.arange(len(rows)))


@pytest.mark.parametrize("length", [2, 3, 8, 9, 10, 16, 17, 18, 101])
@pytest.mark.parametrize("block_size", [1, 7, 8])
def test_without_a_seed_every_token_but_the_first_is_predicted_once(length: int, block_size: int) -> None:
    batch = all_blocks(numbers(length, block_size))
    labeled = batch["labels"] != IGNORE_INDEX
    assert batch["labels"].shape == batch["input_ids"].shape == (-(-(length - 1) // block_size), block_size)
    assert batch["labels"][labeled].tolist() == list(range(1, length))
    assert batch["input_ids"][labeled].tolist() == list(range(length - 1))
    assert labeled.flatten().tolist() == sorted(labeled.flatten().tolist(), reverse=True)
    assert batch["num_bytes"].tolist() == ((batch["labels"] % 5 + 1) * labeled).sum(1).tolist()
    for epoch in (1, 2):
        assert all_blocks(numbers(length, block_size), epoch)["labels"].equal(batch["labels"])


@pytest.mark.parametrize(
    ("length", "block_size"), [(9, 8), (10, 8), (16, 8), (17, 8), (24, 8), (101, 7), (5, 1), (997, 32)]
)
def test_a_shuffled_epoch_omits_less_than_a_block(length: int, block_size: int) -> None:
    rows = numbers(length, block_size, seed=3)
    for epoch in range(4):
        batch = all_blocks(rows, epoch)
        labels = batch["labels"].flatten()
        assert (labels == (batch["input_ids"].flatten() + 1) % length).all(), "each label follows its input, in a ring"
        assert len(labels) == len(set(labels.tolist())), "no token is predicted twice"
        assert 0 <= length - len(labels) < block_size
        assert batch["num_bytes"].tolist() == (batch["labels"] % 5 + 1).sum(1).tolist()


def test_epochs_and_seeds_differ_in_order_and_in_borders() -> None:
    orders, borders = set(), set()
    for seed in range(3):
        rows = numbers(1000, 16, seed=seed)
        for epoch in range(20):
            starts = all_blocks(rows, epoch)["input_ids"][:, 0]
            orders.add(tuple(starts.tolist()))
            borders |= set((starts % 1000 % 16).tolist())
            assert all_blocks(numbers(1000, 16, seed=seed), epoch)["input_ids"][:, 0].equal(starts), "deterministic"
            assert starts.tolist() != sorted(starts.tolist())
    assert len(orders) == 60
    assert len(borders) > 10  # of 16


def test_any_indices_give_the_rows_of_the_epoch() -> None:
    rows = numbers(200, 8, seed=0)
    for epoch in (0, 5):
        batch = all_blocks(rows, epoch)
        selected = rows.batch(epoch, np.array([7, 0, 24]))
        assert selected["input_ids"].equal(batch["input_ids"][[7, 0, 24]])
        assert selected["labels"].equal(batch["labels"][[7, 0, 24]])


def test_the_chunks_of_a_long_order_equal_the_permutation() -> None:
    """Batches cross the borders of chunks, and an order of another size is used in between."""
    size = 2500
    rows, other = numbers(2 * size, 2, seed=3), numbers(2 * size - 2, 2, seed=3)
    for epoch in (0, 1):
        order = Permutation(size, 3, epoch)
        offset = int(rows.batch(epoch, np.array([0]))["input_ids"][0, 0]) - 2 * int(order[np.array([0])][0])
        for first, count in ((0, 5), (1020, 8), (2048, 3), (1000, 1500), (2490, 10), (1023, 1), (1024, 1)):
            places = np.arange(first, first + count)
            starts = rows.batch(epoch, places)["input_ids"][:, 0].numpy()
            assert (starts == (2 * order[places] + offset) % (2 * size)).all()
            other.batch(epoch, places[:1])


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("mask_documents", [False, True])
@pytest.mark.parametrize("indices", [[], [1, 0]])
def test_padding_rows_have_neither_labels_nor_bytes(seed: int | None, mask_documents: bool, indices: list[int]) -> None:
    rows = numbers(50, 8, seed=seed, mask_documents=mask_documents)
    batch = rows.batch(2, np.array(indices, dtype=np.int64), num_padding=3)
    size = len(indices)
    assert len(batch.pop("ids")) == size
    assert {value.size(0) for value in batch.values()} == {size + 3}  # type: ignore[attr-defined]
    assert (batch["labels"][size:] == IGNORE_INDEX).all()
    assert not batch["num_bytes"][size:].any()
    assert ((batch["input_ids"] >= 0) & (batch["input_ids"] < 50)).all()
    assert batch["input_ids"][:size].equal(rows.batch(2, np.array(indices, dtype=np.int64))["input_ids"])


def test_blocks_of_text_without_a_seed(tmp_path: Path) -> None:
    rows = text(tmp_path, 8)
    stream = [token for document in DOCUMENTS for token in (END, *document.encode())] + [END]
    batch = all_blocks(rows)
    labeled = batch["labels"] != IGNORE_INDEX
    assert batch["labels"][labeled].tolist() == stream[1:]
    assert batch["input_ids"][labeled].tolist() == stream[:-1]
    assert int(batch["num_bytes"].sum()) == sum(len(document.encode()) for document in DOCUMENTS)
    assert "document_ids" not in batch


@pytest.mark.parametrize("seed", [None, 0])
def test_document_ids_increase_at_the_start_of_each_document(tmp_path: Path, seed: int | None) -> None:
    batch = all_blocks(text(tmp_path, 8, mask_documents=True, seed=seed), epoch=1)
    for ids, documents in zip(batch["input_ids"].tolist(), batch["document_ids"].tolist(), strict=True):
        for position in range(1, 8):
            assert documents[position] - documents[position - 1] == (ids[position] == END)
    assert len(set(batch["document_ids"].flatten().tolist())) > 1


@pytest.mark.parametrize("length", [1, 7, 8])
def test_too_little_training_text_is_refused(length: int) -> None:
    with pytest.raises(InputError, match=rf"the training text has only {length} tokens, but at least 9 are needed"):
        numbers(length, 8, seed=0)
    assert len(numbers(9, 8, seed=0)) == 1


def test_block_ids_are_token_ranges() -> None:
    blocks = numbers(101, 8, seed=3)
    batch = blocks.batch(2, np.array([0, 5, 11]), num_padding=1)
    assert len(batch["ids"]) == 3
    for name, row in zip(batch["ids"], batch["input_ids"].tolist(), strict=False):
        first, last = map(int, name.removeprefix("tokens ").split("-"))
        assert (first % 101, (last - 1) % 101) == (row[0], row[-1])
