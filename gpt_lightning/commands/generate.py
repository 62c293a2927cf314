"""``gpt-lightning generate``: continue a prompt."""

import sys

from gpt_lightning.commands.counter import counter
from gpt_lightning.commands.parser import Parser
from gpt_lightning.printable import for_stream
from gpt_lightning.status import status


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning generate",
        description="Continue a prompt with a trained language model. The text appears token by token.",
        examples=["gpt-lightning generate logs/first_run/version_0 --prompt 'Last summer' --max_new_tokens 50"],
    )
    p.add_argument(
        "model", type=str, metavar="MODEL", help="a checkpoint, a run folder (its best checkpoint) or a model folder"
    )
    p.add_argument(
        "--prompt",
        type=str,
        default="",
        metavar="TEXT",
        help="text to continue; without it a new document starts; - reads standard input",
    )
    p.add_argument("--max_new_tokens", type=int, default=200, help="largest number of new tokens")
    p.add_argument(
        "--temperature", type=float, default=0.8, help="randomness of the text; 0 always takes the most likely token"
    )
    p.add_argument("--top_k", type=int | None, default=None, help="sample from the k most likely tokens only")
    p.add_argument(
        "--top_p",
        type=float | None,
        default=None,
        help="sample from the smallest set of tokens with this total probability (nucleus sampling)",
    )
    p.add_argument("--seed", type=int, default=0, help="seed of the sampling; the same seed gives the same text")
    p.add_loading_options()
    p.add_argument(
        "--int8",
        action="store_true",
        help="quantize the weights to int8, on CPUs only: faster, less memory, nearly the same text",
    )
    p.add_argument("--device", type=str, default="auto", help="cpu, cuda, mps, or auto")
    return p


def main(argv: list[str]) -> int:
    """Print the prompt, and its continuation while it is generated."""
    options = parser().parse_args(argv)

    with status("Loading PyTorch and Lightning"):
        import gpt_lightning.tasks.load  # noqa: F401

    from gpt_lightning.data.sources.row_formats import without_surrogates
    from gpt_lightning.errors import InputError
    from gpt_lightning.models.device import device_of
    from gpt_lightning.models.generation.generate import Sampling
    from gpt_lightning.models.generation.int8 import quantize
    from gpt_lightning.ranges import MAX_SEED, check_count
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.continuation import continuation
    from gpt_lightning.tasks.load import find_checkpoint, load_task

    check_count("--seed", options.seed, least=0, most=MAX_SEED)
    sampling = Sampling(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p)
    if options.max_new_tokens < 1:
        raise InputError(f"--max_new_tokens {options.max_new_tokens} must be at least 1")
    path = find_checkpoint(options.model)
    task, tokenizer = load_task(path, options.init_from, options.allow_import)
    if not isinstance(task, CausalLM):
        raise InputError(
            f"{path} holds a {type(task).__name__}, but only a CausalLM generates text. "
            "Use gpt-lightning predict, or give a language model"
        )
    task.to(device_of(options.device))
    if options.int8:
        if task.device.type != "cpu":
            raise InputError("--int8 runs on CPUs only. Add --device cpu, or leave --int8 out")
        task.head = quantize(task.backbone, task.head)
    # The shell and standard input may give bytes that are not UTF-8. Line ends are kept.
    prompt = sys.stdin.buffer.read().decode(errors="replace") if options.prompt == "-" else options.prompt
    prompt = without_surrogates(prompt)
    prompt_ids = tokenizer.encode(prompt)
    block_size = task.backbone.config.block_size
    if len(prompt_ids) > block_size:
        print(
            f"the prompt has {len(prompt_ids)} tokens, but the context of the model holds {block_size}: "
            f"only the last {block_size} are used",
            file=sys.stderr,
        )
    pieces = continuation(
        task, tokenizer, prompt_ids, max_new_tokens=options.max_new_tokens, sampling=sampling, seed=options.seed
    )
    print(for_stream(prompt), end="", flush=True)
    with counter("generating", "characters") as advance:
        for text in pieces:
            print(for_stream(text), end="", flush=True)
            advance(len(text))
    print()
    return 0
