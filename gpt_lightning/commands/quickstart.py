"""``gpt-lightning quickstart``: pretrain a nano model and fine-tune four heads on generated data."""

import contextlib
import io
import itertools
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpt_lightning.commands import shipped_configs
from gpt_lightning.commands.parser import Parser
from gpt_lightning.ranges import check_count
from gpt_lightning.status import status

if TYPE_CHECKING:
    from gpt_lightning.commands.run.cli import CLI

CONFIGS: Final = shipped_configs.folder()
DATA: Final = Path("data/toy_world")
LOGS: Final = Path("logs")
TASKS: Final = {"classification": "accuracy", "sentiment": "accuracy", "ner": "entity_f1", "qa": "answer_f1"}
"""Each head's name in ``configs/toy_world_<name>.yaml``, and the metric that the table shows."""


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning quickstart",
        description="Write the toy world to data/toy_world, pretrain a nano model on it, and fine-tune four heads on a "
        "few hundred labeled rows each, from scratch and from the pretrained backbone. It takes about five minutes on "
        "two cores.",
        examples=["gpt-lightning quickstart"],
    )
    p.add_argument("--max_steps", type=int | None, help="optimizer steps of pretraining; lower values are faster")
    p.add_argument("--max_epochs", type=int, default=8, help="epochs of each fine-tuning; lower values are faster")
    return p


def main(argv: list[str]) -> int:
    """Write the toy world, pretrain, print a sample, fine-tune with and without the backbone, print the table."""
    options = parser().parse_args(argv)
    if options.max_steps is not None:
        check_count("--max_steps", options.max_steps)
    check_count("--max_epochs", options.max_epochs)

    with status("Loading PyTorch and Lightning"):
        from gpt_lightning.commands.run.hidden_messages import hide_messages
    from gpt_lightning.toy_world.write import write

    write(DATA)
    hide_messages()
    backbone = pretrain(options.max_steps)
    print("\nFine-tuning on 400 rows each:", flush=True)
    scores = {
        (name, is_pretrained): fine_tune(name, backbone, is_pretrained, options.max_epochs)
        for name in TASKS
        for is_pretrained in (False, True)
    }
    print("\n| task | metric | from scratch | pretrained |\n|---|---|---|---|")
    for name, metric in TASKS.items():
        print(f"| {name} | {metric} | {scores[name, False]:.3f} | {scores[name, True]:.3f} |")
    generate = shlex.join(["gpt-lightning", "generate", str(backbone), "--prompt", "Last summer"])
    print(f"\nNext:\n  {generate}\n  {shlex.join(['tensorboard', '--logdir', str(LOGS)])}")
    return 0


def pretrain(max_steps: int | None) -> Path:
    """Pretrain the backbone; print its loss, the loss of a unigram model, and a sample.

    Returns:
        The folder of the run.
    """
    import torch

    from gpt_lightning.commands.run.cli import CLI
    from gpt_lightning.data import LanguageModeling
    from gpt_lightning.metrics.language import unigram_cross_entropy
    from gpt_lightning.models.generation.decoding import Decoding
    from gpt_lightning.models.generation.generate import Sampling
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.continuation import continuation
    from gpt_lightning.tasks.load import find_checkpoint, load_task
    from gpt_lightning.tokenizers.prompt import text_prompt

    values: dict[str, Any] = {
        "trainer.devices": 1,
        "log_dir": str(LOGS),
        "name": free_name("pretrain_toy_world", "pretrain"),
    }
    if max_steps is not None:
        values["trainer.max_steps"] = max_steps
    cli = CLI(["fit", "-c", str(CONFIGS / "pretrain_toy_world.yaml")], values)
    data = cli.datamodule
    assert isinstance(data, LanguageModeling)
    train, validation = (
        torch.from_numpy(data.stream(split).slice(0, len(data.stream(split)))) for split in ("train", "validation")
    )
    unigram = unigram_cross_entropy(train, validation[1:], data.vocab_size)
    loss = float(cli.trainer.callback_metrics["val/loss"])
    print(f"\nvalidation loss {loss:.3f} nats per token; a unigram model reaches {unigram:.3f}")
    run = Path(str(cli.trainer.log_dir))
    task, tokenizer = load_task(find_checkpoint(str(run)))
    assert isinstance(task, CausalLM)
    decoding = Decoding(max_new_tokens=150, sampling=Sampling(temperature=0.7))
    sample = continuation(task, tokenizer, text_prompt(tokenizer, ""), decoding, seed=0)
    print(f"\nA sample:\n{''.join(sample)}")
    return run


def fine_tune(name: str, backbone: Path, is_pretrained: bool, max_epochs: int) -> float:
    """Fine-tune and test one head; print a line with its score.

    The run from scratch uses the backbone's shape and tokenizer too, so that only the weights differ.

    Returns:
        The head's own metric on the test rows.
    """
    start = time.perf_counter()
    config, origin = f"{CONFIGS}/toy_world_{name}.yaml", "pretrained" if is_pretrained else "from_scratch"
    print(f"  {name} {origin.replace('_', ' ')}: ", end="", flush=True)
    values = {
        "trainer.max_epochs": max_epochs,
        "log_dir": str(LOGS),
        "name": free_name(f"toy_world_{name}", origin),
        **({"model.init_from": str(backbone)} if is_pretrained else {"data.tokenizer": f"{backbone}/tokenizer.json"}),
    }
    run = _run_silently("fit", config, values).trainer.log_dir
    tested = _run_silently("test", config, {"ckpt_path": run})
    score = float(tested.trainer.callback_metrics[f"test/{TASKS[name]}"])
    seconds = time.perf_counter() - start
    print(f"{TASKS[name]} {score:.3f} ({seconds:.0f} s, in {run})", flush=True)
    return score


def free_name(experiment: str, name: str) -> str:
    """Return ``name``, or if a quickstart before this one has taken it, ``name_2``, ``name_3`` and so on."""
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    return next(each for each in names if not (LOGS / experiment / each).exists())


def _run_silently(subcommand: str, config: str, values: dict[str, Any]) -> "CLI":
    """Run a subcommand without its output, which would be repeated for eight runs."""
    from gpt_lightning.commands.run.cli import CLI

    with contextlib.redirect_stdout(io.StringIO()):
        return CLI([subcommand, "-c", config], {**values, "trainer.devices": 1, "trainer.enable_progress_bar": False})
