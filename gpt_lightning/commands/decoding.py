"""Options of decoding: sampling, beam search, penalties and stop strings."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError

if TYPE_CHECKING:
    from gpt_lightning.models.generation.decoding import Decoding


def add_decoding_options(p: Parser) -> None:
    """Add the decoding options. An option without a value takes the model's own setting, if there is one."""
    p.add_argument(
        "--max_new_tokens",
        type=int | None,
        default=None,
        help="maximum number of new tokens; the default is the model's own, or 200",
    )
    p.add_argument(
        "--min_new_tokens",
        type=int | None,
        default=None,
        help="minimum number of new tokens, before which no end token is allowed",
    )
    p.add_argument(
        "--stop",
        type=str,
        action="append",
        metavar="TEXT",
        default=[],
        help="stop before this text; can be given several times",
    )
    p.add_argument("--samples", type=int, default=1, help="number of continuations of each prompt")
    p.add_argument(
        "--temperature",
        type=float | None,
        default=None,
        help="randomness of the text; 0 always takes the most likely token; the default is the model's own, or 0.8",
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
        help="seed of the sampling, with which the text can be repeated; further samples use the next seeds",
    )
    p.add_argument(
        "--num_beams",
        type=int | None,
        default=None,
        help="search for the most likely text with this many beams, instead of sampling",
    )
    p.add_argument(
        "--length_penalty",
        type=float | None,
        default=None,
        help="beam search divides scores by the length to this power (default 1); higher values favor long texts",
    )
    p.add_argument(
        "--repetition_penalty",
        type=float | None,
        default=None,
        help="above 1, tokens of the prompt and of the new text are less likely to be repeated",
    )
    p.add_argument(
        "--no_repeat_ngram_size",
        type=int | None,
        default=None,
        help="no sequence of this many tokens occurs twice",
    )


def decoding_of(options: Any, generation_config: Mapping[str, Any]) -> "Decoding":
    """Return the decoding settings, and print those that come from the model."""
    from gpt_lightning.data.sources.row_formats import short_repr
    from gpt_lightning.models.generation.decoding import DECODING_NAMES, choose_decoding
    from gpt_lightning.tokenizers.generation_config import decoding_defaults, ignored_settings

    given = {name: getattr(options, name) for name in DECODING_NAMES}
    decoding, used = choose_decoding(given, decoding_defaults(generation_config))
    if used:
        values = ", ".join(f"{name}={value}" for name, value in used.items())
        print(f"decoding as in the model's generation_config.json: {values}. Flags replace them", file=sys.stderr)
    if ignored := ignored_settings(generation_config):
        values = ", ".join(f"{name}={short_repr(value)}" for name, value in ignored.items())
        print(f"ignored settings of the model's generation_config.json: {values}", file=sys.stderr)
    if decoding.num_beams > 1:
        if options.samples > decoding.num_beams:
            raise InputError(
                f"--samples={options.samples} is more than --num_beams={decoding.num_beams}, the number of texts that "
                "beam search finds. Lower --samples, or raise --num_beams"
            )
    elif options.samples > 1 and decoding.sampling.temperature == 0:
        raise InputError(
            f"--samples {options.samples} with --temperature 0 would give equal texts. "
            "Raise --temperature, or leave --samples out"
        )
    return decoding
