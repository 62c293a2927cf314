"""``gpt-lightning quickstart``: pretrain a nano model and fine-tune four heads on generated data."""

import contextlib
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpt_lightning.commands.parser import Parser

if TYPE_CHECKING:
    from gpt_lightning.commands.run.cli import CLI

CONFIGS: Final = Path(__file__).parents[2] / "configs"
DATA: Final = Path("data/toy_world")
TASKS: Final = {"classification": "accuracy", "sentiment": "accuracy", "ner": "f1", "qa": "f1"}
"""What is fine-tuned (``configs/toy_world_<name>.yaml``), and the metric that counts."""


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning quickstart",
        description="Write the toy world to data/toy_world, pretrain a nano model on it, and fine-tune four heads on a "
        "few hundred labeled rows each, from scratch and from the pretrained backbone: about five minutes on two "
        "cores. Run it in a checkout of the project.",
    )
    p.add_argument("--max_steps", type=int | None, help="optimizer steps of pretraining; fewer to try it out")
    p.add_argument("--max_epochs", type=int, default=8, help="epochs of each fine-tuning; fewer to try it out")
    return p


def main(argv: list[str]) -> int:
    """Write the toy world, pretrain, print a sample, fine-tune with and without the backbone, print the table."""
    options = parser().parse_args(argv)

    from gpt_lightning.commands.run.cli import quiet
    from gpt_lightning.errors import InputError
    from gpt_lightning.toy_world.write import write

    if not CONFIGS.is_dir():
        raise InputError(f"{CONFIGS} is not there: the quickstart runs in a checkout of the project")
    write(DATA)
    quiet()
    backbone = pretrain(options.max_steps)
    print("\nFine-tuning on 400 rows each:", flush=True)
    scores = {
        (name, pretrained): fine_tune(name, backbone, pretrained, options.max_epochs)
        for name in TASKS
        for pretrained in (False, True)
    }
    print("\n| task | metric | from scratch | from the backbone |\n|---|---|---|---|")
    for name, metric in TASKS.items():
        print(f"| {name} | {metric} | {scores[name, False]:.3f} | {scores[name, True]:.3f} |")
    print(f"\nMore: gpt-lightning generate {backbone} --prompt 'Last summer'\n      tensorboard --logdir logs")
    return 0


def pretrain(max_steps: int | None) -> Path:
    """The run's folder; prints its loss, a unigram model's, and a sample."""
    import torch

    from gpt_lightning.commands.run.cli import CLI
    from gpt_lightning.data import LanguageModeling
    from gpt_lightning.metrics.language import unigram_cross_entropy
    from gpt_lightning.models.generation.generate import Sampling
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.continuation import continuation
    from gpt_lightning.tasks.load import find_checkpoint, load_task

    shorter = {} if max_steps is None else {"trainer.max_steps": max_steps}
    cli = CLI(["fit", "-c", str(CONFIGS / "pretrain_toy_world.yaml")], {"trainer.devices": 1, **shorter})
    data = cli.datamodule
    assert isinstance(data, LanguageModeling)
    train, validation = (
        torch.from_numpy(data.stream(split).slice(0, len(data.stream(split)))) for split in ("train", "validation")
    )
    unigram = unigram_cross_entropy(train, validation[1:], data.vocab_size)
    loss = float(cli.trainer.callback_metrics["val/loss"])
    print(f"\nvalidation loss {loss:.3f} nats a token; a unigram model reaches {unigram:.3f}")
    run = Path(str(cli.trainer.log_dir))
    task, tokenizer = load_task(find_checkpoint(str(run)))
    assert isinstance(task, CausalLM)
    sample = continuation(task, tokenizer, [], max_new_tokens=150, sampling=Sampling(temperature=0.7), seed=0)
    print(f"\nA sample:\n{''.join(sample)}")
    return run


def fine_tune(name: str, backbone: Path, pretrained: bool, max_epochs: int) -> float:
    """What a head reaches on the test rows, in its own metric; prints it in one line.

    From scratch it has the backbone's shape and tokenizer too: the weights are all that differs.
    """
    start = time.perf_counter()
    config = f"{CONFIGS}/toy_world_{name}.yaml"
    start_from = {"model.init_from": str(backbone)} if pretrained else {"data.tokenizer": f"{backbone}/tokenizer.json"}
    run = _silently("fit", config, {"trainer.max_epochs": max_epochs, **start_from}).trainer.log_dir
    tested = _silently("test", config, {"ckpt_path": run})
    score = float(tested.trainer.callback_metrics[f"test/{TASKS[name]}"])
    origin = "from the backbone" if pretrained else "from scratch"
    seconds = time.perf_counter() - start
    print(f"  {name} {origin}: {TASKS[name]} {score:.3f} ({seconds:.0f} s, in {run})", flush=True)
    return score


def _silently(subcommand: str, config: str, values: dict[str, Any]) -> "CLI":
    """Run a subcommand without its output, which matters for one run but not for eight."""
    from gpt_lightning.commands.run.cli import CLI

    with contextlib.redirect_stdout(io.StringIO()):
        return CLI([subcommand, "-c", config], {**values, "trainer.devices": 1, "trainer.enable_progress_bar": False})
