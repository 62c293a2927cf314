"""Input layout of heads: exported heads in transformers' pipelines and classes, and Hugging Face heads here."""

import itertools
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, PreTrainedTokenizerFast, pipeline

import gpt_lightning as gl
from gpt_lightning.api import Model
from gpt_lightning.data import ReadingComprehension, SequenceTagging, TextClassification, TextRegression
from gpt_lightning.data.base import DataModule
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.huggingface import read_config
from gpt_lightning.tasks import (
    CausalLM,
    QuestionAnswering,
    SequenceClassification,
    SequenceRegression,
    TokenClassification,
)
from gpt_lightning.tasks.export_tokenizer import auto_tokenizer_difference
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from tests.models.huggingface.families import FAMILIES, save_reference
from tests.models.test_gpt import randomize
from tests.tasks.test_written_by_0_1 import ARCHIVE
from tests.tokenizers.kinds import KINDS

TEXTS = [
    "Anna lives in New York, near the river.",
    "It's John's house: don't (ever) go to N'Djamena!",
    "  two blanks  and 12345 numbers 3.5 ",
    "naïve Straße ﬁ e\u0301 東京 👩\u200d🚀",
    "a",
    "U.S. </s> <s> [SEP] <|endoftext|>",
    "rain, wind and snow all day long in the hills of the north",
]
LABELS = ["a", "b", "c"]
TAGS = ["O", "B-X", "I-X"]
_LLAMA: dict[str, Any] = {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "tie_embeddings": False}
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": _LLAMA | {"bias": False},
    "qwen2": _LLAMA | {"bias": "qkv"},
    "qwen3": _LLAMA | {"bias": False, "qk_norm": True},
}
PAIR = {"text_columns": ["premise", "hypothesis"]}
HEADS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "classification": (SequenceClassification, TextClassification, {"labels": LABELS, "pooling": "last"}),
    "multi_label": (
        SequenceClassification,
        TextClassification,
        {"labels": LABELS, "pooling": "last", "multi_label": True},
    ),
    "pairs": (SequenceClassification, TextClassification, {"labels": LABELS, "pooling": "last"}),
    "regression": (SequenceRegression, TextRegression, {"pooling": "last", "target_mean": 7.5, "target_std": 3.0}),
    "tagging": (TokenClassification, SequenceTagging, {"labels": TAGS}),
    "questions": (QuestionAnswering, ReadingComprehension, {}),
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "classification": [{"text": text} for text in TEXTS],
    "multi_label": [{"text": text} for text in TEXTS],
    "regression": [{"text": text} for text in TEXTS],
    "pairs": [{"premise": text, "hypothesis": TEXTS[number - 1]} for number, text in enumerate(TEXTS)],
    "tagging": [{"text": text} for text in TEXTS],
    "questions": [{"question": TEXTS[number - 1], "context": text} for number, text in enumerate(TEXTS)],
}


def data_module(folder: Path, head: str, tokenizer: Path, **arguments: Any) -> DataModule:
    """Return the data module of a head with the rows for ``predict``."""
    rows = folder / f"{head}.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS[head]))
    labels = {name: value for name, value in HEADS[head][2].items() if name in ("labels", "multi_label")}
    pair = PAIR if head == "pairs" else {}
    common = {"test": str(rows), "tokenizer": str(tokenizer), "block_size": 128, "cache_dir": str(folder / "cache")}
    module: DataModule = HEADS[head][1](**{**common, **labels, **pair, **arguments})
    module.setup("predict")
    return module


def exported(folder: Path, head: str, kind: str, shape: str) -> Path:
    """Export a random head with the layout of its data module, and return the model folder."""
    tokenizer = KINDS[kind](TEXTS * 3)
    tokenizer.save(folder / "tokenizer.json")
    data = data_module(folder, head, folder / "tokenizer.json")
    config = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=128, vocab_size=tokenizer.vocab_size, **SHAPES[shape])
    task = HEADS[head][0](backbone=config, layout=data.layout, **HEADS[head][2])
    randomize(task)
    assert Model(task.eval(), tokenizer, folder).save(folder / "model") is None
    return folder / "model"


def batch_of(folder: Path, head: str, model: Model) -> dict[str, Any]:
    """Return all rows as one batch."""
    data = data_module(folder, head, folder / "model" / "tokenizer.json", layout=model.task.layout)
    (batch,) = data.predict_dataloader()
    return dict(batch)


