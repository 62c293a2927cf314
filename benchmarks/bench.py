"""Run all performance benchmarks and write their results as one table.

    python benchmarks/bench.py DATA PEERS [--model MODEL] [--bare PYTHON] [--output benchmarks/RESULTS.md]
        [--only generate,start]

DATA is the folder of the datasets. PEERS is the folder of the scripts that measure other libraries. MODEL is the folder
of a pretrained model for text generation, such as ``smollm2.py`` makes. PYTHON is the interpreter of an environment
that contains only this package; its start-up time is compared with that of the current environment. The programs run
one after the other and print rows of the table. Nothing else should run on the machine.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs"
PACKAGES = ("torch", "lightning", "tokenizers", "transformers", "accelerate", "litgpt")
HEAD = "| benchmark | ours | compared with | ratio (above 1: ours is better) |\n|---|---:|---:|---:|"


def shape(*numbers: int) -> list[str]:
    """Return layers, heads, width, T, B, vocabulary and steps as arguments of ``train_step.py``."""
    return [str(number) for number in numbers]


def programs(data: Path, peers: Path, model: Path | None, bare: Path | None, folder: Path) -> dict[str, list[str]]:
    """Return name -> a program and its arguments."""
    step, tune = ["--peers", str(peers / "train_step.py")], ["--peer", str(peers / "hf_finetune.py")]
    shakespeare, books = data / "tinyshakespeare", data / "standardebooks"
    recipes = [str(CONFIGS / f"pretrain_shakespeare_char{name}.yaml") for name in ("", "_fast")]
    texts = [f"--{split}={shakespeare}/{split}.txt" for split in ("train", "validation")]
    pythons = [] if bare is None else [str(bare.absolute()), sys.executable]
    generation = [] if model is None else [str(model.resolve()), "--text", str(books / "test.jsonl")]
    return {
        "time_to_loss": ["time_to_loss.py", *recipes, *texts, "--every", "27", "--rounds", "1"],
        "train_step": ["train_step.py", *shape(6, 6, 384, 256, 8, 4096, 12), *step],
        "train_step_nano": ["train_step.py", *shape(4, 4, 128, 64, 12, 65, 100), *step],
        "train_step_tokens": ["train_step.py", *shape(6, 6, 384, 256, 32, 4096, 5), *step, "--rounds", "1"],
        "memory": ["memory.py", *shape(6, 6, 384, 1024, 4, 50257, 4), *step, "--rounds", "2"],
        "fine_tune_rt_polarity": ["fine_tune.py", "sentiment", str(data / "rt_polarity"), *tune],
        "fine_tune_wnut17": ["fine_tune.py", "ner", str(data / "wnut17"), *tune],
        "fine_tune_banking77": ["fine_tune.py", "sentiment", str(data / "banking77"), *tune],
        "generate": ["generate.py", *generation],
        "tokenization": ["tokenization.py", str(books / "train.jsonl"), str(folder / "bpe.json")],
        "data": ["data.py"],
        "start": ["start.py", *pythons, "--rounds", "3"],
        "growth": ["growth.py"],
    }


def environment() -> str:
    """Return one line about the CPU and the versions that the results depend on."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = names[0].partition(": ")[2] if names else platform.machine()
    installed = [name for name in PACKAGES if importlib.util.find_spec(name)]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in installed)
    return f"{cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}."


def main() -> None:
    """Run the programs, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("peers", type=Path)
    parser.add_argument("--model", type=Path, help="folder of a pretrained model; default: random weights")
    parser.add_argument("--bare", type=Path, help="interpreter of an environment that contains only this package")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--only", help="names of programs, separated by commas")
    options = parser.parse_args()
    begin = time.perf_counter()
    lines = ["# Results", "", f"`make bench`: {environment()}", "", HEAD]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = programs(options.data.resolve(), options.peers.resolve(), options.model, options.bare, folder)
        if options.only:
            chosen = {each: chosen[each] for each in options.only.split(",")}
        if "tokenization" in chosen:
            train = ["--train", chosen["tokenization"][1], "--vocab_size", "4096"]
            train += ["--output", chosen["tokenization"][2]]
            subprocess.run([sys.executable, "-m", "gpt_lightning", "tokenizer", "train", *train], check=True)
        for each, (program, *arguments) in chosen.items():
            start = time.perf_counter()
            command = [sys.executable, str(HERE / program), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
            rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
            if done.returncode or not rows:
                rows = [f"| {each} failed | | | |"]
                print(done.stdout + done.stderr, file=sys.stderr)
            lines += rows
            options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
            print("\n".join(rows), f"  {each}: {time.perf_counter() - start:.0f} s", sep="\n", flush=True)
    print(f"{(time.perf_counter() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
