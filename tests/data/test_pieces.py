"""Long documents, which are encoded in pieces, have the ids of the whole, for every kind of tokenizer."""

import json
import random
from pathlib import Path

import pytest

from gpt_lightning.data.shards import TokenStream, tokenize
from gpt_lightning.data.sources import source
from tests.reliability.conftest import many
from tests.tokenizers.published import TEXT
from tests.tokenizers.test_stream import KINDS, tokenizer_of

PARTS = [
    *TEXT.split(" ")[:60],
    *("\n", "\n\n", "\n\n\n", "  \n ", " ", "   ", "\t", "\r\n", "é", "e\u0301", "日本語", "👍🏽", "don't", "a" * 20),
    *("0123456789", "▁", "</s>", "ﬁ", " .", "!!!", "\u00a0"),
]


def document(rng: random.Random) -> str:
    """Return a text with and without blanks between its parts."""
    parts = rng.choices(PARTS, k=rng.randrange(200, 700))
    return "".join(part + rng.choice((" ", " ", "", "\n" * (rng.random() < 0.1))) for part in parts)


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_have_the_ids_of_the_whole(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PIECE_CHARACTERS", 600)
    tokenizer, rng = tokenizer_of(kind), random.Random(0)
    documents = [document(rng) for _ in range(many(12, 400))]
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    folder = tokenize(str(path), split="train", text_column="text", tokenizer=tokenizer, cache_dir=tmp_path)
    stream = TokenStream(folder)
    expected = [index for text in documents for index in (tokenizer.end_of_text_id, *tokenizer.encode(text))]
    assert stream.slice(0, len(stream)).tolist() == [*expected, tokenizer.end_of_text_id]
    assert stream.num_bytes == sum(len(text.encode()) for text in documents)
