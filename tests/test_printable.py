"""Escaping of control characters in text that is printed on a terminal."""

import io

import pytest

from gpt_lightning.printable import for_stream, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        ("\x9b31m\x7f\x00", r"\x9b31m\x7f\x00"),
        ("good\rbad", r"good\x0dbad"),
        ("a\tb\r\nc\nd", "a\tb\nc\nd"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("Käse, 日本語, 👩\u200d🚀, שלום", "Käse, 日本語, 👩\u200d🚀, שלום"),
    ],
)
def test_control_characters_are_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_only_terminals_need_it() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert for_stream("\x1b", Terminal()) == r"\x1b"
    assert for_stream("\x1b", io.StringIO()) == "\x1b"
