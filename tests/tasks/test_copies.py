"""Heads that read their texts twice (``layout.copies``): labels, predictions, checkpoints and refusals."""

import itertools
import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

import gpt_lightning as gl
from gpt_lightning.api import Model
from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data import ReadingComprehension, SequenceTagging, TextClassification, TextRegression, TextToText
from gpt_lightning.data.base import DataModule
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.explanation import Explainer
from gpt_lightning.models import GPTConfig
from gpt_lightning.tasks import QuestionAnswering, Task, TokenClassification
from gpt_lightning.tokenizers.build import bytes_tokenizer
from gpt_lightning.tokenizers.layout import InputLayout
from tests.data.drive import batches, write_rows
from tests.heads import TAGS, CommandLine
from tests.models.test_gpt import randomize

TWICE = InputLayout(prefix=[256, 1], separator=[2], suffix=[3, 256], copies=2)
LONG = ([f"{number:02}" for number in range(40)], ["B-LOC", "I-LOC"] * 20)
CONTEXT = "Anna lives in 東京, where the lights never go out. Bob lives in Rome."
QUESTIONS: list[dict[str, Any]] = [
    {"question": "Where?", "context": CONTEXT, "answers": [{"text": "東京", "answer_start": 14}]},
    {"question": "Who?", "context": CONTEXT, "answers": [{"text": "Bob", "answer_start": CONTEXT.index("Bob")}]},
    {"question": "Why?", "context": CONTEXT, "answers": []},
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def module(kind: Any, folder: Path, rows: list[dict[str, Any]], **arguments: Any) -> Any:
    path = write_rows(folder / "rows.jsonl", rows)
    defaults: dict[str, Any] = {"tokenizer": "bytes", "block_size": 64, "seed": 0, "cache_dir": str(folder / "cache")}
    return kind(train=path, test=path, **(defaults | arguments))


def tagged_rows() -> list[dict[str, Any]]:
    return [{"tokens": words, "tags": tags} for words, tags in [*TAGS, LONG]]


def copies_of(ids: list[int]) -> list[int]:
    """Return one of the two copies of an input with the layout ``TWICE``, after a check that they are equal."""
    inner = ids[2:-2]
    half = len(inner) // 2
    assert ids == [256, 1, *inner[:half], 2, *inner[:half], 3, 256]
    return inner[:half]


# --- Batches


@pytest.mark.parametrize("pooling", ["first", "last"])
@pytest.mark.parametrize("block_size", [40, 128, 512])
def test_labels_of_words_are_on_the_last_copy(
    tmp_path: Path, block_size: int, pooling: Literal["first", "last"]
) -> None:
    sizes = {"block_size": block_size, "stride": 4, "pooling": pooling}
    data = module(SequenceTagging, tmp_path, tagged_rows(), layout=TWICE, **sizes)
    found: dict[str, list[tuple[str, str]]] = {}
    num_windows = 0
    for batch in batches(data, "test"):
        for row, place in enumerate(batch["examples"].tolist()):
            ids = batch["input_ids"][row][batch["attention_mask"][row]].tolist()
            copy, labels, text = copies_of(ids), batch["labels"][row], batch["texts"][place]
            assert len(ids) <= block_size
            begin = 2 + len(copy) + 1
            assert (labels[:begin] == IGNORE_INDEX).all()
            assert (labels[begin + len(copy) :] == IGNORE_INDEX).all()
            # The tokens are bytes of ASCII texts, so positions in the last copy are characters of the window.
            offset = text.index(data.tokenizer.decode(copy))
            words = {
                (start if pooling == "first" else stop - 1): text[start:stop] for start, stop in batch["words"][place]
            }
            assert (labels != IGNORE_INDEX).tolist() == batch["scored"][row].tolist()
            for position in batch["scored"][row].nonzero().flatten().tolist():
                character = position - begin + offset
                tag = data.labels[int(labels[position])]
                found.setdefault(batch["ids"][place], []).append((words[character], tag))
            num_windows += 1
    expected = [list(zip(words, tags, strict=True)) for words, tags in [*TAGS, LONG]]
    assert [found[str(number)] for number in range(len(expected))] == expected
    assert (num_windows > len(expected)) == (block_size < 512)


def test_a_window_of_both_copies_fills_the_block(tmp_path: Path) -> None:
    data = module(SequenceTagging, tmp_path, tagged_rows(), layout=TWICE, block_size=41, stride=4)
    assert max(batch["input_ids"].size(1) for batch in batches(data, "test")) == 41
    assert InputLayout(prefix=[0], separator=[0], suffix=[]).copy_size(41) == 40


def test_both_layouts_label_the_same_words(tmp_path: Path) -> None:
    labels = []
    for copies in (1, 2):
        data = module(SequenceTagging, tmp_path, tagged_rows(), layout=InputLayout(copies=copies), stride=4)
        read = batches(data, "fit")
        numbers = (batch["labels"][batch["labels"] != IGNORE_INDEX].tolist() for batch in read)
        labels.append((data.label_counts(), sorted(itertools.chain(*numbers))))
    assert labels[0] == labels[1]
    assert len(labels[0][1]) == sum(len(tags) for _, tags in [*TAGS, LONG])


@pytest.mark.parametrize("block_size", [110, 400])
def test_answers_are_in_the_last_copy(tmp_path: Path, block_size: int) -> None:
    data = module(ReadingComprehension, tmp_path, QUESTIONS, layout=TWICE, block_size=block_size, stride=20)
    found = dict[str, set[str]]()
    num_windows = 0
    for batch in batches(data, "test"):
        for row, place in enumerate(batch["examples"].tolist()):
            ids = batch["input_ids"][row][batch["attention_mask"][row]].tolist()
            copy, context = copies_of(ids), batch["contexts"][place]
            question = [*data.tokenizer.encode(batch["questions"][place]), 2]
            assert len(ids) <= block_size
            assert copy[: len(question)] == question
            begin = 2 + len(copy) + 1 + len(question)
            mask = batch["context_mask"][row]
            assert not mask[:begin].any()
            assert not mask[begin + len(copy) - len(question) :].any()
            encoded, offsets = context.encode(), batch["offsets"][row]
            first = encoded.index(bytes(copy[len(question) :]))
            for position in mask.nonzero().flatten().tolist():
                start, end = offsets[position].tolist()
                byte = first + position - begin
                assert len(context[:start].encode()) <= byte < len(context[:end].encode())
            assert int(batch["null_positions"][row]) == len(ids) - 1
            start, end = int(batch["start_positions"][row]), int(batch["end_positions"][row])
            answers = found.setdefault(batch["questions"][place], set())
            if start != len(ids) - 1:
                assert mask[start]
                assert mask[end]
                answers.add(context[int(offsets[start, 0]) : int(offsets[end, 1])])
            num_windows += 1
    assert found == {"Where?": {"東京"}, "Who?": {"Bob"}, "Why?": set()}
    assert (num_windows > len(QUESTIONS)) == (block_size < 400)


def test_a_block_too_small_for_two_copies_is_refused(tmp_path: Path) -> None:
    data = module(ReadingComprehension, tmp_path, QUESTIONS, layout=TWICE, block_size=80, stride=30)
    message = r"block_size=80 for two copies leaves 30 tokens for the context, not more than --data\.stride=30"
    with pytest.raises(InputError, match=message):
        batches(data, "test")


# --- Models


def model(folder: Path, kind: type[Task], **arguments: Any) -> Model:
    """Return a random causal model that reads texts twice."""
    torch.manual_seed(0)
    config = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=160, vocab_size=257)
    task = kind(backbone=config, layout=TWICE, **arguments)
    randomize(task)
    return Model(task.eval(), bytes_tokenizer(), folder)


