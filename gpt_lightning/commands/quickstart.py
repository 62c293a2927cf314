"""``gpt-lightning quickstart``: from nothing to generated text, to see that everything works."""

from pathlib import Path

from gpt_lightning.commands.parser import Parser

CONFIG = Path(__file__).parents[2] / "configs" / "pretrain_toy_world.yaml"
DATA = Path("data/toy_world")


def main(argv: list[str]) -> int:
    """Write the toy world, pretrain on it, measure, and print a sample."""
    p = Parser(
        prog="gpt-lightning quickstart",
        description="Write the toy world to data/toy_world, pretrain a nano model on it, compare it with a unigram "
        "model, and print a sample: about two and a half minutes on two cores. Run it in a checkout of the project.",
    )
    p.add_argument("--max_steps", type=int, default=800, help="optimizer steps; fewer to try it out")
    options = p.parse_args(argv)

    import torch

    from gpt_lightning.commands.run import CLI, quiet
    from gpt_lightning.data import LanguageModeling
    from gpt_lightning.data.toy_world import write
    from gpt_lightning.errors import InputError
    from gpt_lightning.metrics.language import unigram_cross_entropy
    from gpt_lightning.models.sampling import Sampling
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.training.reading import find_checkpoint, load_task
    from gpt_lightning.training.samples import continuation

    if not CONFIG.is_file():
        raise InputError(f"{CONFIG} is not there: the quickstart runs in a checkout of the project")
    write(DATA)
    quiet()
    cli = CLI(["fit", "-c", str(CONFIG), "--trainer.devices=1", f"--trainer.max_steps={options.max_steps}"])
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
    print(f"\nA sample:\n{''.join(sample)}\n\nMore: gpt-lightning generate {run} --prompt 'Last summer'")
    return 0
