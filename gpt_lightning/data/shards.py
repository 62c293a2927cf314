"""Text tokenized once into shards, which are read as one array.

A split is one stream of tokens: every document is preceded by the end of text, and one more ends the split. The stream
is cut into shards, ``00000.tokens`` and on.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from gpt_lightning.atomic_files import sync_folder
from gpt_lightning.data.shard_file import REMAKE, VERSION, Shard, ShardWriter
from gpt_lightning.data.sources.source import PIECE_CHARACTERS, Piece, Source, fingerprint, read_texts
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.tokenizer import Tokenizer

SHARD_TOKENS: Final = 128 << 20
"""Most tokens of one shard: 256 MiB of a vocabulary of up to 65536."""

# Enough pieces for every core; two such batches are encoded at once, so that no core waits at the end of one.
_BATCH_CHARACTERS: Final = PIECE_CHARACTERS * max(8, os.cpu_count() or 1)
_ENCODERS: Final = 2

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def tokenize(
    source: Source,
    *,
    split: str,
    text_column: str,
    tokenizer: Tokenizer,
    cache_dir: Path,
    progress: bool = False,
    key: str | None = None,
    shard_tokens: int = SHARD_TOKENS,
) -> Path:
    """Return the folder of shards of ``source``, made now where ``cache_dir`` has none of the same text and tokenizer.

    Reading, encoding (all cores) and writing overlap, in constant memory. The folder appears whole or not at all, and
    processes that want the same one wait for the first. ``progress`` draws a bar where stderr is a terminal; ``key`` is
    the option to blame (default ``--data.<split>``); ``shard_tokens`` is the most tokens of a shard made now.

    Raises:
        InputError: whatever ``read_texts`` finds wrong, a source that changes meanwhile, or a cache that cannot be
            written.
    """
    key = key or f"--data.{split}"
    state = fingerprint(source, split=split, key=key)
    name = hashlib.sha256(json.dumps([VERSION, state, text_column, tokenizer.hash]).encode()).hexdigest()[:32]
    folder = cache_dir / "tokens" / name
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if folder.exists():  # made by another process while this one waited
                return folder
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed: the lock is ours
            unfinished.mkdir()
            try:
                pieces = read_texts(source, split=split, text_column=text_column, key=key)
                with _bar(split, show=progress) as advance:
                    _write_stream(unfinished, pieces, tokenizer, shard_tokens, advance)
                if fingerprint(source, split=split, key=key) != state:
                    raise InputError(f"{key}: {source!r} changed while it was read; start again")
                unfinished.rename(folder)
                sync_folder(folder.parent)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or choose another folder "
            "with --data.cache_dir"
        ) from error
    return folder


class TokenStream:
    """All tokens of one split, read from the shards in ``folder`` as if they were one array.

    Opening reads the headers only. Each 256 KiB is checked when it is first touched. Pickles as its folder's name, so
    each data loader worker maps the files for itself.

    Args:
        folder: the shards, as made by ``tokenize``.
        start: the first token of the stream.
        stop: the token after the last; None takes all.

    Raises:
        InputError: a shard is missing, truncated, foreign or damaged.
    """

    def __init__(self, folder: Path | str, start: int = 0, stop: int | None = None) -> None:
        self.folder = Path(folder)
        paths = sorted(self.folder.glob("*.tokens"))
        if not paths:
            raise InputError(f"{self.folder}: there is no shard of tokens here; {REMAKE}")
        self._shards = [Shard(path, index) for index, path in enumerate(paths)]
        last = self._shards[-1].header
        for shard in self._shards:
            if any(shard.header[name] != last[name] for name in ("vocab_size", "tokenizer")):
                raise InputError(f"{shard.path}: made with another tokenizer than the shards beside it; {REMAKE}")
            if (shard.header["totals"] is None) != (shard is not self._shards[-1]):
                raise InputError(f"{shard.path}: shards that belong after it are missing or foreign; {REMAKE}")
        self._starts = [0, *accumulate(len(shard) for shard in self._shards)]
        self.vocab_size: int = last["vocab_size"]
        self.tokenizer_hash: str = last["tokenizer"]
        self.num_documents: int = last["totals"]["num_documents"]
        self.num_bytes: int = last["totals"]["num_bytes"]
        """UTF-8 bytes of all documents."""
        self._start, self._stop = start, self._starts[-1] if stop is None else stop
        parts = [shard.header["sha256"] for shard in self._shards]
        if len(self) < self._starts[-1]:
            parts.append(f" {self._start} {self._stop}")
        self.checksum: str = hashlib.sha256("".join(parts).encode()).hexdigest()
        """The identity of the data: a digest over the shards' digests."""

    def __reduce__(self) -> tuple[type["TokenStream"], tuple[Path, int, int]]:
        """Pickle as the folder's name and the range of tokens."""
        return TokenStream, (self.folder, self._start, self._stop)

    def __len__(self) -> int:
        """Return the number of tokens."""
        return self._stop - self._start

    def slice(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return tokens ``start`` to ``stop`` (which must exist) as a new array, across shard borders.

        Raises:
            InputError: the file was damaged since it was written.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"tokens {start} to {stop} of a stream of {len(self)}")
        start, stop = start + self._start, stop + self._start
        parts = [
            shard.read(max(start - first, 0), min(stop - first, len(shard)))
            for shard, first in zip(self._shards, self._starts, strict=False)
            if first < stop and start < first + len(shard)
        ]
        return np.concatenate(parts, dtype=np.int64) if parts else np.empty(0, dtype=np.int64)


