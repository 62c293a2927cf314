"""Generated answers of a batch: generation, comparison with references, and records of predictions."""

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.errors import InputError
from gpt_lightning.metrics.generated_text import GenerationMetrics
from gpt_lightning.metrics.row_scores import text_columns
from gpt_lightning.metrics.span import token_f1
from gpt_lightning.models.generation.answer import Answer
from gpt_lightning.models.generation.generate import NonFiniteError
from gpt_lightning.tasks.answer_data import AnsweredExample
from gpt_lightning.tasks.base import Stage, Task
from gpt_lightning.tasks.error_examples import escape, shorten

_NUM_SHOWN: Final = 5
"""Number of answers of each evaluation that are kept for display."""


class AnswerTask(Protocol):
    """Task that generates texts."""

    def generate_answers(
        self, batch: Mapping[str, Any], *, max_new_tokens: int, stop_ids: Sequence[int]
    ) -> list[Answer]:
        """Return the greedy answer to each example of ``batch``, in order, without the token that ended it.

        Args:
            batch: batch with ``references`` or, for prediction, without.
            max_new_tokens: maximum number of tokens in an answer.
            stop_ids: tokens that end an answer.
        """


def evaluate_answers(task: Task, batch: Mapping[str, Any], stage: Stage) -> list[AnsweredExample]:
    """Generate the answers to the examples of a batch, add them to the metrics of ``stage``, and keep some to show.

    During ``fit``, non-finite logits give empty answers. Training itself stops if they persist.

    Returns:
        The answered examples, which are those of the first rows.

    Raises:
        InputError: there is no data module that describes how to generate answers, or the logits are not finite.
    """
    metric = task.metrics(stage)
    if not batch.get("references") or not isinstance(metric, GenerationMetrics):
        return []
    try:
        examples = answer_examples(task, batch)
    except NonFiniteError:
        if task._trainer is None or task.trainer.state.fn != "fit":
            raise
        print("the answers are empty in this evaluation: the logits are NaN or infinite", file=sys.stderr, flush=True)
        examples = [AnsweredExample("", references, "", False) for references in batch["references"]]
    texts, are_complete = [each.answer for each in examples], [each.is_complete for each in examples]
    metric.add_texts(texts, are_complete, [each.references for each in examples])
    task.answer_examples.extend(examples[: _NUM_SHOWN - len(task.answer_examples)])
    for example in examples if stage == "val" else ():
        error = 1.0 - token_f1(example.answer, example.references)
        if error > 0.0:
            task.hardest_examples.add(error, functools.partial(_as_markdown, example))
    return examples


def record_rows(task: Task, batch: Mapping[str, Any], nll_BT: Tensor, examples: Sequence[AnsweredExample]) -> None:
    """Keep the statistics of each row of a test: its loss, and the score of its answer.

    Args:
        task: the task.
        batch: the batch.
        nll_BT: (B, T) negative log-likelihood of each label, in nats.
        examples: answered examples of the first rows.
    """
    if not task.keeps_test_rows:
        return
    ids = batch.get("ids", [""] * len(nll_BT))
    columns: dict[str, Any] = {
        "nll": nll_BT.cpu().double().sum(1),
        "tokens": (batch["labels"] != IGNORE_INDEX).sum(1),
        "bytes": batch["num_bytes"],
    }
    found = text_columns([each.answer for each in examples], [each.references for each in examples])
    columns |= {name: [*values, *[0.0] * (len(nll_BT) - len(values))] for name, values in found.items() if examples}
    task.test_rows.add(ids, columns)


def answer_examples(task: Task, batch: Mapping[str, Any]) -> list[AnsweredExample]:
    """Generate the answer to each example of a batch.

    Raises:
        InputError: there is no data module that describes how to generate answers, or the logits are not finite.
    """
    data = task.answer_data
    if data is None:
        raise InputError(
            "the batches have prompts, but the task has no data module that describes how to answer them. Give the "
            "data module to the Trainer, or set task.answer_data to an object with tokenizer, stop_ids, "
            "max_new_tokens and generate_examples"
        )
    # Autocast is off, because it would give keys and queries another dtype than the cache.
    with torch.autocast(task.device.type, enabled=False):
        answers = cast(AnswerTask, task).generate_answers(
            batch, max_new_tokens=data.max_new_tokens, stop_ids=data.stop_ids
        )
    ids = batch.get("ids", [None] * len(answers))
    return [
        AnsweredExample(source, references, data.tokenizer.decode(answer.ids), answer.is_complete, name)
        for source, references, answer, name in zip(
            map(data.tokenizer.decode, source_ids(batch)),
            batch.get("references") or [()] * len(answers),
            answers,
            ids,
            strict=False,  # the other rows have no generated answers
        )
    ]


def source_ids(batch: Mapping[str, Any]) -> list[list[int]]:
    """Return the token ids of each prompt or, in a batch of pairs, of each source."""
    if "prompts" in batch:
        return list(batch["prompts"])
    rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in rows]


def answer_records(task: Task, batch: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a record for each example: ``id``, ``prompt`` or ``source``, ``references``, ``answer``, ``complete``.

    Records have ``references`` only if the batch has them.
    """
    key = "prompt" if "prompts" in batch else "source"
    return [
        {
            **({} if example.id is None else {"id": example.id}),
            key: example.source,
            **({"references": list(example.references)} if example.references else {}),
            "answer": example.answer,
            "complete": example.is_complete,
        }
        for example in answer_examples(task, batch)
    ]


def _as_markdown(example: AnsweredExample) -> str:
    answer, references = (
        escape(shorten(text)) or "(empty)" for text in (example.answer, " / ".join(example.references))
    )
    place = "" if example.id is None else f" ({escape(example.id)})"
    return f"**{answer}** instead of **{references}**{place}: {escape(shorten(example.source))}"