def tagger(folder: Path) -> Model:
    return model(folder, TokenClassification, labels=["O", "B-X", "I-X"], pooling="last", word_rules=[])


@pytest.mark.parametrize("head", ["tags", "answers"])
def test_predictions_in_a_batch_equal_single_ones(tmp_path: Path, head: str) -> None:
    if head == "tags":
        found = tagger(tmp_path)
        rows: list[dict[str, Any]] = [{"tokens": words} for words, _ in [*TAGS, LONG]]
    else:
        found = model(tmp_path, QuestionAnswering)
        rows = [{key: row[key] for key in ("question", "context")} for row in QUESTIONS]
        rows.append({"question": "What?", "context": CONTEXT * 3})
    together = found.predict(rows, batch_size=8, stride=10)
    for record, row in zip(together, rows, strict=True):
        (single,) = found.predict([row], stride=10)
        assert flat(record) == pytest.approx(flat(single), abs=1e-5)
        if head == "answers":
            assert all(row["context"][each["start"] : each["end"]] == each["text"] for each in record["n_best"])
            assert any(each["end"] > each["start"] for each in record["n_best"])
        else:
            assert len(record["tags"]) == len(row["tokens"])


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return nested values by their path, without the id."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            key: each for part, inner in items if part != "id" for key, each in flat(inner, f"{name}.{part}").items()
        }
    return {name: value}


