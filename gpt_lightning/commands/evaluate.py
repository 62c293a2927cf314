"""``gpt-lightning evaluate``: compare several runs in one table."""

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gpt_lightning.bounded_files import load_yaml
from gpt_lightning.checkpoints.run_config import data_arguments
from gpt_lightning.commands.guard.checkpoint_guard import refuse_class_of_checkpoint
from gpt_lightning.commands.guard.config_guard import check, check_keys
from gpt_lightning.commands.guard.file_values import is_contained
from gpt_lightning.commands.parser import Parser
from gpt_lightning.downloads import only_downloads
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.verdict.outcome import interval_of, why_not_beaten
from gpt_lightning.output_files import check_new, json_bytes, output_file
from gpt_lightning.printable import for_stream, printable
from gpt_lightning.status import status
from gpt_lightning.text_tables import markdown_table

CONFIG: Final = "config.yaml"
_REMEDY: Final = "Choose another file with --output"
_HUB: Final = "hub:"


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning evaluate",
        description="Compare the test metrics of several runs in one Markdown table. A run without metrics of its best "
        "checkpoint is tested first. Of its config.yaml, only the data module is used. If there are several runs, "
        "those without test data are skipped.",
        examples=["gpt-lightning evaluate logs/first_run/version_0 --test data/toy_world/text/test.jsonl"],
    )
    p.add_argument(
        "runs",
        type=str,
        nargs="+",
        metavar="RUN",
        help="run folders, such as logs/EXPERIMENT/version_N, or model folders",
    )
    p.add_argument(
        "--test", type=str | None, default=None, metavar="FILE", help="test data for all runs, in place of their own"
    )
    p.add_loading_options("the runs")
    p.add_output_options("file for the table; it ends in .md or .json")
    p.add_argument("--again", action="store_true", help="test every run again, even those with current metrics")
    p.add_argument(
        "--must_beat",
        type=str,
        choices=["tfidf", "trivial"],
        metavar="{tfidf,trivial}",
        help="exit with 1 unless every model is better than this baseline on its own training rows, and the 95-percent "
        "interval of the difference excludes zero",
    )
    return p


def main(argv: list[str]) -> int:
    """Print the table, and write it if an output file is given."""
    options = parser().parse_args(argv)
    output = None if options.output is None else Path(options.output)
    if output is not None and output.suffix not in (".md", ".json"):
        raise InputError(f"--output {output} must end in .md or .json")
    if output is not None:
        check_new(output, options.overwrite, _REMEDY)

    given = {"data.test": options.test, "model.init_from": options.init_from}
    overrides = {key: value for key, value in given.items() if value is not None}
    runs = [run for run in options.runs if len(options.runs) == 1 or not _is_skipped(Path(run), options.test)]
    if not runs:
        raise InputError("no run has test data. Set it with --test FILE")
    for run in map(Path, runs):
        if options.again or not (run / "metrics.json").is_file():
            # CLI checks again; this one comes before the slow imports.
            check(_arguments(run, options.allow_import, options.test))
            refuse_class_of_checkpoint(run)

    # Errors of any run show before the first test takes its time.
    known = [None if options.again else saved_record(Path(run), options.test) for run in runs]
    if options.must_beat is not None:  # older metrics have no verdict
        known = [record if record is not None and "verdict" in record else None for record in known]
    for run, record in zip(runs, known, strict=True):
        if record is None and options.test is None:
            check_testable(Path(run))
    records = [
        {"run": run, **(evaluate(Path(run), overrides, options.allow_import) if record is None else record)}
        for run, record in zip(runs, known, strict=True)
    ]
    table = markdown(records)
    print(for_stream(table))
    if output is not None:
        is_json = output.suffix == ".json"
        with output_file(output, options.overwrite, _REMEDY) as file:
            file.write(json_bytes(records) if is_json else f"{table}\n".encode(errors="replace"))
    return 0 if options.must_beat is None else _check_beaten(records, options.must_beat)