def _write_stream(
    folder: Path,
    pieces: Iterable[Piece],
    tokenizer: Tokenizer,
    shard_tokens: int,
    advance: Callable[[int, int], None],
) -> None:
    def encode(batch: list[Piece]) -> tuple[NDArray[np.int64], int, int]:
        texts = [piece.text for piece in batch]
        parts: list[NDArray[np.int64]] = []
        for piece, ids in zip(batch, tokenizer.encode_batch(texts), strict=True):
            parts += [end_of_text, ids] if piece.starts_document else [ids]
        num_documents = sum(piece.starts_document for piece in batch)
        return np.concatenate(parts), num_documents, sum(len(text.encode()) for text in texts)

    end_of_text = np.array([tokenizer.end_of_text_id], dtype=np.int64)
    num_documents = num_bytes = 0
    writer = ShardWriter(folder, tokenizer, shard_tokens)
    try:
        for tokens, documents, size in _ahead(encode, _batches(pieces), _ENCODERS):
            writer.write(tokens)
            num_documents, num_bytes = num_documents + documents, num_bytes + size
            advance(size, len(tokens))
        writer.write(end_of_text)
        writer.finish(num_documents, num_bytes)
    finally:
        writer.close()
    sync_folder(folder)


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece.text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _ahead(function: Callable[[_In], _Out], items: Iterable[_In], workers: int) -> Iterator[_Out]:
    """Map in order, computing in threads; at most ``workers + 1`` results are waiting or under way."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[_Out]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _bar(split: str, show: bool) -> Iterator[Callable[[int, int], None]]:
    """Draw progress on stderr where that is a terminal; give a function of the bytes and tokens just done."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = SpinnerColumn(), TextColumn("tokenizing {task.description}: {task.fields[state]}")
    progress = Progress(*columns, console=Console(stderr=True), disable=not (show and sys.stderr.isatty()))
    task = progress.add_task(split, total=None, state="")
    begin, num_bytes, num_tokens = time.perf_counter(), 0, 0

    def advance(more_bytes: int, more_tokens: int) -> None:
        nonlocal num_bytes, num_tokens
        num_bytes, num_tokens = num_bytes + more_bytes, num_tokens + more_tokens
        rate = num_tokens / (time.perf_counter() - begin)
        progress.update(task, state=f"{num_bytes / 1e6:,.0f} MB, {num_tokens:,} tokens, {rate:,.0f} tokens/s")

    with progress:
        yield advance
