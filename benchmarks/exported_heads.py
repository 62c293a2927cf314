"""Predictions of exported heads in transformers, compared with those of gpt_lightning, on seven public datasets.

    python benchmarks/exported_heads.py DATA [--steps 200] [--rows 200] [--only qa_squad2 ...]

DATA is the folder of the datasets. Each configuration of benchmarks/results.py trains a small Llama with causal
attention and a tokenizer from the training texts, and is exported. Its test rows then get answers from transformers
(pipelines for texts and words; the class and the usual decoding for questions) in batches of 1 and 8, from
``gl.load(RUN).predict``, and from ``gl.load(EXPORTED).predict``.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, pipeline

sys.path.insert(0, str(Path(__file__).parents[1]))
import gpt_lightning as gl
from benchmarks.results import CONFIGS, EXPERIMENTS, Experiment
from gpt_lightning.api import Model
from gpt_lightning.cli import main as gpt_lightning
from gpt_lightning.data.word_rules import split_by_rules
from gpt_lightning.metrics.entity_f1 import entities

BATCH_SIZES = (1, 8)
STRIDE = 64
MAX_ANSWER_TOKENS = 30

Row = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """Prediction for a row: its labels or text, and its scores in a fixed order."""

    labels: Any
    scores: list[float]


Reference = Callable[[Path, Model, Sequence[Row], int], Iterator[Answer]]


def classify(folder: Path, model: Model, rows: Sequence[Row], batch_size: int) -> Iterator[Answer]:
    """Yield the label and the scores of the pipeline ``text-classification``."""
    pipe = pipeline("text-classification", str(folder), device="cpu", top_k=None)
    for answer in pipe([row["text"] for row in rows], batch_size=batch_size):
        scores = {each["label"]: each["score"] for each in answer}
        yield Answer(answer[0]["label"], [scores[label] for label in model.task.hparams["labels"]])


def tag(folder: Path, model: Model, rows: Sequence[Row], batch_size: int) -> Iterator[Answer]:
    """Yield the tags of the words and the scores of the entities, from the pipeline ``token-classification``."""
    pipe: Any = pipeline("token-classification", str(folder), device="cpu", ignore_labels=[])
    for row, tokens in zip(rows, pipe([row["text"] for row in rows], batch_size=batch_size), strict=True):
        words = split_by_rules(row["text"], model.task.hparams["word_rules"])
        place = -1 if model.task.hparams["pooling"] == "last" else 0
        read = [group[place] for group in token_groups(tokens, words)]
        tags = [token["entity"] for token in read]
        scores = [min(float(token["score"]) for token in read[first:stop]) for _, first, stop in entities(tags)]
        yield Answer(tags, scores)


def token_groups(tokens: Sequence[Row], words: Sequence[tuple[int, int]]) -> list[list[Row]]:
    """Return the tokens of each word; words that share a token are one word."""
    groups: list[tuple[set[int], list[Row]]] = []
    for token in tokens:
        inside = {n for n, (start, stop) in enumerate(words) if token["start"] < stop and token["end"] > start}
        if groups and inside & groups[-1][0]:
            groups[-1][0].update(inside)
            groups[-1][1].append(token)
        elif inside:
            groups.append((inside, [token]))
    return [group for _, group in groups]


def answer(folder: Path, model: Model, rows: Sequence[Row], batch_size: int) -> Iterator[Answer]:
    """Yield the answers of ``AutoModelForQuestionAnswering``, decoded as in Hugging Face's script for SQuAD 2.0.

    The null position is the last token, which the model was trained with, and the threshold is that of the model.
    """
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModelForQuestionAnswering.from_pretrained(folder)
    threshold = float(model.task.get_extra_state())
    for first in range(0, len(rows), batch_size):
        chosen = rows[first : first + batch_size]
        encoded = tokenizer(
            [row["question"] for row in chosen],
            [row["context"] for row in chosen],
            truncation="only_second",
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding=True,
            return_tensors="pt",
        )
        offsets, windows = encoded.pop("offset_mapping"), encoded.pop("overflow_to_sample_mapping").tolist()
        with torch.inference_mode():
            output = network(**encoded)
        for number, row in enumerate(chosen):
            candidates: dict[tuple[int, int], float] = {}
            null = float("inf")
            for window in (each for each, source in enumerate(windows) if source == number):
                starts, ends = output.start_logits[window].numpy(), output.end_logits[window].numpy()
                last = int(encoded["attention_mask"][window].sum()) - 1
                null = min(null, float(starts[last] + ends[last]))
                is_context = np.array([each == 1 for each in encoded.sequence_ids(window)])
                for span, score in spans(row["context"], is_context, offsets[window].tolist(), starts, ends):
                    candidates[span] = max(score, candidates.get(span, -np.inf))
            best = sorted(candidates.items(), key=lambda each: -each[1])[:5]
            (start, end), top = best[0]
            scores = torch.tensor([score for _, score in best] + [null]).softmax(0).tolist()
            yield Answer("" if null - top >= threshold else row["context"][start:end], scores)


def spans(
    text: str, is_context: Any, offsets: Sequence[Sequence[int]], starts: Any, ends: Any
) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield the characters and the score of each span of the context."""
    places = [place for place in is_context.nonzero()[0].tolist() if text[slice(*offsets[place])].strip()]
    for first in places:
        for last in places:
            if first <= last < first + MAX_ANSWER_TOKENS:
                yield (offsets[first][0], offsets[last][1]), float(starts[first] + ends[last])


