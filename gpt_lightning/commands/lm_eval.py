"""``gpt-lightning lm-eval``: evaluate a language model with lm-evaluation-harness."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError
from gpt_lightning.status import status

_DRAWS: Final = 1000
"""For the standard error of a metric without a formula for it; it is then known to 2 %."""


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="gpt-lightning lm-eval",
        description="Measure a language model on tasks of EleutherAI's lm-evaluation-harness.",
    )
    p.add_argument("model", type=str, metavar="MODEL", help="a checkpoint, a run's folder (its best one), or a model's")
    p.add_argument(
        "--tasks",
        type=str,
        required=True,
        metavar="NAMES",
        help="tasks, groups or tags, separated by commas; * matches",
    )
    p.add_argument(
        "--include_path",
        type=str | None,
        default=None,
        metavar="DIR",
        help="a folder of task YAMLs, which win over the harness's own of the same name",
    )
    p.add_argument(
        "--allow_code", action="store_true", help="let the task files in --include_path run the code that they name"
    )
    p.add_argument("--limit", type=int | None, default=None, help="the first rows of each task only")
    p.add_argument(
        "--num_fewshot",
        type=int | None,
        default=None,
        help="examples before each question, where a task leaves that open",
    )
    p.add_argument("--apply_chat_template", action="store_true", help="ask in the form of a chat")
    p.add_argument("--batch_tokens", type=int, default=2048, help="tokens of a batch, padding included")
    p.add_loading_options()
    p.add_argument("--device", type=str, default="auto", help="cpu, cuda, mps, or auto")
    p.add_argument("--output", type=str | None, default=None, metavar="FILE", help="also write all results, as JSON")
    return p


def main(argv: list[str]) -> int:
    """Print a table, and write all results where they are wanted."""
    options = parser().parse_args(argv)
    for name in ("limit", "batch_tokens"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} {value} must be at least 1")
    if options.num_fewshot is not None and options.num_fewshot < 0:
        raise InputError(f"--num_fewshot {options.num_fewshot} must be at least 0")
    names = [name.strip() for name in options.tasks.split(",") if name.strip()]
    if not names:
        raise InputError(f"--tasks names none: {options.tasks!r}")
    output = None if options.output is None else Path(options.output)
    if output is not None and not output.parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.parent}")

    with status("Loading PyTorch and Lightning"):
        import gpt_lightning.training.lm_eval_callback  # noqa: F401

    from gpt_lightning.training.lm_eval_callback import check_harness

    check_harness()

    from gpt_lightning.evaluation.lm_eval.load_tasks import load_tasks
    from gpt_lightning.evaluation.lm_eval.model import HarnessLM
    from gpt_lightning.evaluation.lm_eval.run import quiet, run_tasks
    from gpt_lightning.models.device import device_of
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.load import find_checkpoint, load_task

    path = find_checkpoint(options.model)
    bars = sys.stderr.isatty()
    with quiet(bars):
        loaded = load_tasks(names, options.include_path, num_fewshot=options.num_fewshot, allow_code=options.allow_code)
    task, tokenizer = load_task(path, options.init_from, options.allow_import)
    if not isinstance(task, CausalLM):
        raise InputError(f"{path} holds a {type(task).__name__}; only a CausalLM can be measured")
    task.to(device_of(options.device))
    with quiet(bars):
        measured = run_tasks(
            HarnessLM(task, tokenizer, options.batch_tokens),
            loaded,
            limit=options.limit,
            bootstrap_iters=_DRAWS,
            apply_chat_template=options.apply_chat_template,
            allow_code=options.allow_code,
        )
    print(table(measured))
    if output is not None:
        write(output, {"model": str(options.model), "limit": options.limit, **measured})
    return 0


def table(measured: Mapping[str, Any]) -> str:
    """A row for each metric of each task and group, aligned, in Markdown."""
    rows = [("task", "examples", "metric", "value", "standard error")]
    for name, results in measured["results"].items():
        for key, value in results.items():
            metric, comma, filtered = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            error = results.get(f"{metric}_stderr,{filtered}")
            shown = metric if filtered == "none" else f"{metric} ({filtered})"
            examples = str(measured.get("n-shot", {}).get(name, ""))
            rows.append((name, examples, shown, _number(value), _number(error)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value in (None, "N/A") else str(value)


def write(output: Path, record: dict[str, Any]) -> None:
    """Write all results; what is no plain value, such as a task's function, as its name."""
    from gpt_lightning.atomic_files import atomic_write

    try:
        with atomic_write(output) as file:
            file.write(json.dumps(record, ensure_ascii=False, indent=1, default=str).encode() + b"\n")
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}; choose another with --output") from None
