"""``gpt-lightning lm-eval``: evaluate a language model with lm-evaluation-harness."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError
from gpt_lightning.output_files import check_new, json_bytes, output_file
from gpt_lightning.printable import for_stream
from gpt_lightning.status import status
from gpt_lightning.text_tables import markdown_table

_DRAWS: Final = 1000
"""Bootstrap samples for the standard error of a metric without a formula; the error of that is about 2 %."""


_REMEDY: Final = "Choose another file with --output"


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning lm-eval",
        description="Evaluate a language model on tasks of EleutherAI's lm-evaluation-harness. It needs extra "
        "packages: pip install 'gpt-lightning[lm-eval]'.",
        examples=["gpt-lightning lm-eval logs/first_run/version_0 --tasks arc_easy,hellaswag --limit 100"],
    )
    p.add_model_argument()
    p.add_argument(
        "--tasks",
        type=str,
        required=True,
        metavar="NAMES",
        help="names of tasks, groups or tags, separated by commas; * matches any characters",
    )
    p.add_argument(
        "--include_path",
        type=str | None,
        default=None,
        metavar="DIR",
        help="folder with task YAMLs of your own; they replace those of the harness with the same name",
    )
    p.add_argument(
        "--allow_code", action="store_true", help="allow the task YAMLs in --include_path to run Python code"
    )
    p.add_argument("--limit", type=int | None, default=None, help="evaluate only this many rows of each task")
    p.add_argument(
        "--num_fewshot",
        type=int | None,
        default=None,
        help="examples in front of each question, for tasks that do not fix their number",
    )
    p.add_argument("--apply_chat_template", action="store_true", help="format questions with the model's chat template")
    p.add_argument("--batch_tokens", type=int, default=2048, help="tokens per batch, with padding")
    p.add_loading_options()
    p.add_device_option()
    p.add_output_options("JSON file for all results")
    return p


def main(argv: list[str]) -> int:
    """Print a table, and write all results if an output file is given."""
    options = parser().parse_args(argv)
    for name in ("limit", "batch_tokens"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} {value} must be at least 1")
    if options.num_fewshot is not None and options.num_fewshot < 0:
        raise InputError(f"--num_fewshot {options.num_fewshot} must be at least 0")
    names = [name.strip() for name in options.tasks.split(",") if name.strip()]
    if not names:
        raise InputError(f"--tasks {options.tasks!r} contains no task name. Give at least one, as in --tasks arc_easy")
    output = None if options.output is None else Path(options.output)
    if output is not None:
        check_new(output, options.overwrite, _REMEDY)

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
        raise InputError(
            f"{path} holds a {type(task).__name__}, but lm-eval evaluates only a CausalLM. "
            "Use gpt-lightning test for other tasks"
        )
    task.to(device_of(options.device))
    with quiet(bars):
        results = run_tasks(
            HarnessLM(task, tokenizer, options.batch_tokens),
            loaded,
            limit=options.limit,
            bootstrap_iters=_DRAWS,
            apply_chat_template=options.apply_chat_template,
            allow_code=options.allow_code,
        )
    print(for_stream(table(results)))
    if output is not None:
        write(output, {"model": str(options.model), "limit": options.limit, **results}, options.overwrite)
    return 0


def table(results: Mapping[str, Any]) -> str:
    """Return an aligned Markdown table with a row for each metric of each task and group."""
    rows = [("task", "examples", "metric", "value", "standard error")]
    for name, metrics in results["results"].items():
        for key, value in metrics.items():
            metric, comma, filtered = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            error = metrics.get(f"{metric}_stderr,{filtered}")
            shown = metric if filtered == "none" else f"{metric} ({filtered})"
            examples = str(results.get("n-shot", {}).get(name, ""))
            rows.append((name, examples, shown, _number(value), _number(error)))
    return markdown_table(rows)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value in (None, "N/A") else str(value)


def write(output: Path, record: dict[str, Any], overwrite: bool) -> None:
    """Write all results as JSON; NaN becomes null, and functions and the like become strings."""
    with output_file(output, overwrite, _REMEDY) as file:
        file.write(json_bytes(record, default=str))
