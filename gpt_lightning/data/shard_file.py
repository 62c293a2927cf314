"""File format of a shard of token ids, with checksums that detect damage.

A shard is a header of 4096 bytes (magic number, CRC-32 of the rest, JSON), the tokens, and a CRC-32 per 256 KiB of
tokens. Opening a shard reads only the header. Damage is detected before damaged tokens are used.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.tokenizer import Tokenizer

# Raise it if the same text would give another file: with another layout, or if pieces have other borders.
VERSION: Final = 2
_MAGIC: Final = b"GPTLTOKS"
_HEADER_BYTES: Final = 4096
_CHUNK_BYTES: Final = 256 << 10
REMEDY: Final = "delete its folder, and the next run tokenizes the text again"


class Shard:
    """Reader of a file of tokens. Opening checks the header; the first read maps the tokens into memory."""

    def __init__(self, path: Path, index: int) -> None:
        self.path = path
        self.header = _read_header(path)
        if self.header["index"] != index:
            raise InputError(f"{path}: this is shard {self.header['index']}, not {index}; {REMEDY}")
        self._dtype = np.dtype(self.header["dtype"])
        data_bytes = len(self) * self._dtype.itemsize
        self._num_chunks = -(-data_bytes // _CHUNK_BYTES)
        size, expected = path.stat().st_size, _HEADER_BYTES + data_bytes + 4 * self._num_chunks
        if size != expected:
            raise InputError(f"{path}: the file has {size} bytes, but its header says {expected}; {REMEDY}")
        self._tokens: NDArray[Any] | None = None

    def __len__(self) -> int:
        return int(self.header["count"])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the tokens [start, stop) as a view of the file, after checking them.

        Raises:
            InputError: the tokens are damaged.
        """
        if self._tokens is None:
            self._tokens = np.memmap(self.path, self._dtype, mode="r", offset=_HEADER_BYTES, shape=(len(self),))
            offset = _HEADER_BYTES + self._tokens.nbytes
            self._crcs = np.fromfile(self.path, dtype="<u4", count=self._num_chunks, offset=offset)
            self._checked = np.zeros(self._num_chunks, dtype=bool)
        per_chunk = _CHUNK_BYTES // self._dtype.itemsize
        for chunk in range(start // per_chunk, -(-stop // per_chunk)):
            if not self._checked[chunk]:
                tokens = self._tokens[chunk * per_chunk : (chunk + 1) * per_chunk]
                if zlib.crc32(tokens.data) != self._crcs[chunk]:
                    raise InputError(
                        f"{self.path}: damaged near token {chunk * per_chunk} (its checksum differs); {REMEDY}"
                    )
                self._checked[chunk] = True
        return self._tokens[start:stop]


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            block = stream.read(_HEADER_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    if not block.startswith(_MAGIC):
        raise InputError(f"{path}: not a file of tokens; {REMEDY}")
    if len(block) < _HEADER_BYTES or zlib.crc32(block[12:]) != int.from_bytes(block[8:12], "little"):
        raise InputError(f"{path}: its header is damaged; {REMEDY}")
    header: dict[str, Any] = json.loads(block[12:])
    if header["version"] != VERSION:
        raise InputError(f"{path}: its format has version {header['version']}, not {VERSION}; {REMEDY}")
    return header


def _pack_header(header: Mapping[str, Any]) -> bytes:
    body = json.dumps(header).encode().ljust(_HEADER_BYTES - 12)
    return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


class ShardWriter:
    """Writer of a stream of tokens as shards.

    Args:
        folder: folder for the shards.
        tokenizer: tokenizer of the tokens.
        shard_tokens: maximum number of tokens per shard.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer, shard_tokens: int) -> None:
        self._folder = folder
        self._shard_tokens = shard_tokens
        self._dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
        self._header = {
            "version": VERSION,
            "dtype": self._dtype.str,
            "vocab_size": tokenizer.vocab_size,
            "tokenizer": tokenizer.hash,
        }
        self._index = 0
        self._open_shard()

    def _open_shard(self) -> None:
        self._file = (self._folder / f"{self._index:05}.tokens").open("wb")
        self._file.write(bytes(_HEADER_BYTES))
        self._count, self._sha256, self._crcs, self._chunk_size = 0, hashlib.sha256(), [0], 0

    def write(self, tokens: NDArray[np.int64]) -> None:
        """Append tokens, and open a new shard after each full one."""
        while len(tokens):
            if self._count == self._shard_tokens:
                self._finish_shard(totals=None)
                self._index += 1
                self._open_shard()
            part = tokens[: self._shard_tokens - self._count]
            tokens = tokens[len(part) :]
            self._write_bytes(part.astype(self._dtype).tobytes())
            self._count += len(part)

    def _write_bytes(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        view = memoryview(data)
        while view:
            if self._chunk_size == _CHUNK_BYTES:
                self._crcs.append(0)
                self._chunk_size = 0
            part = view[: _CHUNK_BYTES - self._chunk_size]
            self._crcs[-1] = zlib.crc32(part, self._crcs[-1])
            self._chunk_size += len(part)
            view = view[len(part) :]

    def _finish_shard(self, totals: Mapping[str, int] | None) -> None:
        """Write the checksums and the header. Only the last shard has ``totals``, which shows if shards are missing."""
        self._file.write(np.array(self._crcs, dtype="<u4").tobytes())
        self._file.seek(0)
        shard = {"index": self._index, "count": self._count, "sha256": self._sha256.hexdigest(), "totals": totals}
        self._file.write(_pack_header({**self._header, **shard}))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def finish(self, num_documents: int, num_bytes: int) -> None:
        """Finish the last shard, with the totals of the stream."""
        self._finish_shard({"num_documents": num_documents, "num_bytes": num_bytes})

    def close(self) -> None:
        """Close the current file, finished or not."""
        self._file.close()