def test_the_first_word_of_a_causal_model_depends_on_the_last_one(tmp_path: Path) -> None:
    for copies in (1, 2):
        found = tagger(tmp_path)
        layout = InputLayout(**{**vars(TWICE), "copies": copies})
        rows = [{"tokens": ["Anna", "lives", last], "tags": ["O"] * 3} for last in ("here", "long")]
        data = module(SequenceTagging, tmp_path, rows, layout=layout, pooling="last", labels=["O", "B-X", "I-X"])
        (batch,) = batches(data, "test")
        logits = found.task(batch["input_ids"], batch["attention_mask"], batch["scored"]).view(2, 3, 3)
        assert torch.allclose(logits[0, 0], logits[1, 0], atol=1e-6) == (copies == 1)


def test_a_model_keeps_its_layout(run: CommandLine) -> None:
    folder = run.fit("tags", "--data.layout.copies=2")
    trained = gl.load(folder, device="cpu")
    assert trained.task.layout.copies == 2
    rows = [{"tokens": words} for words, _ in TAGS]
    expected = trained.predict(rows)
    flags = ["--input=tags.jsonl", "--output=out.jsonl", "--trainer.accelerator=cpu"]
    assert run("predict", "--model", str(folder), *flags) == 0, run.err
    found = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [each["tags"] for each in found] == [each["tags"] for each in expected]
    assert run("test", "-c", "tags.yaml", f"--ckpt_path={folder}", "--trainer.accelerator=cpu") == 0, run.err
    tested = json.loads((folder / "metrics.json").read_text())["metrics"]
    gold = [tag for _, tags in TAGS for tag in tags]
    right = sum(
        tag == each for tag, each in zip(gold, itertools.chain(*(each["tags"] for each in expected)), strict=True)
    )
    assert tested["token_accuracy"] == pytest.approx(right / len(gold))
    assert run("export", str(folder), "exported") == 0, run.err
    assert "reads each text twice (layout.copies=2)" in run.out + run.err
    assert not Path("exported/config.json").exists()
    exported = gl.load(Path("exported"), device="cpu")
    assert exported.task.layout.copies == 2
    assert flat(exported.predict(rows)) == pytest.approx(flat(expected), abs=1e-5)


# --- Refusals


@pytest.mark.parametrize("kind", [TextClassification, TextRegression, TextToText])
def test_other_heads_read_their_texts_once(kind: type[DataModule]) -> None:
    arguments: dict[str, Any] = {"layout": InputLayout(copies=2)}
    message = rf"^layout\.copies=2: {kind.__name__} reads each text once\. Leave out --data\.layout\.copies"
    with pytest.raises(InputError, match=message):
        kind(**arguments)


def test_the_command_refuses_other_heads(run: CommandLine) -> None:
    with pytest.raises(AssertionError, match=r"layout\.copies=2: TextClassification reads each text once"):
        run.fit("topics", "--data.layout.copies=2")


def test_explanations_and_embeddings_refuse_two_copies(tmp_path: Path) -> None:
    found = tagger(tmp_path)
    with pytest.raises(InputError, match=r"layout\.copies=2: embed reads each text once\. Use a model"):
        found.embed(["rain"])
    with pytest.raises(InputError, match=r"layout\.copies=2: explain reads each text once\. Use a model"):
        Explainer(found.task, found.tokenizer)


def test_more_copies_are_refused() -> None:
    copies: Any = 3
    with pytest.raises(InputError, match=r"layout\.copies=3 must be 1 or 2"):
        InputLayout(copies=copies)


def test_a_continued_head_keeps_its_copies(run: CommandLine) -> None:
    first = run.fit("tags", "--data.layout.copies=2")
    for number, flags, copies in ((1, (), 2), (2, ("--data.layout.copies=1",), 1)):
        assert run("fit", "-c", "tags.yaml", f"--model.init_from={first}", *flags) == 0, run.err
        assert ("data.layout.copies=1 (not 2)" in run.out) == bool(flags)
        assert gl.load(f"logs/tags/version_{number}").task.layout.copies == copies
