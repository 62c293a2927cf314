"""Throughput and memory of turning text into shards, compared with the tokenizers library alone.

gpt-lightning tokenizer train --train TEXT.jsonl --vocab_size 4096 --output bpe.json
python benchmarks/tokenization.py TEXT.jsonl bpe.json
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpt_lightning.data.shards import tokenize
from gpt_lightning.data.sources.source import read_texts
from gpt_lightning.tokenizers.build import load_tokenizer


def measure(side: str, text: str, tokenizer_file: str) -> dict[str, float]:
    """Tokenize ``text`` in this process; return the seconds and the peak memory in MB."""
    tokenizer = load_tokenizer(tokenizer_file)
    if side == "encode_batch":
        import tokenizers

        plain = tokenizers.Tokenizer.from_file(tokenizer_file)
        texts = [piece.text for piece in read_texts(text, split="train")]
        start = time.perf_counter()
        plain.encode_batch(texts, add_special_tokens=False)
        seconds = time.perf_counter() - start
    else:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            tokenize(text, split="train", text_column="text", tokenizer=tokenizer, cache_dir=Path(folder))
            seconds = time.perf_counter() - start
    return {"seconds": seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def in_turn(text: Path, tokenizer: str, rounds: int) -> None:
    """Compare with the library, and compare one copy of the text with ten."""
    size = text.stat().st_size / 1e6
    with tempfile.TemporaryDirectory() as folder:
        ten = Path(folder) / "ten.jsonl"
        with ten.open("wb") as out:
            for _ in range(10):
                with text.open("rb") as file:
                    shutil.copyfileobj(file, out)
        runs = {"encode_batch": ("encode_batch", text), "ours": ("ours", text), "ours, 10 x": ("ours", ten)}
        results: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, (side, path) in runs.items():
                command = [sys.executable, __file__, str(path), tokenizer, "--side", side]
                out_text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                results[name].append(json.loads(out_text))
    median = {
        name: {key: statistics.median(run[key] for run in values) for key in ("seconds", "memory")}
        for name, values in results.items()
    }
    for name, values in median.items():
        rate = size * (10 if "10" in name else 1) / values["seconds"]
        print(f"{name}: {values['seconds']:.2f} s, {rate:.1f} MB/s, peak {values['memory']:.0f} MB")
    library, mine, tenfold = (median[name]["seconds"] for name in runs)
    for copies, seconds in (("", mine), (", ten copies", tenfold / 10)):
        rates = f"{size / seconds:.1f} | encode_batch {size / library:.1f} | {library / seconds:.2f}"
        print(f"| tokenization of {text.parent.name}{copies}, MB/s | {rates} |")
    memory = [median[name]["memory"] for name in ("ours", "ours, 10 x")]
    print(
        f"| its memory for one copy and for ten, MB | {memory[0]:.0f} | {memory[1]:.0f} | {memory[0] / memory[1]:.2f} |"
    )


def main() -> None:
    """Measure one side, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("tokenizer")
    parser.add_argument("--side", choices=["encode_batch", "ours"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options.text, options.tokenizer)))
    else:
        in_turn(Path(options.text), options.tokenizer, options.rounds)


if __name__ == "__main__":
    main()
