"""Shards: exact streams, damage that is detected before it is used, and memory that does not grow with the text."""

import gzip
import json
import os
import pickle
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from gpt_lightning.data import shards as module
from gpt_lightning.data.shard_file import _pack_header
from gpt_lightning.data.shards import TokenStream, tokenize
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import bytes_tokenizer, train_bpe
from gpt_lightning.tokenizers.tokenizer import Tokenizer

END = 256
DOCUMENTS = [
    "first",
    "CRLF\r\n  spaces  \n",
    "👩‍👩‍👧 汉字 e\u0301",
    "<|endoftext|> stays text",
    "é" * 100_000,
    "last",
]


def write(folder: Path, documents: list[str] = DOCUMENTS) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    return str(folder / "a.jsonl")


def make(folder: Path, tokenizer: Tokenizer | None = None, shard_tokens: int = 50_000) -> Path:
    return tokenize(
        write(folder),
        split="train",
        text_column="text",
        tokenizer=tokenizer or bytes_tokenizer(),
        cache_dir=folder / "cache",
        shard_tokens=shard_tokens,
    )


def expected(documents: list[str] = DOCUMENTS) -> list[int]:
    """Return the stream of the byte tokenizer: the end-of-text token before each document and at the end."""
    return [index for text in documents for index in (END, *text.encode())] + [END]


def test_the_stream_contains_all_documents_across_shards(tmp_path: Path) -> None:
    stream = TokenStream(make(tmp_path))
    assert [path.name for path in sorted(stream.folder.iterdir())] == [f"0000{i}.tokens" for i in range(5)]
    tokens = stream.slice(0, len(stream))
    assert tokens.dtype == np.int64
    assert tokens.flags.writeable
    assert tokens.tolist() == expected()
    assert (stream.vocab_size, stream.tokenizer_hash) == (257, bytes_tokenizer().hash)
    assert (stream.num_documents, stream.num_bytes) == (6, sum(len(text.encode()) for text in DOCUMENTS))


def test_slices_may_start_and_stop_anywhere(tmp_path: Path) -> None:
    stream, tokens = TokenStream(make(tmp_path)), expected()
    generator = np.random.default_rng(0)
    for start, stop in [(0, 0), (len(tokens), len(tokens)), (49_999, 50_001), (50_000, 150_000)]:
        assert stream.slice(start, stop).tolist() == tokens[start:stop]
    for start in generator.integers(0, len(tokens), 200):
        stop = min(start + int(generator.integers(0, 300)), len(tokens))
        assert stream.slice(int(start), stop).tolist() == tokens[start:stop]
    for start, stop in [(-1, 5), (0, len(tokens) + 1), (7, 5)]:
        with pytest.raises(IndexError, match=f"tokens {start} to {stop} of a stream of {len(tokens)}"):
            stream.slice(start, stop)