def _check_beaten(records: Sequence[dict[str, Any]], baseline: str) -> int:
    """Print why a model does not beat a baseline, for each that does not, and return the exit code."""
    reasons = [(record["run"], why_not_beaten(record, baseline)) for record in records]
    for run, reason in reasons:
        if reason is not None:
            print(printable(f"{run}: --must_beat={baseline}: {reason}"), file=sys.stderr, flush=True)
    return int(any(reason is not None for _, reason in reasons))


def saved_record(run: Path, test: str | None = None) -> dict[str, Any] | None:
    """Return the record in ``metrics.json``; None if it is older than the best checkpoint, or of another evaluation.

    Args:
        run: the folder of a run or of a model.
        test: the test data that the record must be of; None accepts any.

    Raises:
        InputError: the folder is not that of a run, or its ``metrics.json`` is damaged.
    """
    from gpt_lightning import tasks
    from gpt_lightning.checkpoints.metrics import read_metrics
    from gpt_lightning.checkpoints.read import find_checkpoint
    from gpt_lightning.models.huggingface.folder import is_model_folder
    from gpt_lightning.models.huggingface.tensor_files import weight_files

    if not (run / CONFIG).is_file() and not is_model_folder(run):
        raise InputError(f"{run}: not a run folder, because it has no {CONFIG}. Give logs/EXPERIMENT/version_N")
    checkpoint, file = find_checkpoint(str(run)), run / "metrics.json"
    # The modification time of a model folder changes with every file in it, so that of its weights counts.
    weights = weight_files(checkpoint) if checkpoint.is_dir() else [checkpoint]
    if not file.is_file() or file.stat().st_mtime < max(each.stat().st_mtime for each in weights):
        return None
    record = read_metrics(file, "Add --again to test the run again")
    former_names = getattr(getattr(tasks, str(record["task"]), None), "former_names", {})
    record["metrics"] = {former_names.get(name, name): value for name, value in record["metrics"].items()}
    is_current = record["checkpoint"] == checkpoint.name and test in (None, record["data"])
    return record if is_current else None


def _is_skipped(run: Path, test: str | None) -> bool:
    """Return whether a run of several has neither test data nor metrics, and print a line if so."""
    arguments = data_arguments(run / CONFIG) if test is None and not (run / "metrics.json").is_file() else None
    is_skipped = arguments is not None and not arguments.get("test")
    if is_skipped:
        print(printable(f"skipped {run}: no test data in its {CONFIG}"), file=sys.stderr, flush=True)
    return is_skipped


def check_testable(run: Path) -> None:
    """Refuse a run without test data.

    Raises:
        InputError: its configuration is damaged, or has no test data.
    """
    file = run / CONFIG
    if not file.is_file():
        raise InputError(f"{run}: a model folder without a {CONFIG} has no test data. Set it with --test FILE")
    arguments = data_arguments(file)
    if arguments is None:
        raise InputError(f"{file}: not the configuration of a run. Give a run folder that fit has written")
    if not arguments.get("test"):
        raise InputError(f"{run}: no test data. Set it with --test FILE, or as data.init_args.test in {file}")


def _arguments(run: Path, allowed: Sequence[str], test: str | None) -> list[str]:
    """Return the options that test a run: the data module of its configuration, and the names that it may import.

    The run may be a stranger's, so nothing else of its configuration is used.
    """
    module = _data_module(run / CONFIG, allowed, test)
    config = [] if module is None else [f"--config={json.dumps({'data': module}, default=str)}"]  # JSON has no dates
    return ["test", *config, *(f"--allow_import={name}" for name in allowed)]


