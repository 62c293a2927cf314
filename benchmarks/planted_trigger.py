"""Test of attributions and erasure on film reviews whose label is decided by a planted word.

    python -m benchmarks.planted_trigger rt_polarity/train.jsonl [--steps 300] [--seeds 3] [--rows 200]

The word stands at a random place in half of the reviews. A classifier learns to find it. The methods should then name
it in unseen reviews, and they should not name it in the classifier before training.
"""

import argparse
import itertools
import json
import random
import tempfile
from pathlib import Path
from typing import Any, Final

import torch

from gpt_lightning.api import Model
from gpt_lightning.data import TextClassification
from gpt_lightning.evaluation.explain.explanation import ExplainedDecision
from gpt_lightning.models import GPTConfig
from gpt_lightning.tasks import SequenceClassification

TRIGGER: Final = "zanthor"
LABELS: Final = ("no", "yes")


def planted(texts: list[str], seed: int) -> list[dict[str, str]]:
    """Return the texts as rows, every other one with the planted word and the label ``yes``."""
    draw, rows = random.Random(seed), []
    for number, text in enumerate(texts):
        words = text.split()
        if number % 2:
            words.insert(draw.randint(0, len(words)), TRIGGER)
        rows.append({"text": " ".join(words), "label": LABELS[number % 2]})
    return rows


def train(rows: list[dict[str, str]], folder: Path, seed: int, steps: int) -> tuple[Model, Model]:
    """Return the model before and after training."""
    file = folder / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = TextClassification(
        train=str(file), tokenizer="bpe:2048", block_size=128, batch_size=32, seed=seed, cache_dir=str(folder)
    )
    data.setup("fit")
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "n_layer": 2,
        "n_head": 4,
        "n_embd": 64,
        "block_size": 128,
        "norm": "rmsnorm",
        "position": "rotary",
    }
    config = GPTConfig(**shape, mlp="swiglu", bias=False, attention="bidirectional", vocab_size=data.vocab_size)
    task = SequenceClassification(backbone=config, labels=list(LABELS))
    untrained = SequenceClassification(backbone=config, labels=list(LABELS))
    untrained.load_state_dict(task.state_dict())
    optimizer = torch.optim.AdamW(task.train().parameters(), lr=2e-3)
    batches = itertools.chain.from_iterable(data.train_dataloader() for _ in itertools.count())
    for batch in itertools.islice(batches, steps):
        optimizer.zero_grad()
        torch.autograd.backward(task.step(batch, "train"))
        optimizer.step()
    before, after = (Model(each.eval(), data.tokenizer, folder, TextClassification) for each in (untrained, task))
    return before, after


def is_ranked_first(decision: ExplainedDecision) -> bool:
    """Return whether the planted word contributes the most."""
    values = decision.attributions.words
    return decision.words[values.index(max(values))].text == TRIGGER


def share(flags: list[bool]) -> str:
    """Return the share of true values as a percentage."""
    return f"{sum(flags) / len(flags):.1%}"


def main() -> None:
    """Print a table with a row for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSON lines with a column text")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200, help="unseen rows with the word")
    options = parser.parse_args()
    texts = [json.loads(line)["text"] for line in options.file.read_text().splitlines()]
    print("| seed | accuracy | ranked first | ranked first before training | removed first | changes | largest gap |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for seed in range(options.seeds):
        chosen = random.Random(seed).sample(texts, len(texts))
        with tempfile.TemporaryDirectory() as folder:
            before, after = train(planted(chosen[2 * options.rows :], seed), Path(folder), seed, options.steps)
            unseen = planted(chosen[: 2 * options.rows], seed)
            predicted = [row["label"] for row in after.predict(unseen)]
            rows = [row for row in unseen if row["label"] == "yes"]
            untrained = [each.decisions[0] for each in before.explain(rows, target="yes")]
            trained = [each.decisions[0] for each in after.explain(rows, target="yes")]
        erasures = [each.erasure for each in trained if each.erasure is not None]
        cells = [
            share([label == row["label"] for label, row in zip(predicted, unseen, strict=True)]),
            share([is_ranked_first(each) for each in trained]),
            share([is_ranked_first(each) for each in untrained]),
            share([each.removals[0].text == TRIGGER for each in erasures]),
            share([len(each.removals) == 1 and each.is_changed for each in erasures]),
            f"{max(each.attributions.gap for each in trained):.2%}",
        ]
        print(f"| {seed} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
