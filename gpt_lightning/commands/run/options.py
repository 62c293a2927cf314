"""Options of a run beyond those of the Trainer, the task and the data module."""

import argparse
from typing import Literal

from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning import training
from gpt_lightning.training.verdict import MustBeat


def add_test_options(parser: LightningArgumentParser) -> None:
    """Add the options of ``test`` for the verdict."""
    parser.add_argument(
        "--verdict",
        type=bool,
        default=True,
        help="compare the model with simple baselines, with intervals, and check the test data",
    )
    parser.add_argument(
        "--calibrate",
        type=bool,
        nargs="?",
        const=True,
        default=False,
        help="fit a temperature on the validation rows, and show the calibration error before and after",
    )
    parser.add_argument(
        "--learning_curve",
        type=bool,
        nargs="?",
        const=True,
        default=False,
        help="fit TF-IDF on thirds of the training rows, and estimate its score with twice as many rows",
    )
    parser.add_argument(
        "--must_beat",
        type=MustBeat | None,
        default=None,
        metavar="{tfidf,trivial}",
        help="exit with 1 unless the model is better than this baseline and the 95-percent interval of the difference "
        "excludes zero",
    )


def add_options(parser: LightningArgumentParser) -> None:
    """Add options for the folder of a run, resuming, speed, and the callbacks of this project."""
    parser.add_argument(
        "--experiment", type=str, default="default", help="folder in log_dir for runs that belong together"
    )
    parser.add_argument(
        "--name",
        type=str | None,
        default=None,
        help="name of the run: its folder is log_dir/experiment/name, and TensorBoard shows it by this name. The "
        "name of an existing run is refused, unless --resume=auto continues that run; null takes version_0, "
        "version_1, and so on",
    )
    parser.add_argument(
        "--log_dir",
        type=str,
        default="logs",
        help="folder for all experiments; it may contain ~ and environment variables",
    )
    parser.add_argument(
        "--resume",
        type=Literal["never", "auto"],
        default="never",
        help="auto: resume the run --name or, without a name, the newest unnamed run (version_N) of the experiment, "
        "from its newest undamaged checkpoint; if there is none, start a run. The same command then works after every "
        "interruption",
    )
    parser.add_argument(
        "--activation_checkpointing",
        type=bool,
        default=False,
        help="recompute activations in the backward pass: less memory, a third more computation, the same results",
    )
    parser.add_argument(
        "--compile",
        type=bool | None,
        default=None,
        help="compile the backbone: a slow first step, then faster ones; null compiles on GPUs with one device or "
        "ddp. Results are equal up to rounding and other random numbers for dropout",
    )
    parser.add_argument(
        "--report",
        type=bool,
        default=True,
        help="write report.html to the folder of the run at the end of fit and after test: curves, tables, hardest "
        "examples, samples, settings, data, versions and commands; history.jsonl keeps all logged metrics for it and "
        "for gpt-lightning compare",
    )
    parser.add_argument(
        "--diagnostics",
        type=bool,
        default=True,
        help="log the gradient norm, the update ratio and the largest attention logit of each layer at every fifth "
        "logged step, and after validations losses by position, token frequency and document length, "
        "precision-recall and reliability curves; the weights are the same with and without",
    )
    # Only for --help: config_guard.py reads this option and removes it.
    parser.add_argument(
        "--allow_import",
        type=str,
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="a package, module, class or function that class paths may name; can be given several times, and on the "
        "command line only. The tasks and data modules of gpt_lightning and some classes of Lightning need none",
    )
    parser.add_lightning_class_args(training.Checkpoints, "checkpoints")
    parser.add_lightning_class_args(training.Samples, "samples")
    parser.add_lightning_class_args(training.LMEval, "lm_eval")
    parser.add_lightning_class_args(training.PredictionWriter, "predictions")
