"""BLiMP and LAMBADA as task files for lm-evaluation-harness that read local data and contain no Python.

    python benchmarks/harness_tasks.py DATA OUT

DATA contains ``blimp/test.jsonl`` (uid, good, bad) and ``lambada_openai/test.jsonl`` (context, target). Prompts,
targets and metrics are those of the harness's own ``blimp`` and ``lambada_openai``. OUT is the folder for
``--include_path``. Its files contain absolute paths, so write them again after moving the folder.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

BLIMP: Mapping[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "",
    "doc_to_target": 0,
    "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
    "num_fewshot": 0,
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 1.0},
}
LAMBADA: Mapping[str, Any] = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
    "doc_to_target": "{{' '+text.split(' ')[-1]}}",
    "metric_list": [
        {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
    ],
    "metadata": {"version": 1.0},
}


def rows_of(file: Path) -> list[dict[str, Any]]:
    """Read the rows of a ``.jsonl``."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_task(folder: Path, name: str, split: str, rows: Iterable[Mapping[str, str]], task: Mapping[str, Any]) -> None:
    """Write a task and its data."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    whole = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {split: str(data)}},
        f"{split}_split": split,
        **task,
    }
    write_yaml(folder / f"{name}.yaml", whole)


def write_yaml(file: Path, content: Mapping[str, Any]) -> None:
    """Write plain values as YAML."""
    file.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True), encoding="utf-8")


def write(data: Path, out: Path) -> None:
    """Write the tasks into the folder ``out``."""
    out = out.resolve()
    (out / "blimp").mkdir(parents=True, exist_ok=True)
    pairs: dict[str, list[dict[str, str]]] = {}
    for row in rows_of(data / "blimp" / "test.jsonl"):
        pair = {"sentence_good": row["good"], "sentence_bad": row["bad"]}
        pairs.setdefault(f"blimp_{row['uid']}", []).append(pair)
    for name, rows in pairs.items():
        write_task(out / "blimp", name, "validation", rows, BLIMP)
    group = {
        "group": "blimp",
        "task": list(pairs),
        "aggregate_metric_list": [{"metric": "acc", "aggregation": "mean", "weight_by_size": False}],
        "metadata": {"version": 2.0},
    }
    write_yaml(out / "blimp" / "_blimp.yaml", group)
    texts = [{"text": f"{row['context']} {row['target']}"} for row in rows_of(data / "lambada_openai" / "test.jsonl")]
    write_task(out, "lambada_openai", "test", texts, LAMBADA)
    print(
        f"{out}: {len(pairs)} tasks of blimp, {sum(map(len, pairs.values())):,} pairs; {len(texts):,} of lambada_openai"
    )


def main() -> None:
    """Write all tasks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the datasets")
    parser.add_argument("out", type=Path, help="folder of the task files")
    options = parser.parse_args()
    write(options.data, options.out)


if __name__ == "__main__":
    main()
