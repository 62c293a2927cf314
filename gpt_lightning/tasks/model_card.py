"""Model cards of exported models and adapters."""

import json
from collections.abc import Mapping, Sequence

from gpt_lightning.tasks.base import Task
from gpt_lightning.tasks.continuation import GenerativeTask
from gpt_lightning.tasks.export_tokenizer import auto_tokenizer_difference
from gpt_lightning.tasks.sequence_regression import SequenceRegression
from gpt_lightning.tasks.token_classification import TokenClassification
from gpt_lightning.tokenizers.tokenizer import Tokenizer


def transformers_notes(task: Task, tokenizer: Tokenizer, reason: str | None) -> list[str]:
    """Return sentences, without the final period, about using an exported model with transformers.

    Args:
        task: the task.
        tokenizer: its tokenizer.
        reason: why Hugging Face's classes cannot load the model; None if they can.
    """
    if reason is not None:
        return [f"Hugging Face's classes cannot load this model: {reason}"]
    difference = auto_tokenizer_difference(task, tokenizer)
    return [*([] if difference is None else [difference]), *_head_notes(task)]


def _head_notes(task: Task) -> list[str]:
    """Return sentences about the difference between the output of Hugging Face's classes and our predictions."""
    if isinstance(task, SequenceRegression) and (task.target_mean, task.target_std) != (0.0, 1.0):
        return [
            "Hugging Face's classes return standardized numbers. The prediction is such a number times "
            f"{task.target_std} plus {task.target_mean} (`target_std` and `target_mean` of the head)"
        ]
    if isinstance(task, TokenClassification):
        rules = ", ".join(f"`{rule}`" for rule in task.hparams.get("word_rules") or [])
        return [
            "gpt-lightning splits raw text into words at whitespace and at every punctuation character"
            f"{f', apart from the rules {rules} of its data format' if rules else ''}. A word has the tag of its "
            f"{task.hparams['pooling']} token. transformers' pipeline returns a tag for each token with "
            "`ignore_labels=[]`; its `aggregation_strategy` forms other words"
        ]
    return []


def model_card(task: Task, run_files: Mapping[str, str], notes: Sequence[str]) -> str:
    """Return the model card: size, notes, usage, metrics and training configuration."""
    name = type(task).__name__
    lines = [
        f"# {name}",
        "",
        f"Trained with gpt-lightning; {sum(p.numel() for p in task.parameters()):,} parameters.",
        "",
    ]
    for note in notes:
        lines += [f"{note}.", ""]
    generates = isinstance(task, GenerativeTask)
    command = "generate DIR --prompt TEXT" if generates else "predict --model DIR --input rows.jsonl"
    lines += ["```sh", f"gpt-lightning {command}", "```", ""]
    lines += _results(run_files.get("metrics.json", ""))
    if "config.yaml" in run_files:
        lines += ["## Configuration", "", "```yaml", run_files["config.yaml"].rstrip(), "```"]
    return "\n".join(lines).rstrip() + "\n"


def _results(text: str) -> list[str]:
    """Return a table of the metrics in a ``metrics.json``; empty if the file is missing or damaged."""
    try:
        measured = json.loads(text)
        rows = [f"| {key} | {value:.4f} |" for key, value in measured["metrics"].items() if value is not None]
        return [f"## Results on {measured['data']}", "", "| metric | value |", "|---|---:|", *rows, ""]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return []


def adapter_card(task: Task, pad_token_id: int, base: str) -> str:
    """Return the model card of adapters: their base model, and code that loads both."""
    name, options, head = type(task).__name__, f'"{base}"', task.huggingface_head
    assert head is not None
    labels: list[str] | None = task.hparams.get("labels")
    if labels:
        options += f", id2label={dict(enumerate(labels))}"
    if isinstance(task, SequenceRegression):
        options += ', num_labels=1, problem_type="regression"'
    if head.needs_pad_token_id:
        options += f", pad_token_id={pad_token_id}"
    lines = [
        f"# LoRA adapters: {name}",
        "",
        f"Trained with gpt-lightning. They need the base model {base}.",
        "",
        *(line for note in _head_notes(task) for line in (f"{note}.", "")),
        "```python",
        "import peft",
        "import transformers",
        "",
        f"model = transformers.{head.auto_class}.from_pretrained({options})",
        'model = peft.PeftModel.from_pretrained(model, "THIS FOLDER")',
        "```",
    ]
    return "\n".join(lines) + "\n"
