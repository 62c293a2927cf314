"""``tokenizer train`` and ``tokenizer show``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpt_lightning.commands.tokenizer import main
from gpt_lightning.errors import InputError


@pytest.fixture
def text(tmp_path: Path) -> str:
    """Return the path of a small training text."""
    path = tmp_path / "a.txt"
    path.write_text("the cat and the dog and the bird\n" * 50)
    return str(path)


def test_files_are_read_with_the_given_delimiter_and_encoding(tmp_path: Path) -> None:
    path, output = tmp_path / "a.csv", tmp_path / "tokenizer.json"
    path.write_bytes("text@n\nžluť@1\nkůň@2\n".encode("cp1250"))
    flags = ["train", "--train", str(path), "--kind=characters", f"--output={output}"]
    assert main([*flags, "--delimiter=@", "--encoding=cp1250"]) == 0
    tokens = json.loads(output.read_text())["model"]["vocab"]
    assert {*"žluťkůň"} <= tokens.keys()
    assert "@" not in tokens
    with pytest.raises(InputError, match=r"^--encoding=none: unknown encoding"):
        main([*flags, "--overwrite", "--encoding=none"])
    with pytest.raises(InputError, match=r"^--delimiter='ab' must be a single character"):
        main([*flags, "--overwrite", "--delimiter=ab"])


def test_a_bpe_is_trained_and_shown(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "tokenizer.json")
    assert main(["train", "--train", text, "--vocab_size", "270", "--output", output]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{output}: bpe (270)"
    assert lines[1] == "vocabulary size: 270"
    assert lines[2].startswith("bytes per token: ")
    assert float(lines[2].split()[3]) > 2
    assert lines[2].endswith("(measured on the first 1,650 bytes)")
    assert main(["show", output, "--text", "the é"]) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first == f"bpe (270): {len(rows)} tokens, 6 bytes"
    assert rows[0].split() == [rows[0].split()[0], "'the'"]


@pytest.mark.parametrize(("kind", "size"), [("characters", 16), ("bytes", 257)])
def test_characters_and_bytes(
    tmp_path: Path, text: str, kind: str, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tokenizer.json"
    assert main(["train", "--train", text, "--kind", kind, "--output", str(output)]) == 0
    assert f"{kind} ({size})\nvocabulary size: {size}\nbytes per token: 1.00 " in capsys.readouterr().out


def test_a_column_of_several_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"body": name * 9}))
    sources = json.dumps([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")])
    arguments = ["--kind", "characters", "--text_column", "body", "--output", str(tmp_path / "t.json")]
    assert main(["train", "--train", sources, *arguments]) == 0
    assert "vocabulary size: 4\n" in capsys.readouterr().out


def test_an_output_is_overwritten_only_on_request(tmp_path: Path, text: str) -> None:
    output = tmp_path / "tokenizer.json"
    output.write_text("precious")
    arguments = ["train", "--train", text, "--vocab_size", "260", "--output", str(output)]
    with pytest.raises(InputError, match=r"tokenizer\.json already exists\. .* --overwrite"):
        main(arguments)
    assert output.read_text() == "precious"
    assert main([*arguments, "--overwrite"]) == 0
    assert "<|endoftext|>" in output.read_text()


def test_an_output_that_is_a_pipe_or_a_link_is_written_and_not_replaced(tmp_path: Path, text: str) -> None:
    pipe, link, target = tmp_path / "pipe", tmp_path / "link.json", tmp_path / "target.json"
    os.mkfifo(pipe)
    link.symlink_to(target)
    arguments = ["train", "--train", text, "--vocab_size", "260", "--output"]
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as reader:  # noqa: PTH123
        assert main([*arguments, str(pipe)]) == 0
        content = reader.read()
    assert "<|endoftext|>" in content
    assert pipe.is_fifo()
    assert main([*arguments, str(link)]) == 0
    assert link.is_symlink()
    assert target.read_text() == content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--train", "absent.txt"], r"--train: absent\.txt does not exist"),
        (["--vocab_size", "9"], "--vocab_size: a byte-level BPE has 257"),
        (["--output", "/absent/t.json"], "the folder /absent does not exist"),
    ],
)
def test_invalid_arguments_are_refused(tmp_path: Path, text: str, change: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        main(["train", "--train", text, "--output", str(tmp_path / "t.json"), *change])
    assert not (tmp_path / "t.json").exists()


def test_a_missing_tokenizer_is_refused() -> None:
    with pytest.raises(InputError, match="TOKENIZER: 'absent' is not a tokenizer; choose one of"):
        main(["show", "absent", "--text", "a"])


def test_help_lists_the_options_without_heavy_imports() -> None:
    code = "import sys; from gpt_lightning.commands.tokenizer import main\n"
    code += "try: main(['train', '--help'])\nfinally: print(sorted({'torch', 'numpy', 'datasets'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    for option in ("--train", "--text_column", "--kind {bpe,characters,bytes}", "--vocab_size", "--output"):
        assert option in run.stdout
    assert run.stdout.endswith("[]\n")
