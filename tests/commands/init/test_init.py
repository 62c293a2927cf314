"""``gpt-lightning init``: the configuration that it prints runs, for every task and file format."""

import gzip
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from gpt_lightning.cli import main
from gpt_lightning.tokenizers.build import bytes_tokenizer
from tests.models.huggingface.families import save_reference

Row = dict[str, Any]

WORDS = "a film of rain and wind that the old town of Rome has never seen before".split()  # noqa: SIM905


def text(number: int) -> str:
    return " ".join(random.Random(number).choices(WORDS, k=4 + number % 9))


LABELED = [{"review": text(number), "stars": str(1 + number % 3)} for number in range(40)]
TAGGED = [
    {"tokens": words, "tags": ["B-LOC" if word == "Rome" else "O" for word in words]}
    for words in (f"{text(number)} Rome".split() for number in range(30))
]
SPANS = [
    {
        "text": f"{text(number)} Rome",
        "spans": [{"start": len(text(number)) + 1, "end": len(text(number)) + 5, "label": "LOC"}],
    }
    for number in range(30)
]
FLAT = [
    {
        "question": f"Which town {number}?",
        "context": f"{text(number)} Rome",
        "answers": [{"text": "Rome", "answer_start": len(text(number)) + 1}] if number % 3 else None,
    }
    for number in range(30)
]
NESTED = {
    "version": "1.1",
    "data": [
        {
            "title": "towns",
            "paragraphs": [
                {
                    "context": row["context"],
                    "qas": [{"id": str(number), "question": "Which?", "answers": row["answers"] or []}],
                }
                for number, row in enumerate(FLAT)
            ],
        }
    ],
}
CHATS = [
    {"messages": [{"role": role, "content": text(number)} for role in ("user", "assistant")]} for number in range(20)
]
DOCUMENTS = [{"content": text(number) * 20} for number in range(30)]


def jsonl(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows: Sequence[Row], delimiter: str) -> str:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(delimiter.join(line) + "\n" for line in lines)


