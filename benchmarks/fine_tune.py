"""Examples per second of fine-tuning, compared with Hugging Face's Trainer with dynamic padding.

    python benchmarks/fine_tune.py sentiment|ner|qa DATA --peer ../shared/bench/hf_finetune.py [--examples 1024]
        [--model FOLDER] [--batch_size 16] [--turns 3]

DATA is the folder of rt_polarity, wnut17 or squadshifts_wiki. Both train the same model with the same tokenizer for one
epoch on the same rows, several times in turn. The model is that of FOLDER, or a small random Llama. The results are
medians of the time of the training loop and of the process's peak memory.
"""

import argparse
import json
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L

SHAPE = {"n_layer": 4, "n_head": 4, "n_embd": 192, "n_inner": 512, "block_size": 256}
KIND = ("position=rotary", "norm=rmsnorm", "mlp=swiglu", "bias=false")
VOCABULARY = 4096
TASKS = {
    "sentiment": ("SequenceClassification", "TextClassification", 128),
    "ner": ("TokenClassification", "SequenceTagging", 256),
    "qa": ("QuestionAnswering", "ReadingComprehension", 384),
}
"""Task name of the peer -> task class, data module class, and the peer's maximum number of tokens."""


class Clock(L.Callback):
    """Callback that measures the time of the training loop."""

    def on_train_start(self, *_: Any) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.start


def ours(task: str, folder: Path, batch_size: int, model_folder: Path | None) -> dict[str, float]:
    """Train through the command line; return the examples per second and the peak memory in MB."""
    from gpt_lightning.commands.run.cli import CLI
    from gpt_lightning.commands.run.hidden_messages import hide_messages

    class TimedCLI(CLI):
        def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
            trainer = super().instantiate_trainer(**kwargs)
            self.clock = Clock()
            trainer.callbacks.append(self.clock)  # type: ignore[attr-defined]
            return trainer

    hide_messages()
    model, data, block_size = TASKS[task]
    if model_folder is None:
        shape = [f"--model.backbone.{name}={value}" for name, value in SHAPE.items()]
        shape += [f"--model.backbone.{each}" for each in KIND] + [f"--data.tokenizer={folder}/tokenizer.json"]
    else:
        shape = [f"--model.init_from={model_folder}", f"--model.backbone.block_size={block_size}"]
    if task == "sentiment":
        shape.append("--model.pooling=last")
    cli = TimedCLI(
        [
            *("fit", f"--model={model}", f"--data={data}", *shape),
            *(f"--data.train={folder}/train.jsonl", f"--data.batch_size={batch_size}"),
            *(f"--log_dir={folder}/logs", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.devices=1"),
            # As in the peer, no checkpoint is saved, because its time depends on the disk.
            *("--trainer.enable_progress_bar=false", "--trainer.enable_checkpointing=false"),
        ]
    )
    rows = len((folder / "train.jsonl").read_text().splitlines())
    return {
        "examples_per_s": rows / cli.clock.seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def draw_rows(data: Path, folder: Path, examples: int) -> None:
    """Write the training rows for both sides, and a few test rows that the peer needs."""
    lines = (data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    random.Random(0).shuffle(lines)
    (folder / "train.jsonl").write_text("\n".join(lines[:examples]) + "\n", encoding="utf-8")
    (folder / "test.jsonl").write_text("\n".join(lines[:16]) + "\n", encoding="utf-8")


def make_model(data: Path, folder: Path) -> None:
    """Write a tokenizer and the Hugging Face configuration of the small model, without weights."""
    from gpt_lightning.tokenizers.build import train_bpe

    rows = map(json.loads, (data / "train.jsonl").read_text(encoding="utf-8").splitlines())
    texts = [row.get("text") or row.get("context") or " ".join(row["tokens"]) for row in rows]
    train_bpe(texts, VOCABULARY).save(folder / "tokenizer.json")
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY,
        "hidden_size": SHAPE["n_embd"],
        "intermediate_size": SHAPE["n_inner"],
        "num_hidden_layers": SHAPE["n_layer"],
        "num_attention_heads": SHAPE["n_head"],
        "max_position_embeddings": SHAPE["block_size"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokens = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))


def measure(command: list[str], cwd: Path) -> dict[str, float]:
    """Run one side in a process of its own, and return the numbers that it prints."""
    output = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"'(examples_per_s|peak_mb)': ([\d.]+)", output))
    return {name: float(value) for name, value in found.items()}


def main() -> None:
    """Run the sides in turn, and print rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", type=Path, help="the peer's script")
    parser.add_argument("--examples", type=int, default=1024)
    parser.add_argument("--model", type=Path, help="a Hugging Face folder; default: a small random model")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--ours", action="store_true", help="only train ours, in this process, on a prepared folder")
    options = parser.parse_args()
    model = None if options.model is None else options.model.resolve()
    if options.ours:
        print(ours(options.task, options.data, options.batch_size, model))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_rows(options.data, folder, options.examples)
        size = str(options.batch_size)
        mine = [str(Path(__file__).resolve()), options.task, name, "--ours", "--batch_size", size]
        if model is None:
            make_model(options.data, folder)
        else:
            mine += ["--model", str(model)]
        sides = {"ours": mine}
        if options.peer:
            peer = [options.task, str(model or name), name, str(folder / "out.jsonl"), "--bs", size]
            sides["Hugging Face's Trainer"] = [str(options.peer.resolve()), *peer, *["--scratch"][model is not None :]]
        found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for turn in range(options.turns):
            for side, command in sides.items():
                found[side].append(measure(command, folder))
                print(f"{turn + 1}. {side}: {found[side][-1]}", flush=True)
        for value, unit in (("examples_per_s", "examples/s"), ("peak_mb", "peak memory, MB")):
            medians = [statistics.median(each[value] for each in runs) for runs in found.values()]
            for other in medians[1:]:
                ratio = medians[0] / other if value == "examples_per_s" else other / medians[0]
                row = f"fine-tuning on {options.data.name}, {unit}"
                print(f"| {row} | {medians[0]:,.1f} | HF Trainer {other:,.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