def check(folder: Path, head: str, model: Model, tokenizer: Any, batch_size: int) -> None:
    """Compare the predictions of a head with those of transformers on the same folder."""
    found = model.predict(ROWS[head], **(PAIR if head == "pairs" else {}))
    path = str(folder / "model")
    if head == "tagging":
        pipe = pipeline("token-classification", path, tokenizer=tokenizer, device="cpu", ignore_labels=[])
        words = batch_of(folder, head, model)["words"]
        for record, spans, answer in zip(found, words, pipe(TEXTS, batch_size=batch_size), strict=True):
            assert record["tags"] == [
                next(each["entity"] for each in answer if each["start"] < stop and each["end"] > start)
                for start, stop in spans
            ]
    elif head == "questions":
        reference, batch = AutoModelForQuestionAnswering.from_pretrained(path), batch_of(folder, head, model)
        for number, (row, record) in enumerate(zip(ROWS[head], found, strict=True)):
            encoded = tokenizer(row["question"], row["context"], return_tensors="pt")
            assert (
                encoded["input_ids"][0].tolist() == batch["input_ids"][number][batch["attention_mask"][number]].tolist()
            )
            with torch.no_grad():
                logits = reference(**encoded)
            places = batch["context_mask"][number].nonzero().flatten().tolist()
            pairs = [(i, j) for i in places for j in places if i <= j < i + 30]
            start, end = max(
                pairs, key=lambda span: float(logits.start_logits[0, span[0]] + logits.end_logits[0, span[1]])
            )
            offsets = batch["offsets"][number]
            assert record["answer"] == row["context"][offsets[start, 0] : offsets[end, 1]]
    elif head == "regression":
        pipe = pipeline("text-classification", path, tokenizer=tokenizer, device="cpu")
        config = pipe.model.config
        assert config.problem_type == "regression"
        mean, std = getattr(config, "target_mean", 0.0), getattr(config, "target_std", 1.0)
        values = [answer["score"] * std + mean for answer in pipe(TEXTS, batch_size=batch_size)]
        assert [record["value"] for record in found] == pytest.approx(values, abs=1e-5)
        assert len({round(value, 3) for value in values}) > 1
    else:
        texts: Any = TEXTS
        if head == "pairs":
            texts = [{"text": row["premise"], "text_pair": row["hypothesis"]} for row in ROWS[head]]
        pipe = pipeline("text-classification", path, tokenizer=tokenizer, device="cpu", top_k=None)
        for record, answer in zip(found, pipe(texts, batch_size=batch_size), strict=True):
            assert record["scores"] == pytest.approx({each["label"]: each["score"] for each in answer}, abs=1e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("bpe", "gpt2"),
        ("gpt2", "qwen3"),
        ("llama2", "llama"),
        ("llama3", "qwen2"),
        ("unigram", "gpt2"),
        ("wordpiece", "llama"),
    ],
)
def test_an_exported_head_answers_alike_in_transformers(tmp_path: Path, head: str, kind: str, shape: str) -> None:
    folder = exported(tmp_path, head, kind, shape)
    # AutoTokenizer ignores the class that the folder of a Qwen2 model names.
    loader = PreTrainedTokenizerFast if shape == "qwen2" else AutoTokenizer
    tokenizer = loader.from_pretrained(folder)
    assert tokenizer.padding_side == tokenizer.truncation_side == "right"
    model = gl.load(folder, device="cpu")
    for batch_size in (1, 8):
        check(tmp_path, head, model, tokenizer, batch_size)


def imported(folder: Path, task: str, kind: str, family: str, **config: Any) -> tuple[Any, Any]:
    """Save a random Hugging Face model with a tokenizer in ``folder``/model, and return both as transformers does."""
    tokenizer = KINDS[kind](TEXTS * 3)
    name, shape = FAMILIES[family]
    labels = {"id2label": dict(enumerate(TAGS))} if "Classification" in task else {}
    options = shape | {"vocab_size": tokenizer.vocab_size, "bos_token_id": 0, "eos_token_id": tokenizer.end_of_text_id}
    options |= {"pad_token_id": tokenizer.end_of_text_id, **labels, **config}
    for size in ("max_position_embeddings", "n_positions"):
        options |= {size: 128} if size in options else {}
    reference = getattr(transformers, f"{name}For{task}")(getattr(transformers, f"{name}Config")(**options))
    randomize(reference)
    reference.eval().save_pretrained(folder / "model")
    tokenizer.save(folder / "model" / "tokenizer.json")
    settings = json.loads(
        (folder / "model" / "tokenizer_config.json").read_text() if tokenizer.config.to_dict() else "{}"
    )
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "split_special_tokens": True}
    settings |= {"pad_token": tokenizer.token(tokenizer.end_of_text_id)}
    (folder / "model" / "tokenizer_config.json").write_text(json.dumps(settings))
    return reference, PreTrainedTokenizerFast.from_pretrained(folder / "model")