def _data_module(file: Path, allowed: Sequence[str], test: str | None) -> dict[str, Any] | None:
    """Return class path and arguments of the data module in a ``config.yaml``; None without one.

    Raises:
        InputError: the file is not plain YAML, its class is not allowed, or its data would have to be downloaded.
    """
    if not file.is_file():
        return None  # Hugging Face models have none.
    check_keys(file, ["data"], allowed)  # also limits size and depth
    content = load_yaml(file.read_text(encoding="utf-8"))
    module = content.get("data") if isinstance(content, dict) else None
    if not isinstance(module, dict) or not isinstance(module.get("init_args"), dict):
        return None
    arguments = {**module["init_args"]}
    for split in ("train", "validation", *(["test"] if test is not None else [])):
        if _is_downloaded(arguments.get(split)):
            del arguments[split]  # not read
    if not is_contained(str(arguments.get("cache_dir", ""))):
        del arguments["cache_dir"]  # the user's own is used
    if (file.parent / "tokenizer.json").is_file():
        arguments.pop("tokenizer", None)  # the file that config.yaml names may have moved
    for name, value in arguments.items():
        if _is_downloaded(value):
            raise InputError(
                f"{file}: data.init_args.{name} is {value}, and evaluate downloads nothing that only a run names. "
                + (
                    f"To download it, add --test {value}"
                    if name == "test" and isinstance(value, str)
                    else "Replace it by a local file"
                )
            )
    return {key: module[key] for key in ("class_path",) if key in module} | {"init_args": arguments}


def _is_downloaded(source: object) -> bool:
    """Return whether a source of rows, or one of a list, is on the Hugging Face hub."""
    sources = source if isinstance(source, list) else [source]
    return any(isinstance(each, str) and each.startswith(_HUB) for each in sources)


def evaluate(run: Path, overrides: Mapping[str, Any] = {}, allowed: Sequence[str] = ()) -> dict[str, Any]:
    """Test a run and return its record; the output of the test goes to standard error.

    Args:
        run: the folder of a run or of a model.
        overrides: values that win over the run's configuration, by the keys of flags.
        allowed: packages that the run may import.
    """
    with status("Loading PyTorch and Lightning"):
        import gpt_lightning.commands.run.cli  # noqa: F401

    from gpt_lightning.commands.run.cli import CLI
    from gpt_lightning.commands.run.command_line import naming_shorthand
    from gpt_lightning.commands.run.hidden_messages import hide_messages
    from gpt_lightning.training import Evaluation

    hide_messages()
    # Metrics are comparable if all runs use one device and the whole dataset.
    trainer = {"devices": 1, "num_nodes": 1, "strategy": "auto", "fast_dev_run": False, "limit_test_batches": 1.0}
    fixed = {f"trainer.{name}": value for name, value in trainer.items()} | {"ckpt_path": str(run)}
    # The folder of a run may come from someone else, so only names in the options are downloaded.
    named = [value for value in overrides.values() if isinstance(value, str)]
    with contextlib.redirect_stdout(sys.stderr), only_downloads(named):
        print(printable(f"testing {run}"))
        with naming_shorthand(overrides, {"data.test": "--test", "model.init_from": "--init_from"}):
            cli = CLI(_arguments(run, allowed, overrides.get("data.test")), {**overrides, **fixed})
    # The record is not read from metrics.json, because the folder of the run may be read-only.
    (record,) = (each.record for each in cli.trainer.callbacks if isinstance(each, Evaluation))  # type: ignore[attr-defined]
    assert record is not None
    return record


def _cell(record: Mapping[str, Any], name: str) -> str:
    """Return a metric of a run, with its interval if the verdict has one."""
    # JSON has no NaN: the record holds null in its place, which is shown like a missing metric.
    value, interval = record["metrics"].get(name), interval_of(record, name)
    if value is None:
        return "-"
    return f"{value:.4f}" if interval is None else f"{value:.4f} ({interval[0]:.4f} to {interval[1]:.4f})"


def markdown(records: Sequence[dict[str, Any]]) -> str:
    """Return an aligned Markdown table with a row for each run and a column for each metric, with its 95 % interval."""
    names = list(dict.fromkeys(name for record in records for name in record["metrics"]))
    rows = [["run", "task", "data", *names]]
    for record in records:
        data = record["data"]
        source = ", ".join(data) if isinstance(data, list) else str(data)
        rows.append([record["run"], record["task"], source, *(_cell(record, name) for name in names)])
    return markdown_table(rows, num_left=3)
