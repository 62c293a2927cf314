"""Translation from English to French from scratch: three architectures with equal parameters and equal time.

    python benchmarks/translation.py tatoeba_en_fr [--minutes 10] [--seeds 3] [--only causal prefix]

The folder holds train.jsonl, validation.jsonl and test.jsonl with the columns en and fr. A causal language model, one
with prefix attention and an encoder-decoder, each with 2.0M parameters, have as many steps as fit into the minutes on
one core. The time of a step on a core is measured first, also with --accelerator gpu. All but prefix attention also
start from a causal language model of the same depth that was trained for as long on both sides of the pairs. Runs with
a result in --log_dir are not repeated, so an interrupted call can be continued.
"""

import argparse
import json
import re
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from benchmarks.train_and_test import measure_missing, result, spread, train_and_test

CONFIGS = Path(__file__).parents[1] / "configs"
CAUSAL = ("translation_tatoeba",)
ENCODER_DECODER = ("translation_tatoeba_encoder_decoder",)
MODELS = {
    "causal": CAUSAL,
    "causal, pretrained": CAUSAL,
    "prefix": (*CAUSAL, "--model.backbone.attention=prefix"),
    "encoder-decoder": ENCODER_DECODER,
    "encoder-decoder, pretrained": ENCODER_DECODER,
}
"""Row of the table -> shipped configuration, and its flags."""
PRETRAINING = {
    "causal": (*CAUSAL, "--data.train_on=all"),
    "encoder-decoder": (*CAUSAL, "--data.train_on=all", "--model.backbone.n_layer=3"),
}
"""Architecture -> configuration and flags of the language model that it starts from."""
TIMED_STEPS = (50, 150)
"""Steps of two short runs; the difference of their times is the time of the steps between."""
METRICS = ("chrf", "bleu")


@dataclass(frozen=True)
class Run:
    """A training run and its test: translation, pretraining, or a short one that measures the time of a step."""

    stage: str
    model: str
    number: int = 0
    """Seed, or the number of steps of a timing run."""

    @property
    def metric(self) -> str:
        """Name of the main metric."""
        return "chrf" if self.stage == "translation" else "loss"

    @property
    def name(self) -> str:
        """Folder of the run below the log folder."""
        return f"translation/{self.stage}-{self.model.replace(', ', '-')}-{self.number}"

    @property
    def flags(self) -> list[str]:
        """Configuration and flags of training and test."""
        config, *flags = PRETRAINING[self.model] if self.stage == "pretraining" else MODELS[self.model]
        return ["-c", str(CONFIGS / f"{config}.yaml"), *flags]


def execute(run: Run, rows: Path, log_dir: Path, minutes: float, accelerator: str) -> None:
    """Train and test in this process."""
    is_timing = run.stage == "timing"
    steps = run.number if is_timing else max(1, round(60 * minutes / seconds_per_step(run.model, log_dir)))
    fit = [*run.flags, f"--data.train={rows}/train.jsonl", f"--data.validation={rows}/validation.jsonl"]
    fit += [f"--seed_everything={0 if is_timing else run.number}", "--data.generate_examples=0"]
    fit += ["--trainer.max_epochs=-1", f"--trainer.max_steps={steps}"]
    architecture, _, is_pretrained = run.model.partition(", ")
    if is_pretrained:
        fit.append(f"--model.init_from={log_dir}/{Run('pretraining', architecture).name}/version_0")
    # All of the test texts are translated.
    answers = 100_000 if run.stage == "translation" else 0
    test = [*run.flags, f"--data.test={rows}/test.jsonl", f"--data.generate_examples={answers}"]
    train_and_test(
        run.name,
        log_dir,
        fit,
        test,
        keeps_checkpoints=run.stage == "pretraining",
        accelerator="cpu" if is_timing else accelerator,  # the number of steps is that of a core
    )


def seconds_per_step(model: str, log_dir: Path) -> float:
    """Return the time of a training step, from the timing runs of the architecture."""
    times = [result(Run("timing", model.partition(", ")[0], steps).name, log_dir) for steps in TIMED_STEPS]
    short, long = (each["seconds"] for each in times if each is not None)
    return float(long - short) / (TIMED_STEPS[1] - TIMED_STEPS[0])


