"""``gpt-lightning without``: repeat a training run without some of its rows, exactly."""

from pathlib import Path

from gpt_lightning.commands.guard.checkpoint_guard import refuse_class_of_checkpoint
from gpt_lightning.commands.guard.config_guard import check
from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError
from gpt_lightning.printable import printable
from gpt_lightning.status import status


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning without",
        description="Repeat a finished training run without some of its rows, in a new folder. The tokens of these "
        "rows are masked and have no labels; everything else is equal, bit for bit. Training continues from the last "
        "checkpoint before the rows first occur. A report compares both models.",
        examples=["gpt-lightning without logs/first_run/version_0 --rows author.jsonl"],
    )
    p.add_argument("run", type=str, metavar="RUN", help="folder of the run, such as logs/EXPERIMENT/version_N")
    p.add_argument(
        "--rows",
        type=str,
        metavar="FILE",
        required=True,
        help="rows to remove, copied from the training data, or a .txt file with the path:line of each; an empty file "
        "removes nothing, to check that the run can be repeated",
    )
    p.add_argument(
        "--name",
        type=str | None,
        default=None,
        help="name of the new run, next to RUN; by default the name of RUN with _without",
    )
    p.add_argument(
        "--from_start", action="store_true", help="start from the first step, even if a checkpoint is early enough"
    )
    p.add_loading_options("the run")
    return p


def main(argv: list[str]) -> int:
    """Repeat the run, and report the differences."""
    options = parser().parse_args(argv)
    run = Path(options.run)
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run}: not a run folder, because it has no config.yaml. Give logs/EXPERIMENT/version_N")
    arguments = ["fit", f"--config={run / 'config.yaml'}", *(f"--allow_import={name}" for name in options.allow_import)]
    check(arguments)  # CLI checks again; this one comes before the slow imports
    refuse_class_of_checkpoint(run)
    with status("Loading PyTorch and Lightning"):
        from gpt_lightning.checkpoints.read import read_manifest
        from gpt_lightning.commands.run.command_line import naming_shorthand
        from gpt_lightning.commands.run.compare_replay import compare
        from gpt_lightning.commands.run.hidden_messages import hide_messages
        from gpt_lightning.commands.run.ranks import leave
        from gpt_lightning.commands.run.replay import Replay, UnaffectedError
        from gpt_lightning.evaluation.influence_report import JSON_FILE, PAGE_FILE, summary, write_report

    hide_messages()
    manifest = read_manifest(run / "checkpoints")
    if not manifest.checkpoints:
        raise InputError(f"{run} has no checkpoints, so it cannot be repeated")
    place = run if len(run.parts) > 2 and ".." not in run.parts else run.absolute()
    given = {"model.init_from": options.init_from} if options.init_from is not None else {}
    overrides = given | {
        "data.without": options.rows,
        "log_dir": str(place.parent.parent),
        "experiment": place.parent.name,
        "name": options.name or f"{place.name}_without",
        "resume": "auto",
    }
    try:
        with naming_shorthand(overrides, {"data.without": "--rows", "model.init_from": "--init_from"}):
            replay = Replay(run, manifest, arguments, overrides, options.allow_import, from_start=options.from_start)
    except UnaffectedError as reason:
        print(
            printable(
                f"{run} has never been trained on these rows, because {reason}. Its weights do not depend on them, and "
                "nothing was trained"
            )
        )
        return 0
    if not replay.trainer.is_global_zero:
        return 0
    leave()  # the other ranks have ended
    folder = place.parent / overrides["name"]
    report = compare(replay, folder, options.rows, options.init_from, options.allow_import)
    write_report(report, folder)
    print(printable("\n".join(summary(report))))
    print(printable(f"wrote {folder / JSON_FILE} and {folder / PAGE_FILE}"))
    return 0 if report.mask_sha256 or report.equal_weights else 1