def parquet(path: Path, rows: Sequence[Row]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def conll(rows: Sequence[Row]) -> str:
    return "\n".join("".join(f"{w} {t}\n" for w, t in zip(row["tokens"], row["tags"], strict=True)) for row in rows)


FILES: dict[str, tuple[str, str, Any]] = {
    "classification csv": ("classification", "r.csv", table(LABELED, ",")),
    "classification semicolons": ("classification", "r.csv", table(LABELED, ";")),
    "sentiment tsv": ("sentiment", "r.tsv", table(LABELED, "\t")),
    "classification jsonl": ("classification", "r.jsonl", jsonl(LABELED)),
    "classification json": ("classification", "r.json", json.dumps({"data": LABELED})),
    "classification gz": ("classification", "r.csv.gz", table(LABELED, "|")),
    "classification parquet": ("classification", "r.parquet", LABELED),
    "classification folder": ("classification", "folder/r.jsonl", jsonl(LABELED)),
    "classification lists": (
        "classification",
        "r.jsonl",
        jsonl([{**row, "stars": ["a", row["stars"]]} for row in LABELED]),
    ),
    "chat messages": ("chat", "r.jsonl", jsonl(CHATS)),
    "chat pairs": ("chat", "r.csv", table([{"prompt": text(n), "completion": text(n + 1)} for n in range(20)], ",")),
    "ner jsonl": ("ner", "r.jsonl", jsonl(TAGGED)),
    "ner json": ("ner", "r.json", json.dumps(TAGGED)),
    "ner parquet": ("ner", "r.parquet", TAGGED),
    "ner conll": ("ner", "r.conll", conll(TAGGED)),
    "ner gz": ("ner", "r.iob2.gz", conll(TAGGED)),
    "ner spans": ("ner", "r.jsonl", jsonl(SPANS)),
    "qa jsonl": ("qa", "r.jsonl", jsonl(FLAT)),
    "qa nested": ("qa", "r.json", json.dumps(NESTED)),
    "qa parquet": ("qa", "r.parquet", FLAT),
    "qa gz": ("qa", "r.json.gz", json.dumps(NESTED)),
    "pretrain txt": ("pretrain", "r.txt", "".join(text(number) + "\n" for number in range(300))),
    "pretrain gz": ("pretrain", "r.txt.gz", "".join(text(number) + "\n" for number in range(300))),
    "pretrain jsonl": ("pretrain", "r.jsonl", jsonl(DOCUMENTS)),
    "pretrain csv": ("pretrain", "r.csv", table(DOCUMENTS, ",")),
    "pretrain parquet": ("pretrain", "r.parquet", DOCUMENTS),
    "pretrain folder": ("pretrain", "folder/r.txt", text(3) * 100),
}
"""Task, name of the file and its content; a list of rows is written as Parquet."""

Init = Callable[..., str]


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    os.environ.pop("PL_GLOBAL_SEED", None)


@pytest.fixture
def init(capsys: pytest.CaptureFixture[str]) -> Init:
    """Run ``init`` and return the YAML that it prints."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        code = main(["init", *arguments])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Init:
    """Run ``init`` with arguments that cannot work and return the message."""

    def run(*arguments: str) -> str:
        try:
            code = main(["init", *arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        return err

    return run


def write(name: str, content: Any) -> str:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, list):
        parquet(path, content)
    else:
        path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return name


def fit(config: str, *flags: str) -> int:
    Path("my.yaml").write_text(config)
    limits = ("--trainer.max_steps=2", "--trainer.limit_val_batches=1", "--trainer.accelerator=cpu")
    return main(["fit", "-c", "my.yaml", *limits, "--data.cache_dir=cache", *flags])


@pytest.mark.parametrize(("task", "name", "content"), FILES.values(), ids=FILES.keys())
def test_what_is_printed_runs(init: Init, task: str, name: str, content: Any) -> None:
    write(name, content)
    config = init(task, "--train", "folder" if name.startswith("folder") else name)
    assert fit(config) == 0
    parsed = yaml.safe_load(config)
    assert list(Path("logs", parsed["experiment"]).glob("version_0/checkpoints/step_2.ckpt"))
    assert max(map(len, config.splitlines())) <= 120
    assert "#" in config[config.index("batch_size") :].splitlines()[0], "the batch size has its reason"


def test_the_commands_in_the_comment_run(init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    write("r.csv", table(LABELED, ";"))
    config = init("sentiment", "--train", "r.csv")
    assert "#   gpt-lightning fit -c my.yaml\n" in config
    assert fit(config) == 0
    (command,) = (line[1:].split() for line in config.splitlines() if line.startswith("#   gpt-lightning test"))
    assert main([word.replace("FILE", "r.csv") for word in command[1:]]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_a_delimiter_and_an_encoding_are_read_and_written(init: Init, refused: Init) -> None:
    rows = [{**row, "review": f"žluť {row['review']}"} for row in LABELED]
    Path("r.csv").write_bytes(table(rows, "@").encode("cp1250"))
    config = init("sentiment", "--train", "r.csv", "--delimiter=@", "--encoding=cp1250")
    data = yaml.safe_load(config)["data"]["init_args"]
    assert (data["delimiter"], data["encoding"]) == ("@", "cp1250")
    assert fit(config) == 0
    Path("a.txt").write_bytes(("žluť " * 500).encode("cp1250"))
    assert "encoding: cp1250\n" in init("pretrain", "--train", "a.txt", "--encoding=cp1250")
    assert "--encoding=none: unknown encoding" in refused("pretrain", "--train", "a.txt", "--encoding=none")


def test_several_files_and_a_validation_file(init: Init) -> None:
    for name in ("a.jsonl", "b.jsonl", "held_out.jsonl"):
        write(name, jsonl(LABELED))
    config = init("classification", "--train", "a.jsonl", "b.jsonl", "--validation", "held_out.jsonl")
    data = yaml.safe_load(config)["data"]["init_args"]
    assert (data["train"], data["validation"]) == (["a.jsonl", "b.jsonl"], "held_out.jsonl")
    assert "validation_fraction" not in data
    assert "80 rows" in config
    assert fit(config) == 0
    assert "80 rows" in init("classification", "--train", "[ab].jsonl")


@pytest.mark.parametrize("task", ["classification", "ner", "qa", "pretrain"])
def test_from_a_model_folder(init: Init, task: str) -> None:
    save_reference(Path("smollm2"), "smollm2", vocab_size=257, max_position_embeddings=512)
    bytes_tokenizer().save(Path("smollm2/tokenizer.json"))
    rows: dict[str, Sequence[Row]] = {"classification": LABELED, "ner": TAGGED, "qa": FLAT, "pretrain": DOCUMENTS}
    write("r.jsonl", jsonl(rows[task]))
    config = init(task, "--train", "r.jsonl", "--model", "smollm2")
    model = yaml.safe_load(config)["model"]["init_args"]
    assert model["init_from"] == "smollm2"
    assert set(model["backbone"]) == {"block_size"}
    assert model.get("pooling") == ("last" if task in ("classification", "ner") else None)
    assert fit(config) == 0


def test_a_large_model_gets_adapters(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt_lightning.commands.init.base_model.LARGE", 1)
    save_reference(Path("smollm2"), "smollm2", vocab_size=257, max_position_embeddings=512)
    bytes_tokenizer().save(Path("smollm2/tokenizer.json"))
    write("r.jsonl", jsonl(LABELED))
    config = init("classification", "--train", "r.jsonl", "--model", "smollm2")
    assert yaml.safe_load(config)["model"]["init_args"]["lora"] == {"r": 16}
    assert "pip install 'gpt-lightning[lora]'" in config
    assert fit(config) == 0


@pytest.mark.parametrize("task", ["classification", "pretrain"])
def test_from_a_run(init: Init, task: str) -> None:
    write("r.txt", "".join(text(number) + "\n" for number in range(300)))
    assert fit(init("pretrain", "--train", "r.txt")) == 0
    write("rows.jsonl", jsonl(LABELED if task == "classification" else DOCUMENTS))
    config = init(task, "--train", "rows.jsonl", "--model", "logs/r_pretrain/version_0")
    backbone = yaml.safe_load(config)["model"]["init_args"].get("backbone")
    assert backbone == ({"attention": "bidirectional"} if task == "classification" else None)
    assert fit(config) == 0


def test_choices_follow_the_file(init: Init) -> None:
    short, long = (
        [{"text": word * 5, "label": str(n % 2)} for n in range(rows)]
        for word, rows in (("a ", 60), ("ab cd ef ", 6000))
    )
    small, large = (
        yaml.safe_load(init("classification", "--train", write("r.jsonl", jsonl(rows)))) for rows in (short, long)
    )
    assert small["data"]["init_args"]["batch_size"] == 8
    assert large["data"]["init_args"]["batch_size"] == 32
    assert small["trainer"]["max_epochs"] > large["trainer"]["max_epochs"] >= 3
    wordy = [{**row, "text": " ".join(text(n) for n in range(i % 7, i % 7 + 9))} for i, row in enumerate(short)]
    block = yaml.safe_load(init("classification", "--train", write("r.jsonl", jsonl(wordy))))["model"]["init_args"][
        "backbone"
    ]
    assert block["block_size"] > small["model"]["init_args"]["backbone"]["block_size"]


def test_many_labels_get_more_epochs(init: Init) -> None:
    epochs = []
    for labels in (2, 80):
        rows = [{"text": text(n), "label": str(n % labels)} for n in range(1600)]
        config = init("classification", "--train", write("r.jsonl", jsonl(rows)))
        epochs.append(yaml.safe_load(config)["trainer"]["max_epochs"])
    assert epochs[0] * 2 < epochs[1] <= 20


@pytest.mark.parametrize(
    ("file", "name"),
    [("a b.jsonl", "a_b_ner"), ("wnut/train.jsonl", "wnut_ner"), ("train.jsonl", "ner"), ("ner.jsonl", "ner")],
)
def test_the_experiment_is_named_after_the_file(init: Init, file: str, name: str) -> None:
    assert yaml.safe_load(init("ner", "--train", write(file, jsonl(TAGGED))))["experiment"] == name


def test_rare_labels_are_monitored_by_macro_f1(init: Init) -> None:
    rows = [{"text": text(n), "label": "rare" if n % 10 == 0 else "frequent"} for n in range(60)]
    config = init("classification", "--train", write("r.jsonl", jsonl(rows)))
    assert yaml.safe_load(config)["checkpoints"] == {"monitor": "val/macro_f1", "mode": "max"}
    assert "labels occur 6 to 54 times" in config
    assert fit(config) == 0


def test_invalid_rows_are_skipped_and_counted(init: Init) -> None:
    config = init("classification", "--train", write("r.jsonl", jsonl([*LABELED, {"review": "", "stars": "1"}])))
    assert yaml.safe_load(config)["data"]["init_args"]["on_bad_row"] == "skip"
    comments = " ".join(config.replace("#", "").split())
    assert "1 of 41 rows are invalid, the first is r.jsonl:41: " in comments
    assert fit(config) == 0


def test_repeated_ids_are_not_used(init: Init) -> None:
    config = init("classification", "--train", write("r.jsonl", jsonl([{"id": "user", **row} for row in LABELED])))
    assert yaml.safe_load(config)["data"]["init_args"]["id_column"] == ""
    assert fit(config) == 0


def test_a_single_context_is_not_held_out(init: Init) -> None:
    rows = [{**FLAT[1], "question": f"Which town {number}?"} for number in range(12)]
    config = init("qa", "--train", write("r.jsonl", jsonl(rows)))
    comments = " ".join(config.replace("#", "").split())
    assert "12 questions about 1 context, 0 of them without an answer. Answers have a median of 1 word." in comments
    assert "All rows have the same text or context, so none are held out for validation" in comments
    parsed = yaml.safe_load(config)
    assert "validation" not in parsed["data"]["init_args"]
    assert "checkpoints" not in parsed
    assert fit(config) == 0
    held_out = init("qa", "--train", "r.jsonl", "--validation", write("v.jsonl", jsonl(FLAT)))
    assert yaml.safe_load(held_out)["checkpoints"]["monitor"] == "val/answer_f1"
    assert "so none are held out" not in held_out


def test_a_row_with_an_invalid_id_is_skipped(init: Init) -> None:
    """Only repeated ids are replaced by numbers."""
    config = init("classification", "--train", write("r.jsonl", jsonl([*LABELED, {**LABELED[0], "id": []}])))
    data = yaml.safe_load(config)["data"]["init_args"]
    assert ("id_column" in data, data["on_bad_row"]) == (False, "skip")


def test_columns_are_recognized_by_content(init: Init) -> None:
    rows = [{"n": f"{n}", "what": text(n), "kind": "ab"[n % 2]} for n in range(20)]
    data = yaml.safe_load(init("classification", "--train", write("r.csv", table(rows, ";"))))["data"]["init_args"]
    assert (data["text_column"], data["label_column"]) == ("what", "kind")
    flags = ("--text_column", "kind", "--label_column", "n")
    rows = [{**row, "n": f"{n % 3}"} for n, row in enumerate(rows)]
    data = yaml.safe_load(init("classification", "--train", write("r.csv", table(rows, ";")), *flags))["data"][
        "init_args"
    ]
    assert (data["text_column"], data["label_column"]) == ("kind", "n")


def test_nothing_in_the_file_escapes_its_comment(init: Init) -> None:
    hostile = "x\n\u2028\x85trainer: {callbacks: evilmod.X}"
    rows = [{"text": text(n), "label": hostile if n % 2 else "no"} for n in range(20)]
    name = write("r\n\u2028log_dir: evil # .jsonl", jsonl(rows))
    config = init("classification", "--train", name)
    parsed = yaml.safe_load(config)
    assert set(parsed) == {"experiment", "trainer", "model", "data", "checkpoints"}
    assert set(parsed["trainer"]) == {"max_epochs"}
    assert parsed["data"]["init_args"]["train"] == name
    assert fit(config) == 0


WRONG: dict[str, tuple[str, Any, tuple[str, ...], str]] = {
    "missing": ("other.csv", "a,b\n1,2\n", ("classification",), "--train: r.csv does not exist"),
    "empty": ("r.csv", "", ("classification",), "r.csv: the file is empty (0 bytes)"),
    "unknown columns": (
        "r.csv",
        "a;b\nx;y\nz;w\n",
        ("classification",),
        "r.csv:2: cannot tell which columns hold the text and the label. The columns are 'a', 'b'. Name the columns "
        "with --text_column NAME and --label_column NAME",
    ),
    "missing column": (
        "r.csv",
        table(LABELED, ";"),
        ("classification", "--label_column", "grade"),
        "--label_column=grade: the file has no column of this name. The columns are 'review', 'stars'",
    ),
    "one label": (
        "r.csv",
        "text,label\na b,x\nc d,x\n",
        ("classification",),
        "r.csv:2: all 2 rows have the label 'x' in 'label', so there is nothing to learn",
    ),
    "no header": (
        "r.csv",
        "so good a film;good\nso bad a film;bad\na film;good\nthe film;bad\n",
        ("classification",),
        "the column 'good' also holds the value 'good', so the first line seems to be a row. Add a header line",
    ),
    "too many labels": (
        "r.jsonl",
        jsonl([{"text": text(n), "label": n} for n in range(40)]),
        ("classification",),
        "'label' has 40 different values in 40 rows, too many for labels. Name another column with --label_column",
    ),
    "text without labels": ("r.txt", "a text\n", ("classification",), "cannot tell which column holds the label"),
    "no entities": (
        "r.conll",
        "a O\nb O\n",
        ("ner",),
        "none of the 1 rows has an entity, so there is nothing to learn",
    ),
    "numbered tags": ("r.jsonl", '{"tokens": ["a"], "ner_tags": [1]}', ("ner",), "the tags in 'ner_tags' are numbers"),
    "no tags": ("r.csv", "text\na\n", ("ner",), "--tokens_column NAME and --tags_column NAME"),
    "no answers": (
        "r.jsonl",
        jsonl([{**row, "answers": None} for row in FLAT]),
        ("qa",),
        "none of the 30 questions has an answer, so there is nothing to learn",
    ),
    "invalid rows only": ("r.jsonl", '{"text": "", "label": "a"}', ("classification",), "'text' is empty"),
    "another flag": ("r.csv", "a,b\n1,2\n", ("ner", "--label_column", "b"), "--label_column has no effect on ner"),
    "no columns": ("r.txt", "a b\n", ("pretrain", "--text_column", "b"), "--text_column has no effect on .txt files"),
    "hub": ("r.csv", "a,b\n1,2\n", ("ner", "--model", "hub:owner/name"), "init does not download models"),
    "no model": ("r.csv", "a,b\n1,2\n", ("ner", "--model", "absent"), "absent: "),
}


@pytest.mark.parametrize(("name", "content", "arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_work_is_refused(
    refused: Init, name: str, content: Any, arguments: tuple[str, ...], message: str
) -> None:
    write(name, content)
    assert message in refused(*arguments, "--train", name.replace("other", "r"))


def test_without_a_file(refused: Init) -> None:
    assert "give a task and a file, as in gpt-lightning init" in refused()
    assert "init reads only local files" in refused("ner", "--train", "hub:owner/name")


def test_list_shows_the_shipped_configurations(init: Init) -> None:
    assert "\nsentiment_rt_polarity " in init("--list")
