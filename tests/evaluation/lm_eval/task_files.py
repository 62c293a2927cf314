"""Tiny tasks for lm-evaluation-harness, one for each type of request, and their data."""

import json
from pathlib import Path
from typing import Any

import yaml

CHOICE: dict[str, Any] = {
    "task": "tiny_choice",
    "dataset_path": "json",
    "output_type": "multiple_choice",
    "validation_split": "validation",
    "doc_to_text": "{{question}}",
    "doc_to_target": 0,
    "doc_to_choice": "{{[right, wrong]}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def write_task(folder: Path, task: dict[str, Any], rows: list[dict[str, str]] | None = None) -> Path:
    """Write a task and its data to ``folder``, and return the path of its YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    name = task.get("task") if isinstance(task.get("task"), str) else task["group"]
    if rows is not None:
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = {"dataset_kwargs": {"data_files": {"validation": str(data)}}, **task}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(task))
    return file


def write_tasks(folder: Path) -> Path:
    """Write a multiple-choice task, a group of two, and tasks on whole texts, last words and generation."""
    choices = [{"question": f"{n} bottles of", "right": " beer", "wrong": " wall"} for n in range(5)]
    write_task(folder, CHOICE, choices)
    write_task(folder, CHOICE | {"task": "tiny_other", "num_fewshot": 0}, choices[:3])
    write_task(
        folder,
        {
            "group": "tiny",
            "task": ["tiny_choice", "tiny_other"],
            "aggregate_metric_list": [{"metric": "acc", "aggregation": "mean", "weight_by_size": False}],
        },
    )
    aggregations = {"byte_perplexity": "weighted_perplexity", "bits_per_byte": "bits_per_byte"}
    metrics = [
        {"metric": name, "aggregation": aggregation, "higher_is_better": False}
        for name, aggregation in aggregations.items()
    ]
    texts = {
        "task": "tiny_texts",
        "dataset_path": "json",
        "output_type": "loglikelihood_rolling",
        "validation_split": "validation",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": metrics,
    }
    write_task(folder, texts, [{"text": "beer on the wall"}, {"text": "take one down"}])
    words = {
        "task": "tiny_words",
        "dataset_path": "json",
        "output_type": "loglikelihood",
        "validation_split": "validation",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{right}}",
        "metric_list": [{"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False}],
    }
    write_task(folder, words, choices)
    writing = {
        "task": "tiny_writing",
        "dataset_path": "json",
        "output_type": "generate_until",
        "validation_split": "validation",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{right}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    write_task(folder, writing, choices[:2])
    return folder
