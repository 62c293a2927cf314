"""Character encodings and line ends of text files: detection from the first bytes, and names that users give."""

import codecs
import re
from pathlib import Path
from typing import Final, NamedTuple

from gpt_lightning.data.sources.open_file import BLOCK_BYTES, open_file
from gpt_lightning.errors import InputError

_BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEAD_BYTES: Final = 1 << 16
_WINDOWS: Final = "cp1252"
_UTF8_CHARACTER: Final = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}", re.DOTALL
)
_MAX_ACCENTED: Final = 0.25
"""Maximum part of the letters that are outside of ASCII, in languages that are written in cp1252."""


class EncodingError(InputError):
    """Bytes that the encoding of a file does not have."""


class Encoding(NamedTuple):
    """Encoding of a text file."""

    codec: str
    """Name of a codec of Python. Without a byte order mark, it is the user's or ``utf-8``."""
    line_end: str
    """Last character of each line: a line feed or, in files of old Macintoshes, a carriage return."""

    @property
    def is_byte_oriented(self) -> bool:
        """True if a line ends at the byte of ``line_end``, as in all encodings but UTF-16 and UTF-32."""
        return self.line_end.encode(self.codec.removesuffix("-sig")) == self.line_end.encode("ascii")


def check_encoding(name: str) -> None:
    """Check an encoding that the user gives.

    Raises:
        InputError: Python does not have this text encoding.
    """
    try:
        b"a".decode(name)
    except (LookupError, UnicodeError, ValueError):
        raise InputError(
            f"--data.encoding={name}: unknown encoding; use one such as utf-8, cp1252, latin-1, utf-16-le or shift_jis"
        ) from None


def find_encoding(path: Path, given: str | None = None, may_be_windows: bool = False) -> Encoding:
    """Return the encoding of a text file, from its byte order mark or its first bytes.

    Args:
        path: the file.
        given: the encoding that the user gives. A byte order mark wins, and so do characters of UTF-8: other text is
            never valid UTF-8 by chance, and the encoding may be meant for another file of the run.
        may_be_windows: whether to recognize cp1252, which spreadsheets of Windows write.

    Raises:
        InputError: the file is empty or unreadable.
    """
    with open_file(path) as stream:
        head = stream.read(BLOCK_BYTES if may_be_windows else _HEAD_BYTES)
    marked = codec_of_mark(head)
    if given is not None and marked is None and _is_utf8(head, given):
        marked = "utf-8"
    codec = marked or given or _unmarked_utf16(head) or (_WINDOWS if may_be_windows and is_windows(head) else "utf-8")
    text = head.decode(codec, errors="ignore")
    # A cell of a spreadsheet may contain line feeds, and a text may contain carriage returns.
    is_old_mac = text.count("\r") - text.count("\r\n") > text.count("\n")
    return Encoding(codec, "\r" if is_old_mac else "\n")


def codec_of_mark(data: bytes) -> str | None:
    """Return the codec of the byte order mark at the start of a text; None without a mark."""
    return next((codec for mark, codec in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)


def is_windows(data: bytes) -> bool:
    """Return whether text is in cp1252: it has accented letters but no character of UTF-8.

    Text with valid characters of UTF-8 is damaged UTF-8. Text that would be mostly accented letters is of another
    alphabet.
    """
    if data.isascii() or _UTF8_CHARACTER.search(data):
        return False
    try:
        letters = [character for character in data.decode(_WINDOWS) if character.isalpha()]
    except UnicodeDecodeError:
        return False
    return sum(letter > "\x7f" for letter in letters) <= _MAX_ACCENTED * len(letters)


def _is_utf8(data: bytes, given: str) -> bool:
    """Return whether text that should be in an encoding of single bytes has characters of UTF-8 and no others."""
    if data.isascii() or "\n".encode(given) != b"\n":
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True


def _unmarked_utf16(data: bytes) -> str | None:
    """Return the codec of UTF-16 without a byte order mark; every other byte of most Western text is zero there."""
    even, odd = data[::2].count(0), data[1::2].count(0)
    if 2 * max(even, odd) < len(data) // 2 or min(even, odd):
        return None
    return "utf-16-le" if odd else "utf-16-be" if even else None


def decoding_error(path: Path, line: int, offset: int, error: UnicodeDecodeError, codec: str) -> EncodingError:
    """Return the error for bytes that the encoding of a file does not have.

    Args:
        path: the file.
        line: line of the bytes, counted from 1.
        offset: number of bytes before them.
        error: the error of the codec.
        codec: the encoding.
    """
    name = "UTF-8" if codec.startswith("utf-8") else codec
    place = f"{path}:{line}: not {name} text (byte {offset}, counted from 0: {error.reason})"
    if name != "UTF-8":
        return EncodingError(f"{place}; set --data.encoding to the encoding of the file")
    return EncodingError(f"{place}; convert the file to UTF-8, or name its encoding, as in --data.encoding cp1252")
