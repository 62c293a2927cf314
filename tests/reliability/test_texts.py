"""Difficult texts, through every command that reads or writes text.

Two collections cannot be shipped with the repository. If GPT_LIGHTNING_DATA names a folder with ``naughty_strings``
and ``json_test_suite``, their texts are tested too.
"""

import base64
import csv
import gzip
import io
import json
import os
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from gpt_lightning.cli import main
from gpt_lightning.data.labels import BLANKS, canonical, clean_name
from gpt_lightning.data.word_split import split_words
from gpt_lightning.tokenizers.build import load_tokenizer
from tests.heads import CLASSES, CommandLine
from tests.reliability.conftest import many, tally

pytestmark = pytest.mark.reliability

DATA: Final = os.environ.get("GPT_LIGHTNING_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="GPT_LIGHTNING_DATA is not set")

DIFFICULT: Final = [
    "",
    " \t\u00a0\u3000\u2003 ",
    "\x00",
    "a\x00b\x01\x1b[31mred\x7f",
    "one\r\ntwo\rthree\nfour",
    "\u0085 next \u2028 line \u2029 ends \x0b\x0c\x1c\x1d\x1e",
    "\ufeffa mark\ufeff inside",
    "half \ud83d of a pair",
    "\udc00",
    "\udfff\ud800",
    "שלום world, مرحبا \u202eesrever\u202c",
    "e\u0301 n\u0303 A\u030a and Z" + "\u0300\u0323" * 40,
    "\u0301 begins with a mark",
    "ﬁ ſ ß İ ı Ǆ ΐ",
    "👩‍👩‍👧‍👦 👍🏽 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇫🇷🇩🇪🇯",
    "日本語の文章。中文,한국어 ไทย",
    "\u200b\u200d\u2060\u00ad",
    "\U0010ffff \uffff \ue000 \ufffd",
    "<|endoftext|> </s> [UNK] <pad> <0x0A>",
    "Ġhello Ċ ▁world ##ing",
    "null",
    "- [1, {a: !!python/none }] # &x *x",
    "${oc.env:HOME} {0} %s %(a)s $HOME `id`",
    "--help",
    "-",
    '=1+1;"\'\\",|\t,',
    "nan",
    "1e999",
    "9" * 5000,
    "٣",
    "../../etc/passwd\\..\\",
    "<script>alert(1)</script> | **x** `y`",
    "a" * 3000,
    "word " * 600,
    "\n" * 700,
]
"""Strings that often break programs."""

DEEP_LIST: Final = b"[" * 100_000


def collection(name: str) -> list[dict[str, Any]]:
    """Return the rows of a collection."""
    with (Path(str(DATA)) / name / "test.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(params=["own", pytest.param("naughty_strings", marks=needs_data)])
def texts(request: pytest.FixtureRequest) -> list[str]:
    return DIFFICULT if request.param == "own" else [row["text"] for row in collection(request.param)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def replace_surrogates(text: str) -> str:
    """Return a text as it is read: U+FFFD replaces lone surrogates, which UTF-8 cannot represent."""
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSON lines with a byte order mark and CRLF line ends; escape the characters of every second line."""
    lines = [
        json.dumps(row, ensure_ascii=bool(number % 2) or json.dumps(row) != json.dumps(replace_in_strings(row)))
        for number, row in enumerate(rows)
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())


def replace_in_strings(value: Any) -> Any:
    """Apply ``replace_surrogates`` to every string in a value."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, list):
        return [replace_in_strings(each) for each in value]
    return {name: replace_in_strings(each) for name, each in value.items()} if isinstance(value, dict) else value


def write_config(folder: Path, model: str, data: str, experiment: str = "odd", **settings: Any) -> None:
    """Write the configuration of a tiny run on ``rows.jsonl``, with a few steps and one validation."""
    trainer = {"accelerator": "cpu", "devices": 1, "max_steps": 30, "log_every_n_steps": 10, "val_check_interval": 30}
    files = {} if "train" in settings else dict.fromkeys(("train", "validation", "test"), "rows.jsonl")
    config = {
        "experiment": experiment,
        "trainer": {**trainer, "check_val_every_n_epoch": None},
        "model": {
            "class_path": model,
            "init_args": {
                "backbone": {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 128},
                "optimizer": {"lr": 0.05},
            },
        },
        "data": {"class_path": data, "init_args": {"batch_size": 8, "cache_dir": "cache", **files, **settings}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def predictions(run: CommandLine, experiment: str = "odd") -> list[dict[str, Any]]:
    """Run fit, test and predict, and return the predictions."""
    assert run("fit", "-c", "config.yaml") == 0, run.err
    checkpoint = f"--ckpt_path=logs/{experiment}/version_0"
    assert run("test", "-c", "config.yaml", checkpoint) == 0, run.err
    assert run("predict", "-c", "config.yaml", checkpoint, "--overwrite") == 0, run.err
    written = (run.folder / "predictions.jsonl").read_text(encoding="utf-8")
    assert written.splitlines() == written.split("\n")[:-1], "readers must agree on the lines"
    return [json.loads(line) for line in written.splitlines()]


# --- tokenizers, pretraining, prompts


@pytest.mark.parametrize("kind", ["bpe", "characters", "bytes"])
def test_tokenizers_restore_the_text(run: CommandLine, texts: list[str], kind: str) -> None:
    write_rows(run.folder / "rows.jsonl", [{"text": text} for text in texts])
    assert run("tokenizer", "train", "--train=rows.jsonl", f"--kind={kind}", "--vocab_size=400") == 0, run.err
    tokenizer = load_tokenizer("tokenizer.json")
    clean_texts = [replace_surrogates(text) for text in texts]
    for text, ids in zip(clean_texts, tokenizer.encode_batch(clean_texts), strict=True):
        assert tokenizer.encode(text) == ids.tolist()
        assert "".join(tokenizer.decode_stream(ids.tolist())) == text
        assert tokenizer.token_bytes[ids].sum() == len(text.encode()) - 2 * text.count("\ufffd") * (kind[0] == "c")
        tally("R16", tokenizer.decode(ids) == text)


@pytest.mark.parametrize("text", ["own words", *DIFFICULT[:24], "\udcff\udce9 not UTF-8"])
def test_tokenizer_show_accepts_any_text(run: CommandLine, text: str) -> None:
    code = run("tokenizer", "show", "bytes", f"--text={text}")
    assert code == 0, run.err
    assert f"{len(replace_surrogates(text).encode())} tokens, {len(replace_surrogates(text).encode())} bytes" in run.out
    tally("R16", True)


def file_content(kind: str, texts: list[str]) -> tuple[bytes, int]:
    """Return the content of a file of texts in a format, and the number of bytes of text in it."""
    clean_texts = [replace_surrogates(text) for text in texts]
    size = sum(len(text.encode()) for text in clean_texts)
    if kind == ".txt":
        joined = "\r\n".join(clean_texts).encode()
        return b"\xef\xbb\xbf" + joined, len(joined)
    if kind == ".jsonl.gz":
        return gzip.compress("".join(json.dumps({"text": text}) + "\r\n" for text in texts).encode()), size
    if kind == ".json":
        return json.dumps({"data": [{"text": text} for text in texts]}, indent=1).encode("utf-8-sig"), size
    table = io.StringIO()
    writer = csv.writer(table, quoting=csv.QUOTE_ALL)
    writer.writerows([["text", "odd\r\nname"], *([text, "x"] for text in clean_texts)])
    return table.getvalue().encode("utf-8-sig"), size


@pytest.mark.parametrize(
    ("kind", "tokenizer"), [(".txt", "characters"), (".jsonl.gz", "bytes"), (".json", "bpe:300"), (".csv", "bytes")]
)
def test_pretraining(
    run: CommandLine, texts: list[str], kind: str, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, size = file_content(kind, texts)
    (run.folder / f"odd{kind}").write_bytes(content)
    files = dict.fromkeys(("train", "validation", "test"), f"odd{kind}")
    write_config(run.folder, "CausalLM", "LanguageModeling", tokenizer=tokenizer, mask_documents=True, **files)
    rows = predictions(run)
    unknown = 2 * sum(replace_surrogates(text).count("\ufffd") for text in texts) if tokenizer == "characters" else 0
    tally("R16", sum(row["num_bytes"] for row in rows) == size - unknown)

    def generate(*arguments: str) -> str:
        assert run("generate", "logs/odd/version_0", "--max_new_tokens=3", *arguments) == 0, run.err
        return run.out

    prompts = texts if texts is DIFFICULT else texts[::8]
    for text in [] if kind in (".jsonl.gz", ".csv") else prompts:
        output = generate(f"--prompt={text}") if text != "-" else "-"
        tally("R16", output.startswith(replace_surrogates(text)))
    for text in prompts if kind == ".jsonl.gz" else [*prompts[:3], "café"]:
        raw = text.encode(errors="surrogatepass")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))
        tally("R16", generate("--prompt=-").startswith(raw.decode(errors="replace")))


def test_prompts_of_any_bytes(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.folder / "odd.txt").write_text("a few words " * 100)
    write_config(run.folder, "CausalLM", "LanguageModeling", tokenizer="bytes", train="odd.txt")
    assert run("fit", "-c", "config.yaml") == 0, run.err
    rng = random.Random(0)
    prompts = [bytes(range(256)), b"\xff\xfea\x00", b"\xed\xa0\x80", *(rng.randbytes(50) for _ in range(5))]
    for prompt in prompts:
        for errors in ("strict", "surrogateescape"):
            stream = io.TextIOWrapper(io.BytesIO(prompt), encoding="utf-8", errors=errors)
            monkeypatch.setattr(sys, "stdin", stream)
            assert run("generate", "logs/odd/version_0", "--prompt=-", "--max_new_tokens=2") == 0
            tally("R16", run.out.startswith(prompt.decode(errors="replace")))
        argument = prompt.replace(b"\x00", b"").decode(errors="surrogateescape")
        assert run("generate", "logs/odd/version_0", f"--prompt={argument}", "--max_new_tokens=2") == 0
        tally("R16", run.out.startswith(replace_surrogates(argument)))


def test_generation_in_an_ascii_terminal(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.folder / "odd.txt").write_text("שלום 👍🏽 é\n" * 100)
    write_config(run.folder, "CausalLM", "LanguageModeling", tokenizer="characters", train="odd.txt")
    assert run("fit", "-c", "config.yaml") == 0, run.err
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding="ascii"))
    code = main(["generate", "logs/odd/version_0", "--prompt=é", "--max_new_tokens=9"])
    sys.stdout.flush()
    tally("R16", code == 0 and screen.getvalue().startswith(b"?"))


# --- heads


def nonblank(texts: list[str]) -> list[str]:
    """Return the texts that are more than whitespace, as they are read."""
    return [replace_surrogates(text) for text in texts if text.strip()]


def is_label(text: str) -> bool:
    """Return whether a text has visible characters, and not too many, so that it can be a label."""
    return len(text) < 6000 and bool(text.strip(BLANKS))


@pytest.mark.parametrize("tokenizer", ["bytes", "characters"])
def test_classification(run: CommandLine, texts: list[str], tokenizer: str) -> None:
    """Use each text as text, id and label; blank texts are skipped and counted."""
    rows: list[dict[str, Any]] = [
        {"id": f"{number} {text}", "text": text, "label": text if is_label(text) and number < 60 else number % 3}
        for number, text in enumerate(texts)
    ]
    write_rows(run.folder / "rows.jsonl", rows)
    write_config(run.folder, "SequenceClassification", "TextClassification", tokenizer=tokenizer, on_bad_row="skip")
    written = predictions(run)
    kept_rows = [row for row in rows if row["text"].strip()]
    assert f"skipped {len(rows) - len(kept_rows):,} of {len(rows):,} rows" in run.out
    labels = [replace_surrogates(str(row["label"])) for row in kept_rows]
    names = {clean_name(label) for label in first_spellings(labels)}
    for row, found in zip(kept_rows, written, strict=True):
        assert found["label"] in names
        assert found["scores"].keys() == names
        tally("R16", found["id"] == replace_surrogates(row["id"]))


def first_spellings(labels: Iterable[str]) -> list[str]:
    """Return the first spelling of each label, such as ``True`` of ``True`` and ``true``."""
    found: dict[str, str] = {}
    for label in labels:
        found.setdefault(canonical(label), label)
    return list(found.values())


def test_labels_from_a_file(run: CommandLine, texts: list[str]) -> None:
    names = first_spellings(filter(is_label, nonblank(texts)))[:: 1 + len(texts) // 100]
    starts = ("[", "{", "\ufeff")
    lines = [name for name in names if "\n" not in name and "\r" not in name and not name.startswith(starts)]
    raw = [json.dumps(name) for name in names] + ['"\\ud800"']
    for file, content, expected_labels in (
        ("labels.txt", "".join(f"{name}\r\n" for name in lines), lines),
        ("labels.json", f"[{', '.join(raw)}]", [*names, "\ufffd"]),
    ):
        if expected_labels.count("\ufffd") > 1:
            continue
        (run.folder / file).write_bytes(content.encode("utf-8-sig"))
        write_rows(run.folder / "rows.jsonl", [{"text": name, "label": name} for name in lines])
        write_config(
            run.folder,
            "SequenceClassification",
            "TextClassification",
            experiment=file,
            tokenizer="bytes",
            labels=file,
        )
        found = predictions(run, file)
        expected = [label.strip(BLANKS) for label in expected_labels]
        tally("R16", all(list(row["scores"]) == expected for row in found))


@pytest.mark.parametrize("labels", [DEEP_LIST, b"[1]", b'["a", ""]', b"\xff", b"", b'["a"', b"[NaN]", b"[null]"])
def test_invalid_label_files_are_refused(run: CommandLine, labels: bytes) -> None:
    (run.folder / "labels").write_bytes(labels)
    write_rows(run.folder / "rows.jsonl", [{"text": "x", "label": "a"}, {"text": "x", "label": "b"}])
    write_config(run.folder, "SequenceClassification", "TextClassification", tokenizer="bytes", labels="labels")
    assert run("fit", "-c", "config.yaml") == 2
    check_error(run, "--data.labels=labels: ")


@pytest.mark.parametrize("shape", ["tokens", "spans"])
def test_tagging(run: CommandLine, texts: list[str], shape: str) -> None:
    """Tag every word, so that the predicted entities cover the text."""
    rows = []
    for number, text in enumerate(nonblank(texts)):
        words = split_words(text)
        row: dict[str, Any] = {"id": number, "text": text}
        if shape == "tokens":
            tokens = [text[start:end] for start, end in words]
            row = {"id": number, "tokens": tokens, "tags": ["B-odd"] * len(tokens)}
        elif len(words) > 1:
            row["spans"] = [{"start": words[0][0], "end": words[-1][1], "label": "odd"}]
        else:
            row["spans"] = []
        rows.append(row)
    write_rows(run.folder / "rows.jsonl", rows)
    settings: dict[str, Any] = {"spans_column": "spans"} if shape == "spans" else {}
    write_config(run.folder, "TokenClassification", "SequenceTagging", tokenizer="bytes", **settings)
    written = predictions(run)
    assert any(found["entities"] for found in written)
    for row, found in zip(rows, written, strict=True):
        text = row["text"] if shape == "spans" else " ".join(row["tokens"])
        assert found["id"] == str(row["id"])
        assert len(found["tags"]) == (len(row["tokens"]) if shape == "tokens" else len(split_words(text)))
        tally("R16", all(each["text"] == text[each["start"] : each["end"]] for each in found["entities"]))


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
def test_questions(run: CommandLine, texts: list[str], tokenizer: str) -> None:
    """Use each text as question, context and answer."""
    rows: list[dict[str, Any]] = []
    for number, text in enumerate(nonblank(texts)):
        start = len(text) - len(text.lstrip())
        answer = {"text": [text[start : start + 9]], "answer_start": [start]}
        rows.append({"id": number, "question": text, "context": text, "answers": answer if number % 4 else None})
    write_rows(run.folder / "rows.jsonl", rows)
    settings: dict[str, Any] = {"max_question_tokens": 32, "stride": 16, "tokenizer": tokenizer}
    write_config(run.folder, "QuestionAnswering", "ReadingComprehension", **settings)
    written = predictions(run)
    assert any(found["answer"] for found in written)
    for row, found in zip(rows, written, strict=True):
        assert found["id"] == str(row["id"])
        assert found["answer"] in row["context"]
        tally("R16", all(row["context"][each["start"] : each["end"]] == each["text"] for each in found["n_best"]))


# --- lines of 5 MB

LONG: Final = 5_000_000
LONG_LINES: Final[dict[str, Callable[[], str]]] = {
    "family": lambda: "👩‍👧" * (LONG // 11),
    "one letter": lambda: "x" * LONG,
    "words": lambda: "word " * (LONG // 5),
    "one mark": lambda: "\u0301" * (LONG // 2),
    "blanks and a word": lambda: " " * LONG + "word",
}


@pytest.mark.parametrize("name", list(LONG_LINES)[: many(1, 5)])
def test_pretraining_on_a_line_of_5_mb(run: CommandLine, name: str) -> None:
    line = LONG_LINES[name]()
    (run.folder / "long.txt").write_text(line)
    assert run("tokenizer", "train", "--train=long.txt", "--vocab_size=300") == 0, run.err
    tokenizer = load_tokenizer("tokenizer.json")
    assert tokenizer.decode(tokenizer.encode(line)) == line
    write_config(run.folder, "CausalLM", "LanguageModeling", train="long.txt", tokenizer="tokenizer.json")
    tally("R16", run("fit", "-c", "config.yaml", "--trainer.max_steps=2") == 0)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("SequenceClassification", "TextClassification"),
        ("TokenClassification", "SequenceTagging"),
        ("QuestionAnswering", "ReadingComprehension"),
    ],
)
def test_head_reads_a_line_of_5_mb(run: CommandLine, model: str, data: str) -> None:
    """Train on short texts and evaluate on a long one."""

    def row(text: str, number: int) -> dict[str, Any]:
        """Return a row whose span and answer are at the end of the text."""
        place = {"start": len(text) - 5, "end": len(text), "label": "odd", "text": "place"}
        answers = [{"text": "place", "answer_start": len(text) - 5}]
        others = {"spans": [place], "question": "where?", "context": text, "answers": answers}
        return {"text": text, "label": number % 2, **others}

    write_rows(run.folder / "short.jsonl", [row("x" * 300 * number + " in a place", number) for number in range(4)])
    long = "x" * LONG + " in a place"
    write_rows(run.folder / "long.jsonl", [row(long, 0)])
    assert run("tokenizer", "train", "--train=short.jsonl", "--vocab_size=280") == 0, run.err
    files = {"train": "short.jsonl", "test": "long.jsonl", "tokenizer": "tokenizer.json"}
    settings: dict[str, Any] = {"spans_column": "spans"} if data == "SequenceTagging" else {}
    write_config(run.folder, model, data, **files, **settings)
    (found,) = predictions(run)
    assert len(found.get("tags", "4444")) == 4
    spans = found.get("entities", found.get("n_best", []))
    tally("R16", all(long[each["start"] : each["end"]] == each["text"] for each in spans))


# --- invalid rows


GOOD_ROW: Final = b'{"text": "good", "label": "a", "tokens": ["good"], "tags": ["O"]}\n'
DEEP_VALUE: Final = b"[" * 900 + b'"\\ud800"' + b"]" * 900
BAD_LINES: Final[dict[str, bytes]] = {
    "a byte of Latin-1": b'{"text": "caf\xe9"}',
    "a lone surrogate in UTF-8": b'{"text": "\xed\xa0\x80"}',
    "an overlong NUL": b'{"text": "\xc0\x80"}',
    "beyond Unicode": b'{"text": "\xf4\x90\x80\x80"}',
    "a truncated character": b'{"text": "\xf0\x9f\x98"}',
    "UTF-16": '{"text": "x"}'.encode("utf-16"),
    "an unescaped NUL": b'{"text": "\x00"}',
    "only NUL": b"\x00" * 1000,
    "a second byte order mark": b'\xef\xbb\xbf{"text": "x"}',
    "a number for text": b'{"text": 5}',
    "a huge number for text": b'{"text": ' + b"7" * 4000 + b"}",
    "a number of too many digits": b'{"text": ' + b"7" * 5000 + b"}",
    "null for text": b'{"text": null}',
    "an object for text": b'{"text": {"text": "x"}}',
    "no text": b'{"other": "' + b"x" * 200_000 + b'"}',
    "a long name": b'{"' + b"x" * 200_000 + b'": 1}',
    "not a number": b'{"text": NaN}',
    "infinity": b'{"text": "x", "label": -Infinity}',
    "truncated": b'{"text": "x',
    "a list": b'["text"]',
    "a string": b'"text"',
    "deep": b'{"text": ' + DEEP_VALUE + b"}",
    "deeper": b'{"text": ' + DEEP_LIST + b"}",
    "single quotes": b"{'text': 'x'}",
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_error_names_the_line_of_an_invalid_row(run: CommandLine, name: str) -> None:
    (run.folder / "rows.jsonl").write_bytes(GOOD_ROW * 2 + BAD_LINES[name] + b"\n" + GOOD_ROW)
    assert run("tokenizer", "train", "--train=rows.jsonl", "--kind=bytes") == 2
    check_error(run, "rows.jsonl:3: ")
    write_config(run.folder, "SequenceClassification", "TextClassification", tokenizer="bytes")
    assert run("fit", "-c", "config.yaml") == 2
    check_error(run, "rows.jsonl:3: ")


def check_error(run: CommandLine, where: str) -> None:
    """Check that the error is at most three short lines and names the file and line ``where``."""
    assert "Traceback" not in run.err
    assert len(run.err.splitlines()) <= 3
    assert len(run.err) < 1000
    tally("R16", where in run.err)


GOOD: Final[dict[str, Any]] = {
    "text": "x",
    "label": "b",
    "tokens": ["x"],
    "tags": ["B-odd"],
    "spans": [{"start": 0, "end": 1, "label": "odd"}],
    "question": "x",
    "context": "x",
    "answers": None,
}


def span(**changed: Any) -> dict[str, Any]:
    return {"spans": [{"start": 0, "end": 1, "label": "odd"} | changed]}


@pytest.mark.parametrize(
    ("head", "changed"),
    [
        ("topics", {"label": "HUGE"}),
        ("topics", {"label": ["HUGE"]}),
        ("topics", {"id": ["HUGE"]}),
        ("topics", {"id": "HUGE"}),
        ("tags", {"tokens": "HUGE"}),
        ("tags", {"tokens": [["HUGE"]]}),
        ("tags", {"tags": "HUGE"}),
        ("tags", {"tags": ["HUGE"]}),
        ("tags", {"tags": ["I-HUGE"]}),
        ("tags", {"tags": ["B-HUGE"]}),
        ("tags", {"tags": [[]]}),
        ("spans", {"spans": "HUGE"}),
        ("spans", {"spans": [{"HUGE": 1}]}),
        ("spans", span(start="HUGE")),
        ("spans", span(label=["HUGE"])),
        ("spans", span(label="HUGE")),
        ("spans", span(text="HUGE")),
        ("questions", {"answers": "HUGE"}),
        ("questions", {"answers": {"HUGE": 1}}),
        ("questions", {"answers": [{"HUGE": 1}]}),
        ("questions", {"answers": [{"text": "HUGE", "answer_start": 0}]}),
        ("questions", {"is_impossible": "HUGE"}),
        ("questions", {"question": ["HUGE"]}),
    ],
)
def test_error_shortens_a_long_invalid_value(run: CommandLine, head: str, changed: dict[str, Any]) -> None:
    good_rows = [json.dumps({**GOOD, "id": "x" * 200_000}), json.dumps({**GOOD, "id": 2, "label": "c"})]
    bad_row = json.dumps({**GOOD, "id": 3, **changed}).replace("HUGE", "x" * 200_000)
    (run.folder / "good.jsonl").write_text("\n".join(good_rows))
    (run.folder / "rows.jsonl").write_text("\n".join([*good_rows, bad_row]))
    settings: dict[str, Any] = {"spans_column": "spans"} if head == "spans" else {}
    files = {"train": "good.jsonl", "validation": "rows.jsonl"}
    classes: dict[str, tuple[str, str]] = {
        **CLASSES,
        "spans": CLASSES["tags"],
        "questions": ("QuestionAnswering", "ReadingComprehension"),
    }
    model, data = classes[head]
    write_config(run.folder, model, data, tokenizer="bytes", **files, **settings)
    assert run("fit", "-c", "config.yaml") == 2
    check_error(run, "rows.jsonl:3: ")


# --- JSON


@needs_data
def test_json_test_suite(run: CommandLine) -> None:
    """Read each document as a value in a row and as a file of its own; invalid ones must not cause a traceback."""
    for row in collection("json_test_suite"):
        is_gzipped = "gzip_b64" in row
        content = base64.b64decode(row["gzip_b64" if is_gzipped else "b64"])
        content = gzip.decompress(content) if is_gzipped else content
        expected = row["expect"]
        for name, wrapped in (
            ("odd.json", b'[{"text": "good", "value": ' + content + b"}]"),
            ("odd.jsonl", GOOD_ROW + b'{"text": "good", "value": ' + content + b"}"),
            ("bare.json", content),
            ("bare.jsonl", content),
        ):
            (run.folder / name).write_bytes(wrapped)
            code = run("tokenizer", "train", f"--train={name}", "--kind=bytes", "--overwrite")
            is_bare = name.startswith("bare")
            if code == 2:
                check_error(run, f"{name}:2: " if name == "odd.jsonl" and b"\n" not in content else f"{name}:")
            if expected == "reject":
                tally("R16", code == 2)
            if expected == "accept" and not is_bare and (name == "odd.json" or b"\n" not in content):
                tally("R16", code == 0)
            assert code in (0, 2), f"{row['id']} as {name}"
