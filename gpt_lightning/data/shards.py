"""Tokenization of text into shards, and a reader of all shards as one array.

A split is a stream of tokens with the end-of-text token before each document and at the end. The stream is divided into
the shards ``00000.tokens``, ``00001.tokens`` and so on.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from gpt_lightning.atomic_files import sync_folder
from gpt_lightning.data.document_split import Part, documents_of
from gpt_lightning.data.shard_file import REMEDY, VERSION, Shard, ShardWriter
from gpt_lightning.data.sources.open_file import reported_reading
from gpt_lightning.data.sources.source import (
    PIECE_CHARACTERS,
    Piece,
    ReadOptions,
    Source,
    fingerprint,
    read_texts,
    source_bytes,
)
from gpt_lightning.errors import InputError
from gpt_lightning.output_files import write_error
from gpt_lightning.tokenizers.pieces import border
from gpt_lightning.tokenizers.tokenizer import Tokenizer

SHARD_TOKENS: Final = 128 << 20
"""Maximum number of tokens per shard: 256 MiB if the vocabulary has at most 65,536 ids."""

_SKIPPED: Final = "skipped.json"

# A batch has pieces for every core. Two batches are encoded concurrently, so that no core idles at the end of one.
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
    options: ReadOptions = ReadOptions(),
    document_separator: str | None = None,
    skips_bad_rows: bool = False,
    part: Part | None = None,
) -> Path:
    """Return the folder with the shards of a source, after tokenizing it if the cache does not have them.

    Reading, encoding (on all cores) and writing overlap, in constant memory. The folder is created atomically. Other
    processes that request the same shards wait for the first.

    Args:
        source: the source.
        split: split (train, validation or test) of a ``hub:`` dataset that names none.
        text_column: column with the text.
        tokenizer: the tokenizer.
        cache_dir: folder of the cache.
        progress: whether to draw a progress bar if stderr is a terminal.
        key: option that sets the source, for messages; by default ``--data.<split>``.
        shard_tokens: maximum number of tokens per new shard.
        options: options for text files.
        document_separator: string between the documents of a text.
        skips_bad_rows: whether to skip invalid rows. ``skipped_rows`` returns their number.
        part: the documents to take; None takes all.

    Raises:
        InputError: the source cannot be read or changes meanwhile, or the cache is not writable.
        RunError: the disk is full.
    """
    key = key or f"--data.{split}"
    state = fingerprint(source, split=split, key=key)
    settings: list[object] = [VERSION, state, text_column, tokenizer.hash]
    # Defaults add nothing, so that the cache of earlier versions stays valid.
    more = {
        "delimiter": options.delimiter,
        "encoding": options.encoding,
        "document_separator": document_separator,
        "skips_bad_rows": skips_bad_rows or None,
        "part": part,
    }
    settings += [[name, value] for name, value in more.items() if value is not None]
    name = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
    folder = cache_dir / "tokens" / name
    _sweep(folder.parent)
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if folder.exists():  # another process created it while this one waited for the lock
                return folder
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)  # a killed process left it, because this one has the lock
            unfinished.mkdir()
            try:
                skipped: Counter[str] = Counter()

                def read(skipped: Counter[str] | None) -> Iterator[Piece]:
                    return read_texts(
                        source,
                        split=split,
                        text_column=text_column,
                        key=key,
                        options=options,
                        document_separator=document_separator,
                        skipped=skipped,
                    )

                size, passes = source_bytes(source), 1 if part is None else 2
                pieces = read(skipped if skips_bad_rows else None)
                if part is not None:
                    pieces = documents_of(part, pieces, read(Counter() if skips_bad_rows else None))
                with _progress_bar(split, size and size * passes, show=progress) as advance:
                    _write_stream(unfinished, pieces, tokenizer, shard_tokens, advance)
                if skipped:
                    (unfinished / _SKIPPED).write_text(json.dumps(skipped), encoding="utf-8")
                if fingerprint(source, split=split, key=key) != state:
                    raise InputError(f"{key}: {source!r} changed while it was read; run the command again")
                unfinished.rename(folder)
                sync_folder(folder.parent)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise write_error(folder, error, "Choose another folder with --data.cache_dir=FOLDER") from error
    return folder


def skipped_rows(folder: Path) -> Counter[str]:
    """Return the number of invalid rows that were skipped, by cause."""
    file = folder / _SKIPPED
    return Counter(json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {})


def _sweep(folder: Path) -> None:
    """Delete the unfinished folders that killed processes left. A process that still writes one has its lock."""
    for unfinished in folder.glob("*.unfinished"):
        with suppress(OSError), FileLock(unfinished.with_suffix(".lock"), timeout=0):
            shutil.rmtree(unfinished, ignore_errors=True)


class TokenStream:
    """Tokens of a split, read from all its shards as one array.

    Opening reads only the headers. Each 256 KiB of tokens is checked on first use. A stream is pickled as the path of
    its folder, so that each data loader worker maps the files itself.

    Args:
        folder: folder that ``tokenize`` returned.
        start: index of the first token of the stream.
        stop: index after its last token; None takes all tokens.

    Raises:
        InputError: a shard is missing, truncated, damaged, or from another stream.
    """

    def __init__(self, folder: Path | str, start: int = 0, stop: int | None = None) -> None:
        self.folder = Path(folder)
        paths = sorted(self.folder.glob("*.tokens"))
        if not paths:
            raise InputError(f"{self.folder}: the folder has no shards; {REMEDY}")
        self._shards = [Shard(path, index) for index, path in enumerate(paths)]
        last = self._shards[-1].header
        for shard in self._shards:
            if any(shard.header[name] != last[name] for name in ("vocab_size", "tokenizer")):
                raise InputError(f"{shard.path}: its tokenizer differs from that of the last shard; {REMEDY}")
            if (shard.header["totals"] is None) != (shard is not self._shards[-1]):
                raise InputError(f"{shard.path}: the next shards are missing or belong to a different text; {REMEDY}")
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
        """Digest of all tokens, computed from the digests of the shards."""

    def __reduce__(self) -> tuple[type["TokenStream"], tuple[Path, int, int]]:
        """Pickle as the path of the folder and the range of tokens."""
        return TokenStream, (self.folder, self._start, self._stop)

    def __len__(self) -> int:
        """Return the number of tokens."""
        return self._stop - self._start

    def slice(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the tokens [start, stop) as a new array, also across shards.

        Raises:
            IndexError: the range is not inside the stream.
            InputError: a shard is damaged.
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
    """Encode the pieces and write the stream; ``advance`` takes the numbers of bytes and tokens of each batch."""

    def encode(batch: list[Piece]) -> tuple[NDArray[np.int64], int, int]:
        starts = iter(tokenizer.encode_batch([piece.text for piece in batch if piece.starts_document]))
        later = [piece.text for piece in batch if not piece.starts_document]
        continuations = iter(tokenizer.encode_batch(later, are_continuations=True))
        parts: list[NDArray[np.int64]] = []
        for piece in batch:
            parts += [end_of_text, next(starts)] if piece.starts_document else [next(continuations)]
        num_documents = sum(piece.starts_document for piece in batch)
        return np.concatenate(parts), num_documents, sum(len(piece.text.encode()) for piece in batch)

    end_of_text = np.array([tokenizer.end_of_text_id], dtype=np.int64)
    num_documents = num_bytes = 0
    writer = ShardWriter(folder, tokenizer, shard_tokens)
    try:
        for tokens, batch_documents, batch_bytes in _map_in_threads(
            encode, _batches(_align_pieces(pieces, tokenizer)), _ENCODERS
        ):
            writer.write(tokens)
            num_documents, num_bytes = num_documents + batch_documents, num_bytes + batch_bytes
            advance(batch_bytes, len(tokens))
        writer.write(end_of_text)
        writer.finish(num_documents, num_bytes)
    finally:
        writer.close()
    sync_folder(folder)


def _align_pieces(pieces: Iterable[Piece], tokenizer: Tokenizer) -> Iterator[Piece]:
    """Move the borders inside documents to places where the ids of the pieces join to those of the document."""
    encode = partial(tokenizer.encode_batch, are_continuations=True)
    previous: Piece | None = None
    for piece in pieces:
        if previous is not None and not piece.starts_document:
            text = previous.text + piece.text
            place = len(previous.text) + border(previous.text, piece.text, encode)
            previous, piece = previous._replace(text=text[:place]), piece._replace(text=text[place:])
        if previous is not None:
            yield previous
        previous = piece
    if previous is not None:
        yield previous


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


def _map_in_threads(function: Callable[[_In], _Out], items: Iterable[_In], workers: int) -> Iterator[_Out]:
    """Yield the results in the order of ``items``; at most ``workers + 1`` are pending, which bounds memory."""
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[_Out]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def _progress_bar(split: str, total: int | None, show: bool) -> Iterator[Callable[[int, int], None]]:
    """Draw a progress bar if stderr is a terminal.

    Args:
        split: the split.
        total: bytes of files to read; with None, the time left is unknown.
        show: whether to draw it.

    Yields:
        Function that adds numbers of bytes of text and of tokens.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    text = TextColumn("tokenizing {task.description}: {task.fields[state]}")
    columns = text, BarColumn(), TimeRemainingColumn(elapsed_when_finished=True)
    progress = Progress(*columns, console=Console(stderr=True), disable=not (show and sys.stderr.isatty()))
    task = progress.add_task(split, total=total, state="")
    start, num_bytes, num_tokens = time.perf_counter(), 0, 0

    def advance(more_bytes: int, more_tokens: int) -> None:
        nonlocal num_bytes, num_tokens
        num_bytes, num_tokens = num_bytes + more_bytes, num_tokens + more_tokens
        rate = num_tokens / (time.perf_counter() - start)
        progress.update(task, state=f"{num_bytes / 1e6:,.0f} MB, {num_tokens:,} tokens, {rate:,.0f} tokens/s")

    with progress, reported_reading(lambda size: progress.advance(task, size)):
        yield advance
