"""``gpt-lightning generate``: continue a prompt."""

import sys

from gpt_lightning.commands.counter import counter
from gpt_lightning.commands.parser import Parser
from gpt_lightning.status import status


def parser() -> Parser:
    """The command's options."""
    p = Parser(prog="gpt-lightning generate", description="Continue a prompt, token by token.")
    p.add_argument("model", type=str, metavar="MODEL", help="a checkpoint, or a run's folder (its best checkpoint)")
    p.add_argument(
        "--prompt", type=str, default="", help="text to continue; empty starts a new document, - reads standard input"
    )
    p.add_argument("--max_new_tokens", type=int, default=200, help="stop after so many tokens")
    p.add_argument("--temperature", type=float, default=0.8, help="0 always takes the likeliest token")
    p.add_argument("--top_k", type=int | None, default=None, help="draw among the k likeliest tokens only")
    p.add_argument(
        "--top_p", type=float | None, default=None, help="draw among the likeliest that hold this probability"
    )
    p.add_argument("--seed", type=int, default=0, help="the same seed gives the same text")
    p.add_loading_options()
    p.add_argument(
        "--int8",
        action="store_true",
        help="weights of eight bits, on a processor: quicker and in less memory, nearly the same text",
    )
    p.add_argument("--device", type=str, default="auto", help="cpu, cuda, mps, or auto")
    return p


def main(argv: list[str]) -> int:
    """Print the prompt and its continuation as it is made."""
    options = parser().parse_args(argv)

    with status("Loading PyTorch and Lightning"):
        import gpt_lightning.tasks.load  # noqa: F401

    from gpt_lightning.data.sources.row_formats import without_surrogates
    from gpt_lightning.errors import InputError
    from gpt_lightning.models.device import device_of
    from gpt_lightning.models.generation.generate import Sampling
    from gpt_lightning.models.generation.int8 import quantize
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.continuation import continuation
    from gpt_lightning.tasks.load import find_checkpoint, load_task

    sampling = Sampling(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p)
    if options.max_new_tokens < 1:
        raise InputError(f"--max_new_tokens {options.max_new_tokens} must be at least 1")
    path = find_checkpoint(options.model)
    task, tokenizer = load_task(path, options.init_from, options.allow_import)
    if not isinstance(task, CausalLM):
        raise InputError(f"{path} holds a {type(task).__name__}; only a CausalLM generates text")
    task.to(device_of(options.device))
    if options.int8:
        if task.device.type != "cpu":
            raise InputError("--int8 is for processors: give --device cpu with it, or leave it out")
        task.head = quantize(task.backbone, task.head)
    # Neither what the shell gave nor what comes in must be UTF-8; line ends stay as they are.
    prompt = sys.stdin.buffer.read().decode(errors="replace") if options.prompt == "-" else options.prompt
    prompt = without_surrogates(prompt)
    prompt_ids = tokenizer.encode(prompt)
    block_size = task.backbone.config.block_size
    if len(prompt_ids) > block_size:
        print(
            f"the prompt has {len(prompt_ids)} tokens, the context holds {block_size}: its last {block_size} are used",
            file=sys.stderr,
        )
    pieces = continuation(
        task, tokenizer, prompt_ids, max_new_tokens=options.max_new_tokens, sampling=sampling, seed=options.seed
    )
    print(prompt, end="", flush=True)
    with counter("generating", "characters") as advance:
        for text in pieces:
            print(text, end="", flush=True)
            advance(len(text))
    print()
    return 0
