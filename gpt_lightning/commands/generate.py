"""``gpt-lightning generate``: continue prompts."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpt_lightning.commands.counter import counter
from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError
from gpt_lightning.output_files import check_new, finite, json_line, output_file
from gpt_lightning.printable import for_stream
from gpt_lightning.status import status

if TYPE_CHECKING:
    from gpt_lightning.data.prompts import Prompt
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tokenizers.tokenizer import Tokenizer

Continue = Callable[[Sequence[int], int], Iterator[str]]
"""Function of the token ids of a prompt and the number of a sample, which yields the continuation in pieces."""

_REMEDY: Final = "Choose another file with --output"


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning generate",
        description="Continue a prompt, or each prompt of a file, with a trained language model. The text of a single "
        "prompt appears token by token. A file of prompts gives JSON lines.",
        examples=[
            "gpt-lightning generate logs/first_run/version_0 --prompt 'Last summer' --max_new_tokens 50",
        ],
    )
    p.add_argument(
        "model", type=str, metavar="MODEL", help="a checkpoint, a run folder (its best checkpoint) or a model folder"
    )
    p.add_argument(
        "--prompt",
        type=str,
        default="",
        metavar="TEXT",
        help="text to continue; without it a new document starts; - reads one prompt from standard input",
    )
    p.add_argument(
        "--input",
        type=str | None,
        default=None,
        metavar="FILE",
        help="prompts: a .txt file with one on each line, or a .jsonl, .csv or .parquet file with a column prompt, "
        "text or messages; - reads lines of text or JSON from standard input",
    )
    p.add_argument("--chat", action="store_true", help="send the prompt as the user's message, in the chat template")
    p.add_argument(
        "--raw", action="store_true", help="add no tokens, such as BOS: the prompt is complete, with its special tokens"
    )
    p.add_argument("--max_new_tokens", type=int, default=200, help="largest number of new tokens")
    p.add_argument(
        "--stop",
        type=str,
        action="append",
        metavar="TEXT",
        default=[],
        help="end before this text; can be given several times",
    )
    p.add_argument("--samples", type=int, default=1, help="number of continuations of each prompt")
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
    p.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the sampling; the same seed gives the same text; further samples use the next seeds",
    )
    p.add_output_options("file for the continuations, as JSON lines")
    p.add_loading_options()
    p.add_argument(
        "--int8",
        action="store_true",
        help="quantize the weights to int8, on CPUs only: faster, less memory, nearly the same text",
    )
    p.add_argument("--device", type=str, default="auto", help="cpu, cuda, mps, or auto")
    return p


def main(argv: list[str]) -> int:
    """Print or write the continuations."""
    options = parser().parse_args(argv)
    _check(options)
    output = None if options.output is None else Path(options.output)
    if output is not None:
        check_new(output, options.overwrite, _REMEDY)

    with status("Loading PyTorch and Lightning"):
        import gpt_lightning.tasks.load  # noqa: F401

    from gpt_lightning.models.generation.generate import Sampling
    from gpt_lightning.tasks.continuation import continuation

    sampling = Sampling(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p)
    prompts = _prompts(options)
    task, tokenizer = _load(options)

    def continue_prompt(prompt_ids: Sequence[int], sample: int) -> Iterator[str]:
        seed, max_new_tokens, stop = options.seed + sample, options.max_new_tokens, options.stop
        return continuation(
            task, tokenizer, prompt_ids, max_new_tokens=max_new_tokens, sampling=sampling, seed=seed, stop=stop
        )

    encoded = [prompt.encode(tokenizer, is_chat=options.chat, is_raw=options.raw) for prompt in prompts]
    block_size = task.backbone.config.block_size
    for prompt, ids in zip(prompts, encoded, strict=True):
        if len(ids) > block_size:
            print(
                f"{prompt.where or 'the prompt'} has {len(ids)} tokens, but the context of the model holds "
                f"{block_size}: only the last {block_size} are used",
                file=sys.stderr,
            )
    with counter("generating", "characters") as advance:
        if options.input is None and output is None:
            _print_samples(
                "" if options.chat else options.prompt, options.samples, encoded[0], continue_prompt, advance
            )
            return 0
        lines = _json_lines(prompts, encoded, options.samples, continue_prompt, advance)
        if output is None:
            for line in lines:
                print(for_stream(line), end="", flush=True)
            return 0
        with output_file(output, options.overwrite, _REMEDY) as file:
            file.writelines(line.encode() for line in lines)
    print(f"{len(prompts) * options.samples:,} continuations in {output}")
    return 0


def _check(options: Any) -> None:
    """Refuse invalid options before anything is loaded."""
    from gpt_lightning.ranges import MAX_SEED, check_count

    for name in ("max_new_tokens", "samples"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)} must be at least 1")
    check_count("--seed", options.seed, least=0, most=MAX_SEED - options.samples + 1)
    if options.samples > 1 and options.temperature == 0:
        raise InputError(
            f"--samples {options.samples} with --temperature 0 would give equal texts. "
            "Raise --temperature, or leave --samples out"
        )
    if not all(options.stop):
        raise InputError("--stop is empty, so no text could be generated. Give a text, or leave --stop out")
    if options.chat and options.raw:
        raise InputError("--chat and --raw exclude each other. Leave one out")
    if options.input is not None and options.prompt:
        raise InputError("--prompt and --input exclude each other. Leave one out")


def _prompts(options: Any) -> "list[Prompt]":
    """Return the prompts; that of ``--prompt -`` replaces the option's value."""
    from gpt_lightning.data.prompts import Prompt, file_prompts, standard_input_prompts
    from gpt_lightning.data.sources.row_formats import without_surrogates

    if options.input == "-":
        return standard_input_prompts(sys.stdin.buffer.read())
    if options.input is not None:
        return file_prompts(Path(options.input))
    if options.prompt == "-":
        options.prompt = sys.stdin.buffer.read().decode(errors="replace")  # line ends are kept
    options.prompt = without_surrogates(options.prompt)  # the shell may give bytes that are not UTF-8
    return [Prompt(options.prompt, "", {"prompt": options.prompt})]


def _load(options: Any) -> "tuple[CausalLM, Tokenizer]":
    from gpt_lightning.models.device import device_of
    from gpt_lightning.models.generation.int8 import quantize
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.load import find_checkpoint, load_task

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
    return task, tokenizer


def _print_samples(
    prompt: str, samples: int, ids: Sequence[int], continue_prompt: Continue, advance: Callable[[int], None]
) -> None:
    """Print a prompt with each of its continuations, while they are generated."""
    for sample in range(samples):
        if samples > 1:
            print(f"--- sample {sample + 1} of {samples}")
        print(for_stream(prompt), end="", flush=True)
        for text in continue_prompt(ids, sample):
            print(for_stream(text), end="", flush=True)
            advance(len(text))
        print()


def _json_lines(
    prompts: "Sequence[Prompt]",
    encoded: Sequence[Sequence[int]],
    samples: int,
    continue_prompt: Continue,
    advance: Callable[[int], None],
) -> Iterator[str]:
    """Yield a line for each continuation: the columns of its prompt, ``sample`` and ``completion``."""
    for prompt, ids in zip(prompts, encoded, strict=True):
        for sample in range(samples):
            text = "".join(continue_prompt(ids, sample))
            advance(len(text))
            yield json_line(finite({**prompt.fields, "sample": sample, "completion": text}), default=str)