def predicted(model: Model, rows: Sequence[Row]) -> list[Answer]:
    """Return the predictions of gpt_lightning."""
    found = []
    for record in model.predict(rows):
        if "tags" in record:
            found.append(Answer(record["tags"], [each["score"] for each in record["entities"]]))
        elif "answer" in record:
            scores = [each["score"] for each in record["n_best"]]
            found.append(Answer(record["answer"], [*scores, record["no_answer_score"]]))
        else:
            found.append(Answer(record["label"], list(record["scores"].values())))
    return found


def compare(expected: Sequence[Answer], found: Sequence[Answer]) -> str:
    """Return the number of rows with equal labels, and the largest difference of their scores."""
    equal = [each.labels == other.labels for each, other in zip(expected, found, strict=True)]
    differences = [
        abs(a - b)
        for each, other, is_equal in zip(expected, found, equal, strict=True)
        if is_equal
        for a, b in zip(each.scores, other.scores, strict=True)
    ]
    return f"{sum(equal)}/{len(equal)}, {max(differences, default=0.0):.0e} of {len(differences):,} scores"


def train_and_export(experiment: Experiment, data: Path, steps: int, folder: Path) -> tuple[Path, Path]:
    """Return the folders of a run and of its export."""
    rows, name = data / experiment.folder, experiment.config
    flags = ["-c", str(CONFIGS / f"{name}.yaml"), "--model.backbone.attention=causal", f"--log_dir={folder}"]
    flags += [f"--data.{split}={rows}/{split}.jsonl" for split in ("train", "validation")]
    flags += [f"--trainer.max_steps={steps}", "--trainer.accelerator=cpu", "--trainer.devices=1"]
    if experiment.metric == "accuracy":
        flags.append("--model.pooling=last")  # that of Hugging Face's classifiers
    run, exported = folder / name / "version_0", folder / name / "exported"
    with (folder / f"{name}.txt").open("w") as output, redirect_stdout(output), redirect_stderr(output):
        code = gpt_lightning(["fit", *flags]) or gpt_lightning(["export", str(run), str(exported)])
    if code:
        raise RuntimeError((folder / f"{name}.txt").read_text())
    return run, exported


def test_rows(experiment: Experiment, data: Path, count: int) -> list[Row]:
    """Return the first test rows, with texts in place of words."""
    lines = (data / experiment.folder / "test.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    if experiment.metric == "answer_f1":
        return [{"question": row["question"], "context": row["context"]} for row in rows]
    return [{"text": row.get("text") or " ".join(row["tokens"])} for row in rows]


REFERENCES: dict[str, Reference] = {"accuracy": classify, "entity_f1": tag, "answer_f1": answer}


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the datasets")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps of each training")
    parser.add_argument("--rows", type=int, default=200, help="test rows of each dataset")
    parser.add_argument("--only", nargs="*", default=[experiment.config for experiment in EXPERIMENTS])
    options = parser.parse_args()
    names = [f"transformers, batch {size}" for size in BATCH_SIZES]
    print("rows with equal labels, and the largest difference of scores:\n")
    print("| data | " + " | ".join([*names, "imported again"]) + " |")
    print("|---" * (len(names) + 2) + "|")
    for experiment in EXPERIMENTS:
        if experiment.config not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            run, exported = train_and_export(experiment, options.data, options.steps, Path(folder))
            rows, model = test_rows(experiment, options.data, options.rows), gl.load(run, device="cpu")
            expected, reference = predicted(model, rows), REFERENCES[experiment.metric]
            cells = [compare(expected, list(reference(exported, model, rows, size))) for size in BATCH_SIZES]
            cells.append(compare(expected, predicted(gl.load(exported, device="cpu"), rows)))
        print(f"| {experiment.config} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
