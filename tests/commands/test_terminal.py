"""Terminal sequences in files of someone else, which must not reach the terminal."""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from gpt_lightning.tasks.load import find_checkpoint
from tests.commands.run.test_cli import Run, fit, run
from tests.reliability.conftest import tally

__all__ = ["run"]

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m"


def test_messages_show_escape_sequences_as_text(run: Run, tmp_path: Path) -> None:
    fit(run)
    path = find_checkpoint(str(tmp_path / "logs/beer/version_0"), "last")
    content = torch.load(path, weights_only=True)
    for name, value in (("task", EVIL), ("init_from", EVIL), (EVIL, 1), ("backbone", {EVIL: 1, "vocab_size": 3})):
        torch.save(content | {"hyper_parameters": content["hyper_parameters"] | {name: value}}, tmp_path / "evil.ckpt")
        for command in (("generate", "evil.ckpt"), ("test", "-c", "config.yaml", "--ckpt_path=evil.ckpt")):
            code, out, err = run(*command)
            assert code == 2
            assert r"\x1b" in err
            tally("R19", not {"\x1b", "\x07", "\x9b"} & set(out + err))
    (tmp_path / "evil.yaml").write_text(yaml.safe_dump({"trainer": {EVIL: 1}}))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "a", EVIL: 1}) + "\n")
    for arguments in (
        ("fit", "-c", "evil.yaml"),
        ("fit", "-c", "config.yaml", f"--data.text_column={EVIL}x", "--data.train=rows.jsonl"),
        ("fit", "-c", "config.yaml", "--data.text_column=x", "--data.train=rows.jsonl"),
    ):
        code, out, err = run(*arguments)
        assert code == 2
        tally("R19", not {"\x1b", "\x07", "\x9b"} & set(out + err))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_generated_text(run: Run, monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    """A pipe gets the text unchanged."""
    fit(run)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    code, out, _ = run("generate", "logs/beer/version_0", "--prompt", "\x1b[2Ja\tb\n", "--max_new_tokens=1")
    assert code == 0
    assert out.startswith(r"\x1b[2Ja" + "\tb\n" if is_terminal else "\x1b[2Ja\tb\n")
