"""``gpt-lightning generate``: continue prompts."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpt_lightning.commands.counter import counter
from gpt_lightning.commands.decoding import add_decoding_options, decoding_of
from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError
from gpt_lightning.output_files import check_new, json_line, output_file, replace_non_finite
from gpt_lightning.printable import for_stream
from gpt_lightning.status import status

if TYPE_CHECKING:
    from gpt_lightning.data.prompts import Prompt
    from gpt_lightning.models.generation.decoding import Decoding
    from gpt_lightning.tasks import CausalLM, Seq2SeqLM
    from gpt_lightning.tasks.continuation import GenerativeTask
    from gpt_lightning.tokenizers.tokenizer import Tokenizer

_REMEDY: Final = "Choose another file with --output"


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning generate",
        description="Continue a prompt, or each prompt of a file, with a trained language model. The continuation of a "
        "single prompt is printed token by token; those of a file are JSON lines.",
        examples=[
            "gpt-lightning generate logs/first_run/version_0 --prompt 'Last summer' --max_new_tokens 50",
        ],
    )
    p.add_model_argument()
    p.add_argument(
        "--prompt",
        type=str,
        default="",
        metavar="TEXT",
        help="text to continue, or the source of an encoder-decoder; without it a new document starts; - reads one "
        "prompt from standard input",
    )
    p.add_argument(
        "--input",
        type=str | None,
        default=None,
        metavar="FILE",
        help="prompts: a .txt file with one on each line, or a .jsonl, .csv or .parquet file with a column prompt, "
        "text or messages; - reads lines of text or JSON from standard input",
    )
    p.add_argument("--chat", action="store_true", help="format the prompt as a user's message, with the chat template")
    p.add_argument(
        "--raw", action="store_true", help="add no tokens, such as BOS: the prompt already has its special tokens"
    )
    add_decoding_options(p)
    p.add_output_options("file for the continuations, as JSON lines")
    p.add_argument("--logprobs", action="store_true", help="add token_ids and logprobs, in nats, to each JSON line")
    p.add_argument(
        "--batch_size",
        type=int,
        default=1,
        help="continuations that are generated at the same time: faster, and the same text up to rounding",
    )
    p.add_loading_options()
    p.add_argument(
        "--int8",
        action="store_true",
        help="quantize the weights to int8, on CPUs only: faster, less memory, nearly the same text",
    )
    p.add_device_option()
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

    from gpt_lightning.tasks.export_tokenizer import layout_of

    decoding_of(options, {})  # refuse invalid options before the model is loaded
    prompts = _prompts(options)
    task, tokenizer = _load(options)
    decoding, layout = decoding_of(options, tokenizer.generation_config), layout_of(task, tokenizer)
    if layout is not None and options.input is None and not options.prompt:
        raise InputError("an encoder-decoder needs a source text. Give it with --prompt or --input")
    encoded = [prompt.encode(tokenizer, is_chat=options.chat, is_raw=options.raw, layout=layout) for prompt in prompts]
    block_size = task.backbone.config.block_size
    if layout is None:
        _check_lengths(options, prompts, encoded, decoding, block_size)
    else:
        _check_sources(prompts, encoded, block_size)
    is_text = options.input is None and output is None
    total = None if is_text else len(prompts) * options.samples
    with counter("generating", "characters", total=total, prints=output is None) as advance:
        if is_text:
            _print_samples(options, task, tokenizer, encoded[0], decoding, advance)
            return 0
        lines = _json_lines(options, task, tokenizer, prompts, encoded, decoding, advance)
        if output is None:
            for line in lines:
                print(for_stream(line), end="", flush=True)
            return 0
        with output_file(output, options.overwrite, _REMEDY) as file:
            count = sum(1 for line in lines if file.write(line.encode()))
    print(f"{count:,} continuations in {output}")
    return 0


def _check(options: Any) -> None:
    """Refuse invalid options before anything is loaded."""
    from gpt_lightning.ranges import MAX_SEED, check_count

    check_count("--samples", options.samples)
    check_count("--batch_size", options.batch_size)
    check_count("--seed", options.seed, least=0, most=MAX_SEED - options.samples + 1)
    if not all(options.stop):
        raise InputError("--stop is empty, so no text could be generated. Give a text, or leave --stop out")
    for name, is_given in (("logprobs", options.logprobs), ("batch_size", options.batch_size > 1)):
        if is_given and options.input is None and options.output is None:
            raise InputError(f"--{name} needs JSON lines as output. Add --output or --input, or leave --{name} out")
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


def _load(options: Any) -> "tuple[CausalLM | Seq2SeqLM, Tokenizer]":
    from gpt_lightning.models.device import device_of
    from gpt_lightning.models.generation.int8 import quantize
    from gpt_lightning.tasks import CausalLM, Seq2SeqLM
    from gpt_lightning.tasks.load import find_checkpoint, load_task

    path = find_checkpoint(options.model)
    task, tokenizer = load_task(path, options.init_from, options.allow_import)
    if not isinstance(task, CausalLM | Seq2SeqLM):
        raise InputError(
            f"{path} holds a {type(task).__name__}, but only a CausalLM or a Seq2SeqLM generates text. "
            "Use gpt-lightning predict, or give a language model"
        )
    task.to(device_of(options.device))
    if options.int8:
        if task.device.type != "cpu":
            raise InputError("--int8 runs on CPUs only. Add --device cpu, or leave --int8 out")
        task.head = quantize(task.backbone, task.head)
    return task, tokenizer


def _check_lengths(
    options: Any, prompts: "Sequence[Prompt]", encoded: Sequence[Sequence[int]], decoding: "Decoding", block_size: int
) -> None:
    """Report prompts that are truncated, and refuse those that cannot be."""
    for prompt, ids in zip(prompts, encoded, strict=True):
        where = prompt.where or "the prompt"
        is_single = decoding.num_beams == 1 and options.batch_size == 1
        if not is_single and len(ids) + decoding.max_new_tokens > block_size:
            raise InputError(
                f"{where} has {len(ids)} tokens, which with --max_new_tokens={decoding.max_new_tokens} exceed the "
                f"context of the model, {block_size} tokens. Lower --max_new_tokens, or shorten the prompt"
                + (
                    ", or leave --batch_size out: single texts continue beyond the context"
                    if decoding.num_beams == 1
                    else ""
                )
            )
        if len(ids) > block_size:
            print(
                f"{where} has {len(ids)} tokens, but the context of the model holds {block_size}: only the last "
                f"{block_size} are used",
                file=sys.stderr,
            )


def _check_sources(prompts: "Sequence[Prompt]", encoded: Sequence[Sequence[int]], block_size: int) -> None:
    """Refuse sources that are longer than the context of an encoder-decoder."""
    for prompt, ids in zip(prompts, encoded, strict=True):
        if len(ids) > block_size:
            raise InputError(
                f"{prompt.where or 'the source'} has {len(ids)} tokens, but the encoder of the model reads at most "
                f"{block_size}. Shorten the text"
            )


def _print_samples(
    options: Any,
    task: "GenerativeTask",
    tokenizer: "Tokenizer",
    ids: Sequence[int],
    decoding: "Decoding",
    advance: Callable[[int, int], None],
) -> None:
    """Print a prompt with each of its continuations, or the targets of a source, while they are generated."""
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.continuation import completions, continuation

    samples: Iterable[Iterable[str]] = (
        continuation(task, tokenizer, ids, decoding, seed=options.seed + sample) for sample in range(options.samples)
    )
    if decoding.num_beams > 1:
        (found,) = completions(task, tokenizer, [ids], decoding, samples=options.samples)
        samples = [[each.text] for each in found]
    for number, pieces in enumerate(samples, start=1):
        if options.samples > 1:
            print(f"--- sample {number} of {options.samples}")
        continues = isinstance(task, CausalLM) and not options.chat
        print(for_stream(options.prompt if continues else ""), end="", flush=True)
        for text in pieces:
            print(for_stream(text), end="", flush=True)
            advance(len(text), 0)
        print()


def _json_lines(
    options: Any,
    task: "GenerativeTask",
    tokenizer: "Tokenizer",
    prompts: "Sequence[Prompt]",
    encoded: Sequence[Sequence[int]],
    decoding: "Decoding",
    advance: Callable[[int, int], None],
) -> Iterator[str]:
    """Yield a line for each continuation: the columns of its prompt, ``sample``, ``completion``, ``finish_reason``.

    With ``--logprobs``, ``token_ids`` and ``logprobs`` follow.
    """
    from gpt_lightning.tasks.continuation import completions

    found = completions(
        task,
        tokenizer,
        encoded,
        decoding,
        samples=options.samples,
        seed=options.seed,
        batch_size=options.batch_size,
        with_logprobs=options.logprobs,
    )
    for prompt, samples in zip(prompts, found, strict=True):
        for number, each in enumerate(samples):
            advance(len(each.text), 1)
            row = {**prompt.fields, "sample": number, "completion": each.text, "finish_reason": each.finish_reason}
            if options.logprobs:
                row |= {"token_ids": each.token_ids, "logprobs": list(each.logprobs)}
            yield json_line(replace_non_finite(row), default=str)