@pytest.mark.parametrize(
    ("kind", "family", "head"),
    [
        ("llama2", "llama", "classification"),
        ("llama3", "qwen3", "pairs"),
        ("unigram", "gpt2", "classification"),
        ("wordpiece", "llama", "pairs"),
        ("gpt2", "gpt2", "classification"),
        ("llama2", "llama", "regression"),
        ("llama2", "llama", "tagging"),
        ("wordpiece", "qwen3", "tagging"),
        ("llama2", "llama", "questions"),
        ("gpt2", "gpt2", "questions"),
    ],
)
def test_an_imported_head_answers_as_in_transformers(tmp_path: Path, kind: str, family: str, head: str) -> None:
    task = {"tagging": "TokenClassification", "questions": "QuestionAnswering"}.get(head, "SequenceClassification")
    labels = {"id2label": {0: "LABEL_0"}, "problem_type": "regression"} if head == "regression" else {}
    _, tokenizer = imported(tmp_path, task, kind, family, **labels)
    check(tmp_path, head, gl.load(tmp_path / "model", device="cpu"), tokenizer, 8)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["llama2", "wordpiece"])
def test_long_texts_and_pairs_are_truncated_as_in_transformers(tmp_path: Path, kind: str, side: str) -> None:
    """The lengths have every parity and order; the layout adds one to three tokens."""
    tokenizer = KINDS[kind](TEXTS * 3)
    tokenizer = Tokenizer(
        tokenizers.Tokenizer.from_str(json.dumps(tokenizer.state())), replace(tokenizer.config, truncation_side=side)
    )
    tokenizer.save(tmp_path / "tokenizer.json")
    reference = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    layout = InputLayout().complete(tokenizer, ends_with_token=False)
    words = TEXTS[-1].split()
    for first, second, size in itertools.product(range(1, 13, 2), range(0, 13, 2), (16, 17, 40)):
        texts = [" ".join(words[:length]) for length in (first, second) if length]
        expected = reference(*texts, truncation=True, max_length=size)["input_ids"]
        assert layout.input_ids(tokenizer.encode_batch(texts), size).tolist() == expected


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2", "qwen3", "olmo2", "gemma3", "smollm3"])
@pytest.mark.parametrize("kind", ["bpe", "llama2"])
def test_exported_tokenizers_give_the_same_ids_in_every_family(tmp_path: Path, kind: str, family: str) -> None:
    """A difference that ``AutoTokenizer`` makes in spite of the configuration is printed with both ids."""
    save_reference(tmp_path / "base", family)
    tokenizer = KINDS[kind](TEXTS * 3)
    tokenizer.save(tmp_path / "base" / "tokenizer.json")
    pretrained = read_config(tmp_path / "base")
    task = CausalLM(backbone=replace(pretrained.config, vocab_size=tokenizer.vocab_size))
    folder = tmp_path / "model"
    assert Model(task, tokenizer, tmp_path / "base").save(folder) is None
    assert json.loads((folder / "config.json").read_text())["model_type"] == getattr(
        pretrained.family, "model_type", None
    )
    difference = auto_tokenizer_difference(task, tokenizer)
    texts = [*TEXTS, "12345 67", "x\n\n  y", "e\u0301"]
    loaded = [AutoTokenizer, PreTrainedTokenizerFast] if difference is None else [PreTrainedTokenizerFast]
    for each in loaded:
        reference = each.from_pretrained(folder)
        for text in texts:
            ids = reference(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            assert ids == tokenizer.encode(text), text
    assert (difference is not None) == (family == "qwen2")
    if difference is not None:
        assert difference in (folder / "README.md").read_text()
        counts = re.search(r"as (\d+) ids .* trained with (\d+)", difference)
        assert counts is not None
        ids = AutoTokenizer.from_pretrained(folder)("12345 3.5", add_special_tokens=False)["input_ids"]
        assert [int(count) for count in counts.groups()] == [len(ids), len(tokenizer.encode("12345 3.5"))]


def test_heads_of_earlier_versions_keep_their_layout(tmp_path: Path) -> None:
    """They put the end-of-text token in front, whatever their tokenizer adds."""
    zipfile.ZipFile(ARCHIVE).extractall(tmp_path)
    assert gl.load(tmp_path / "classifier.ckpt", device="cpu").task.layout == InputLayout(version=1)
    tokenizer = KINDS["llama2"](TEXTS)
    line_end = tokenizer.encode("\n")
    assert InputLayout(version=1).complete(tokenizer, ends_with_token=True).parts == ([2], line_end, [2])
    assert InputLayout(version=1).complete(tokenizer, ends_with_token=False).parts == ([2], line_end, [])
    assert InputLayout().complete(tokenizer, ends_with_token=True).parts == ([1], [1], [2])


def test_a_token_outside_of_the_vocabulary_is_refused() -> None:
    tokenizer = KINDS["bytes"](TEXTS)
    with pytest.raises(InputError, match="the token id 999 is outside of the vocabulary of 257 tokens"):
        InputLayout(prefix=[999]).complete(tokenizer, ends_with_token=False)
    with pytest.raises(InputError, match=r"layout\.suffix=\[-1\] must be a list of token ids"):
        InputLayout(suffix=[-1])