@pytest.mark.parametrize(
    ("documents", "shard_tokens"),
    [
        *((["a"], tokens) for tokens in (1, 2, 3)),
        *((["ab", "cde"], tokens) for tokens in (1, 5, 7, 8, 9)),
        *((DOCUMENTS, tokens) for tokens in (9_999, 200_085, 200_086, 200_087)),  # the stream has 200,086 tokens
    ],
)
def test_shards_of_any_size_contain_the_same_stream(tmp_path: Path, documents: list[str], shard_tokens: int) -> None:
    folder = tokenize(
        write(tmp_path, documents),
        split="train",
        text_column="text",
        tokenizer=bytes_tokenizer(),
        cache_dir=tmp_path,
        shard_tokens=shard_tokens,
    )
    tokens = expected(documents)
    assert len(list(folder.iterdir())) == -(-len(tokens) // shard_tokens)
    assert TokenStream(folder).slice(0, len(tokens)).tolist() == tokens


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    inner = json.loads(bytes_tokenizer().to_json())
    inner["model"]["vocab"] |= {f"token{i}": i for i in range(257, 65_537)}
    folder = make(tmp_path, Tokenizer.from_json(json.dumps(inner)), shard_tokens=1 << 20)
    stream = TokenStream(folder)
    assert stream.vocab_size == 65_537
    tokens = [65_536 if index == END else index for index in expected()]  # the end-of-text token has the last id
    assert stream.slice(0, len(stream)).tolist() == tokens
    assert (folder / "00000.tokens").stat().st_size == 4096 + 4 * len(stream) + 4 * 4


def test_documents_of_every_size_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads encode batches concurrently."""
    monkeypatch.setattr(module, "_BATCH_CHARACTERS", 1000)
    tokenizer = train_bpe(DOCUMENTS, 300)
    documents = [f"document {i} " * (i % 97) for i in range(1, 500)]
    folder = tokenize(
        write(tmp_path, documents), split="train", text_column="text", tokenizer=tokenizer, cache_dir=tmp_path
    )
    stream = TokenStream(folder)
    tokens = stream.slice(0, len(stream))
    assert tokenizer.decode(tokens) == "".join(documents)
    assert (tokens == tokenizer.end_of_text_id).sum() == stream.num_documents + 1
    assert tokenizer.token_bytes[tokens].sum() == stream.num_bytes


def test_the_same_text_is_tokenized_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path)
    other = tokenize(
        str(tmp_path / "a.jsonl"),
        split="train",
        text_column="text",
        tokenizer=train_bpe(DOCUMENTS, 300),
        cache_dir=tmp_path / "cache",
    )
    assert other != folder

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("tokenized again")

    monkeypatch.setattr(module, "_write_stream", refuse)
    again = tokenize(
        [str(tmp_path / "a.jsonl")],
        split="train",
        text_column="text",
        tokenizer=bytes_tokenizer(),
        cache_dir=tmp_path / "cache",
    )
    assert again == folder


def test_concurrent_calls_tokenize_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    write_stream = module._write_stream

    def count(*arguments: object) -> None:
        calls.append(1)
        write_stream(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_write_stream", count)
    write(tmp_path)
    ready = threading.Barrier(4)

    def run() -> None:
        ready.wait()
        tokenize(
            str(tmp_path / "a.jsonl"),
            split="train",
            text_column="text",
            tokenizer=bytes_tokenizer(),
            cache_dir=tmp_path / "cache",
        )

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    folder = make(tmp_path)
    leftover = folder.with_suffix(".unfinished")
    folder.rename(leftover)
    (leftover / "00099.tokens").write_bytes(b"left behind")
    again = tokenize(
        str(tmp_path / "a.jsonl"),
        split="train",
        text_column="text",
        tokenizer=bytes_tokenizer(),
        cache_dir=tmp_path / "cache",
    )
    assert again == folder
    assert not leftover.exists()
    assert [path.name for path in folder.iterdir()] == ["00000.tokens"]


def test_a_failing_source_leaves_no_files(tmp_path: Path) -> None:
    source = write(tmp_path)
    with Path(source).open("a") as stream:
        stream.write("not json\n")
    with pytest.raises(InputError, match=r"a\.jsonl:7: not JSON"):
        tokenize(source, split="train", text_column="text", tokenizer=bytes_tokenizer(), cache_dir=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache" / "tokens").iterdir()] == [".lock"]


def test_a_source_that_changes_during_tokenization_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stream = module._write_stream

    def write_and_change(*arguments: object) -> None:
        write_stream(*arguments)  # type: ignore[arg-type]
        write(tmp_path, ["changed"])

    monkeypatch.setattr(module, "_write_stream", write_and_change)
    with pytest.raises(InputError, match=r"--data\.train: .*a\.jsonl' changed while it was read"):
        make(tmp_path)


def test_an_unwritable_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match=r"cannot write .*\. Choose .* --data\.cache_dir"):
        make(tmp_path)


def test_the_checksum_depends_only_on_the_tokens(tmp_path: Path) -> None:
    streams = [TokenStream(make(tmp_path / name)) for name in "ab"]
    write(tmp_path / "c", [*DOCUMENTS[:-1], "lasT"])
    third = tokenize(
        str(tmp_path / "c" / "a.jsonl"),
        split="train",
        text_column="text",
        tokenizer=bytes_tokenizer(),
        cache_dir=tmp_path,
        shard_tokens=50_000,
    )
    assert streams[0].checksum == streams[1].checksum != TokenStream(third).checksum


def test_a_stream_pickles(tmp_path: Path) -> None:
    stream = TokenStream(make(tmp_path))
    stream.slice(0, len(stream))
    data = pickle.dumps(stream)
    assert len(data) < 1000
    assert pickle.loads(data).slice(0, 100).tolist() == expected()[:100]  # noqa: S301


def rewrite_header(path: Path, **changes: object) -> None:
    data = path.read_bytes()
    path.write_bytes(_pack_header({**json.loads(data[12:4096]), **changes}) + data[4096:])


def flip(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << (byte % 8)
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda folder: os.truncate(folder / "00001.tokens", 50_000), r"00001\.tokens: .* has 50000 bytes, "),
    "one byte short": (lambda folder: os.truncate(folder / "00001.tokens", 104_099), "104099 bytes, but .* 104100"),
    "longer": (lambda folder: os.truncate(folder / "00001.tokens", 200_000), r"00001\.tokens: .* has 200000 bytes, "),
    "cut header": (lambda folder: os.truncate(folder / "00001.tokens", 100), r"00001\.tokens: its header is damaged"),
    "empty": (lambda folder: os.truncate(folder / "00001.tokens", 0), r"00001\.tokens: not a file of tokens"),
    "another format": (lambda folder: (folder / "00001.tokens").write_bytes(b"x" * 9999), "not a file of tokens"),
    "magic": (lambda folder: flip(folder / "00001.tokens", 3), "not a file of tokens"),
    "header": (lambda folder: flip(folder / "00001.tokens", 30), r"00001\.tokens: its header is damaged"),
    "padding": (lambda folder: flip(folder / "00001.tokens", 4000), r"00001\.tokens: its header is damaged"),
    "version": (lambda folder: rewrite_header(folder / "00001.tokens", version=9), "its format has version 9, not 2"),
    "tokenizer": (
        lambda folder: rewrite_header(folder / "00001.tokens", tokenizer="x"),
        "its tokenizer differs",
    ),
    "missing first": (lambda folder: (folder / "00000.tokens").unlink(), r"00001\.tokens: this is shard 1, not 0"),
    "missing last": (lambda folder: (folder / "00004.tokens").unlink(), r"00003\.tokens: the next shards are missing"),
    "missing all": (
        lambda folder: [p.rename(folder.parent / p.name) for p in folder.iterdir()],
        "the folder has no shards",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_folders_do_not_open(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    folder = make(tmp_path)
    damage(folder)
    with pytest.raises(InputError, match=rf"{message}.*; delete its folder, and the next run tokenizes the text again"):
        TokenStream(folder)


def read_all(folder: Path) -> None:
    stream = TokenStream(folder)
    stream.slice(0, len(stream))


def test_every_flipped_bit_is_detected_before_it_is_used(tmp_path: Path) -> None:
    folder = make(tmp_path, shard_tokens=1 << 20)
    path = folder / "00000.tokens"
    original = path.read_bytes()
    bits = np.random.default_rng(0).integers(0, len(original) * 8, 100).tolist()
    for bit in [*bits, 4096 * 8, len(original) * 8 - 1]:
        damaged = bytearray(original)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"00000\.tokens: .*; delete its folder"):
            read_all(folder)
    path.write_bytes(original)
    assert len(TokenStream(folder).slice(0, 10)) == 10


def test_undamaged_parts_of_a_damaged_file_can_be_read(tmp_path: Path) -> None:
    folder = make(tmp_path, shard_tokens=1 << 20)
    flip(folder / "00000.tokens", 4096 + 2 * 131_072)  # the first token of the second 256 KiB
    stream = TokenStream(folder)
    assert stream.slice(0, 131_072).tolist() == expected()[:131_072]
    for _ in range(2):  # a chunk that failed is checked again
        with pytest.raises(InputError, match=r"00000\.tokens: damaged near token 131072"):
            stream.slice(131_071, 131_073)


def test_each_chunk_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = TokenStream(make(tmp_path, shard_tokens=1 << 20))
    sizes: list[int] = []
    crc32 = zlib.crc32
    monkeypatch.setattr(zlib, "crc32", lambda data: sizes.append(memoryview(data).nbytes) or crc32(data))  # type: ignore[func-returns-value]
    for _ in range(3):
        for start in range(0, len(stream) - 100, 100):
            stream.slice(start, start + 100)
    assert sum(sizes) == 2 * len(stream)
    assert max(sizes) == 256 << 10


def test_few_items_are_read_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    results = module._map_in_threads(lambda item: -item, items(), workers=2)
    for i in range(50):
        assert next(results) == -i
        assert len(taken) <= i + 3
    assert list(results) == [-i for i in range(50, 100)]


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb(path: Path, cache_dir: Path) -> float:
    """Return the largest resident memory of this process while a text is tokenized."""
    done, samples = threading.Event(), [resident_mb()]

    def sample() -> None:
        while not done.wait(0.005):
            samples.append(resident_mb())

    sampler = threading.Thread(target=sample)
    sampler.start()
    tokenize(str(path), split="train", text_column="text", tokenizer=bytes_tokenizer(), cache_dir=cache_dir)
    done.set()
    sampler.join()
    return max(samples)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory usage from Linux's /proc")
def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    """A document of 13 MB, which is 107 MB of int64 tokens, takes hardly more memory than one of 3 MB."""
    block = "some words that are all alike, é and 汉\n".encode() * 20_000
    peaks = []
    # The memory of a process that has run other tests changes by itself.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for times in (4, 16):
            path = tmp_path / f"{times}.txt.gz"
            with gzip.open(path, "wb", compresslevel=1) as stream:
                for _ in range(times):
                    stream.write(block)
            peaks.append(pool.submit(peak_mb, path, tmp_path).result())
    assert peaks[1] - peaks[0] < 64, peaks


def test_a_progress_bar_is_drawn_only_in_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, terminal in (("a", False), ("b", True)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        tokenize(
            write(tmp_path / name),
            split="train",
            text_column="text",
            tokenizer=bytes_tokenizer(),
            cache_dir=tmp_path / name,
            progress=True,
        )
        captured = capsys.readouterr()
        assert captured.out == ""
        assert ("tokenizing train: 0 MB, 200,0" in captured.err) == terminal
        assert terminal or not captured.err


def test_folders_of_killed_processes_are_deleted_unless_one_is_in_use(tmp_path: Path) -> None:
    tokens = make(tmp_path).parent
    (tokens / "a.unfinished").mkdir()
    (tokens / "a.unfinished" / "00000.tokens").write_bytes(b"part")
    (tokens / "b.unfinished").mkdir()
    with FileLock(tokens / "b.lock"):
        make(tmp_path)
        assert [path.name for path in tokens.glob("*.unfinished")] == ["b.unfinished"]
    make(tmp_path)
    assert not list(tokens.glob("*.unfinished"))
