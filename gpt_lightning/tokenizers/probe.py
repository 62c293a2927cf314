"""Trial of the ``tokenizer.json`` in standard input, in a process of its own.

The tokenizers library can abort its process, or take any time and memory, while it reads a file or uses it. This module
imports little else, so it starts quickly. It exits with 0 if the tokenizer works, and otherwise prints the reason.
"""

import json
import sys

from gpt_lightning.sandbox.process import limit_resources

_MEMORY_BYTES = 8 * 2**30
_CPU_SECONDS = 30
FAILED = 3
"""Exit code of a tokenizer that raises an error."""
_SAMPLES = [
    "",
    "Hello, world! It's 12345 o'clock.\r\n\tA line, <|endoftext|></s>[CLS]\x00",
    "日本語 한국어 emoji 👩‍🚀 e\u0301 ﬁ İ ß שלום \ufeff\u200b\u2028\U0010ffff",
]


def probe(text: str) -> None:
    """Use a tokenizer in all ways in which this package uses one."""
    import tokenizers

    inner = tokenizers.Tokenizer.from_str(text)
    inner.no_truncation()
    inner.no_padding()
    inner.encode_special_tokens = True
    samples = _samples(text)
    for sample in samples:
        ids = inner.encode(sample, add_special_tokens=False).ids
        inner.decode(ids, skip_special_tokens=False)
    inner.encode_batch(samples, add_special_tokens=False)
    inner.encode_batch_fast(samples, add_special_tokens=False)
    for index in [*range(min(1000, inner.get_vocab_size())), *sorted(inner.get_vocab().values())[-1000:]]:
        inner.decode([index], skip_special_tokens=False)
    inner.decode([], skip_special_tokens=False)
    published = tokenizers.Tokenizer.from_str(inner.to_str())
    published.encode_special_tokens = False
    for sample in samples:
        published.encode(sample, add_special_tokens=True)


def _samples(text: str) -> list[str]:
    """Return sample texts, with long runs of each character that a regular expression or normalizer may repeat."""
    content = json.loads(text)
    parts = json.dumps([content.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")], ensure_ascii=False)
    # Runs of a character, and of pairs of them, are the texts on which a pattern backtracks most.
    characters = sorted(set(parts[:20_000]) - set('"\\{}'))[:200]
    runs = [character * 200 + "\u0001" for character in ["a", "1", " ", "\n", "!", *characters]]
    return [*_SAMPLES, *runs, "".join(characters) * 20]


def main() -> int:
    """Probe the tokenizer in standard input, and print the reason if it does not work."""
    limit_resources(_MEMORY_BYTES, _CPU_SECONDS)
    try:
        probe(sys.stdin.buffer.read().decode())
    except BaseException as error:  # panics of Rust derive from BaseException
        print(" ".join(str(error).split())[:300])
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