def read(file: Path) -> list[dict[str, str]]:
    """Return the rows of a JSON Lines file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def prepare(data: Path, folder: Path) -> None:
    """Write the rows of all runs. An evaluation row has all translations of its English sentence."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(data / "train.jsonl", folder)
    for split in ("validation", "test"):
        french: dict[str, list[str]] = defaultdict(list)
        for row in read(data / f"{split}.jsonl"):
            french[row["en"]].append(row["fr"])
        lines = (
            json.dumps({"en": source, "fr": targets}, ensure_ascii=False) + "\n" for source, targets in french.items()
        )
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def dictionary(pairs: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return the French word that goes best with each English word: the highest Dice coefficient over the pairs."""
    counts: dict[str, Counter[str]] = {"en": Counter(), "fr": Counter()}
    together: Counter[tuple[str, str]] = Counter()
    for pair in pairs:
        english, french = set(words(pair["en"])), set(words(pair["fr"]))
        counts["en"].update(english)
        counts["fr"].update(french)
        together.update((source, target) for source in english for target in french)
    best: dict[str, tuple[float, str]] = {}
    for (source, target), count in together.items():
        score = 2 * count / (counts["en"][source] + counts["fr"][target])
        best[source] = max(best.get(source, (0.0, "")), (score, target))
    return {source: target for source, (_, target) in best.items()}


def words(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, in lower case."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def baselines(rows: Path) -> Iterator[tuple[str, list[float]]]:
    """Yield the scores of two translations without a model: the source, and its words looked up in a dictionary."""
    test, french = read(rows / "test.jsonl"), dictionary(read(rows / "train.jsonl"))
    sources = [row["en"] for row in test]
    looked_up = [" ".join(french.get(word, word) for word in words(source)) for source in sources]
    references = list(zip_longest(*(row["fr"] for row in test)))
    for name, texts in (("copy of the source", sources), ("word-by-word dictionary", looked_up)):
        yield name, [scorer.corpus_score(texts, references).score for scorer in (CHRF(), BLEU())]


def table(runs: list[Run], rows: Path, log_dir: Path) -> Iterator[str]:
    """Yield the rows of the table: mean and standard deviation over seeds."""
    yield f"| model | steps | {' | '.join(METRICS)} |\n|---|---:|{'---:|' * len(METRICS)}"
    for name, scores in baselines(rows):
        yield f"| {name} |  | {' | '.join(f'{score:.1f}' for score in scores)} |"
    for model in MODELS:
        found = [result(run.name, log_dir) for run in runs if (run.stage, run.model) == ("translation", model)]
        measured = [each["metrics"] for each in found if each is not None]
        if not measured:
            continue
        cells = [spread([each[key] for each in measured]) for key in METRICS]
        yield f"| {model} | {seconds_per_step(model, log_dir) * 1000:.0f} ms a step | {' | '.join(cells)} |"


def main() -> None:
    """Run the missing experiments, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the pairs")
    parser.add_argument("--minutes", type=float, default=10, help="training time of each run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(MODELS), choices=MODELS, help="rows of the table to measure")
    parser.add_argument("--processes", type=int, default=2, help="runs at the same time")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu", help="hardware; all runs share one GPU")
    parser.add_argument("--log_dir", type=Path, default=Path("logs"))
    options = parser.parse_args()
    rows = options.log_dir / "translation" / "rows"
    prepare(options.data, rows)
    execution = partial(
        execute, rows=rows, log_dir=options.log_dir, minutes=options.minutes, accelerator=options.accelerator
    )
    architectures = dict.fromkeys(model.partition(", ")[0] for model in options.only)
    stages = [
        [Run("timing", model, steps) for model in architectures for steps in TIMED_STEPS],
        [Run("pretraining", model) for model in PRETRAINING if f"{model}, pretrained" in options.only],
        # The seed is the outermost loop, so that an interrupted call covers all models.
        [Run("translation", model, seed) for seed in range(options.seeds) for model in options.only],
    ]
    for runs in stages:
        # More than two runs at the same time would slow down the cores whose time counts.
        processes = min(2, options.processes) if runs is stages[0] else options.processes
        measure_missing(runs, options.log_dir, execution, processes)
    print("\n".join(table(stages[-1], rows, options.log_dir)))


if __name__ == "__main__":
    main()
