"""Examples per second and peak memory of LoRA tuning on dialogues, compared with TRL's SFTTrainer.

    python -m benchmarks.instruction_tuning SMOLLM2_FOLDER sgd_dialogues/train.jsonl --trl_python PYTHON
        [--rows 128] [--length 1024] [--batch_size 4] [--packing] [--turns 3]

PYTHON is the interpreter of an environment with TRL and peft. Both sides train adapters of rank 16 on all linear layers
of the same weights, for one epoch on the same rows, with the loss on the answers only, in float32. Activation
checkpointing is off on both sides. The results are medians of the time of the training loop and of the process's peak
memory.
"""

import argparse
import json
import os
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

RANK = 16


def of_this_package(options: argparse.Namespace) -> tuple[float, int]:
    """Train through the command line, and return the seconds of the training loop and the number of trained tokens."""
    import lightning.pytorch as L

    from benchmarks.fine_tune import Clock
    from gpt_lightning.commands.run.cli import CLI
    from gpt_lightning.commands.run.hidden_messages import hide_messages

    class TimedCLI(CLI):
        def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
            trainer = super().instantiate_trainer(**kwargs)
            self.clock = Clock()
            trainer.callbacks.append(self.clock)  # type: ignore[attr-defined]
            return trainer

    hide_messages()
    folder = options.data.parent
    cli = TimedCLI(
        [
            *("fit", "--model=CausalLM", "--data=InstructionTuning", f"--model.init_from={options.model}"),
            *(f"--model.backbone.block_size={options.length}", f"--model.lora.r={RANK}"),
            *(f"--data.train={options.data}", f"--data.batch_size={options.batch_size}"),
            *(f"--data.packing={str(options.packing).lower()}", f"--data.cache_dir={folder}/cache"),
            *(f"--log_dir={folder}/logs", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.devices=1"),
            # No checkpoint is saved, because its time depends on the disk.
            *("--trainer.enable_progress_bar=false", "--trainer.enable_checkpointing=false"),
        ]
    )
    labels = (row["labels"] for row in cli.datamodule.train_dataloader())
    return cli.clock.seconds, sum(int((each >= 0).sum()) for each in labels)


def of_trl(options: argparse.Namespace) -> tuple[float, int]:
    """Train with TRL, and return the seconds of the training loop and the number of trained tokens."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from benchmarks.trl_masks import with_tags

    rows = [json.loads(line) for line in options.data.read_text(encoding="utf-8").splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    tokenizer.chat_template = with_tags(tokenizer.chat_template)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(options.model, dtype="float32"),
        args=SFTConfig(
            output_dir=str(options.data.parent / "trl"),
            assistant_only_loss=True,
            max_length=options.length,
            packing=options.packing,
            per_device_train_batch_size=options.batch_size,
            num_train_epochs=1,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list([{"messages": row["messages"]} for row in rows]),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear"),
    )
    dataset: Any = trainer.train_dataset
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    return seconds, sum(label >= 0 for row in dataset for label in row["labels"][: options.length])


def measure(python: str, side: str, options: argparse.Namespace, data: Path) -> dict[str, float]:
    """Train one side in a process of its own, and return the numbers that it prints."""
    command = [python, "-m", "benchmarks.instruction_tuning", str(options.model), str(data), f"--side={side}"]
    command += [f"--length={options.length}", f"--batch_size={options.batch_size}", *["--packing"][: options.packing]]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if run.returncode:
        raise SystemExit(run.stderr[-3000:])
    found = re.findall(r"'(examples_per_s|peak_mb|trained_tokens)': ([\d.]+)", run.stdout)
    return {name: float(value) for name, value in found}


def main() -> None:
    """Run the sides in turn, and print rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a Hugging Face folder")
    parser.add_argument("data", type=Path, help="rows with messages")
    parser.add_argument("--trl_python", help="Python of an environment with TRL; without it, only ours is measured")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--packing", action="store_true")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--side", choices=("ours", "trl"), help="only train this side, in this process")
    options = parser.parse_args()
    options.model, options.data = options.model.resolve(), options.data.resolve()
    if options.side:
        seconds, trained_tokens = (of_this_package if options.side == "ours" else of_trl)(options)
        rows = len(options.data.read_text(encoding="utf-8").splitlines())
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print({"examples_per_s": rows / seconds, "peak_mb": peak_mb, "trained_tokens": trained_tokens})
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.jsonl"
        lines = options.data.read_text(encoding="utf-8").splitlines(keepends=True)
        data.write_text("".join(random.Random(0).sample(lines, options.rows)), encoding="utf-8")
        pythons = {"ours": sys.executable} | ({"trl": options.trl_python} if options.trl_python else {})
        found: dict[str, list[dict[str, float]]] = {side: [] for side in pythons}
        for turn in range(options.turns):
            for side, python in pythons.items():
                found[side].append(measure(python, side, options, data))
                print(f"{turn + 1}. {side}: {found[side][-1]}", flush=True)
    for value, unit in (("examples_per_s", "examples/s"), ("peak_mb", "peak memory, MB")):
        medians = {side: statistics.median(each[value] for each in runs) for side, runs in found.items()}
        if "trl" in medians:
            faster = medians["ours"] / medians["trl"]
            ratio = faster if value == "examples_per_s" else 1 / faster
            row = f"LoRA tuning on {options.data.parent.name}, {unit}"
            print(f"| {row} | {medians['ours']:,.1f} | TRL {medians['trl']:,.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
