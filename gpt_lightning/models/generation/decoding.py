"""Settings of decoding, and the values that they take if a user or a model sets only some of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpt_lightning.errors import InputError
from gpt_lightning.models.generation.generate import Sampling
from gpt_lightning.models.generation.logits_processors import (
    LogitsProcessor,
    MinLength,
    MinNewTokens,
    NoRepeatNgrams,
    RepetitionPenalty,
)
from gpt_lightning.ranges import check_count, check_number

_DEFAULT: Final = Sampling(temperature=0.8)
_SAMPLING: Final = ("temperature", "top_k", "top_p")
_BEAM_SEARCH_ONLY: Final = ("length_penalty", "early_stopping")
"""Settings without effect on other decoding."""
DECODING_NAMES: Final = (
    *_SAMPLING,
    *("max_new_tokens", "min_new_tokens", "num_beams", "length_penalty", "repetition_penalty", "no_repeat_ngram_size"),
    "stop",
)
"""Names of the settings of users: the fields of ``Decoding``, and those of ``Sampling`` instead of ``sampling``."""
_MAX_BEAMS: Final = 1000
"""Maximum number of beams. Each beam takes as much memory as a row of the batch."""
_MAX_LENGTH_PENALTY: Final = 10.0
"""Maximum length penalty. Larger powers of the length could overflow."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Settings of decoding: sampling, greedy decoding (``temperature=0``) or beam search (``num_beams`` above 1).

    Attributes:
        max_new_tokens: maximum number of new tokens.
        min_new_tokens: number of new tokens before the first end token.
        sampling: temperature, top-k and top-p; beam search has temperature 0.
        num_beams: number of texts that beam search continues at the same time; 1 turns beam search off.
        min_length: number of tokens of the prompt and the text before the first end token. For an encoder-decoder, the
            prompt is the start tokens of the target.
        early_stopping: beam search ends when it has ``num_beams`` finished texts, whatever the scores of the others.
        length_penalty: beam search divides the log-probability of a text by its length to this power; above 0, it
            favors long texts (Wu et al. 2016, arXiv:1609.08144).
        repetition_penalty: above 1, tokens of the prompt and of the new text are less likely to be repeated (Keskar et
            al. 2019, arXiv:1909.05858); 1 is no penalty.
        no_repeat_ngram_size: no sequence of this many tokens occurs twice (Paulus et al. 2017, arXiv:1705.04304); 0
            is no limit.
        stop: strings that end the text. They are not part of it.
    """

    max_new_tokens: int = 200
    min_new_tokens: int = 0
    sampling: Sampling = _DEFAULT
    min_length: int = 0
    num_beams: int = 1
    early_stopping: bool = False
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    stop: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_count("--max_new_tokens", self.max_new_tokens)
        check_count("--min_new_tokens", self.min_new_tokens, least=0)
        if self.min_new_tokens > self.max_new_tokens:
            raise InputError(
                f"--min_new_tokens={self.min_new_tokens} is more than --max_new_tokens={self.max_new_tokens}. "
                "Lower the one, or raise the other"
            )
        check_count("generation_config.json: min_length", self.min_length, least=0)
        check_count("--num_beams", self.num_beams, most=_MAX_BEAMS)
        if self.num_beams > 1 and self.sampling.temperature != 0.0:
            raise InputError(
                f"--num_beams={self.num_beams} is beam search, which does not sample, so that --temperature must be 0. "
                "Leave out one of them"
            )
        check_number("--length_penalty", self.length_penalty, least=-_MAX_LENGTH_PENALTY)
        if self.length_penalty > _MAX_LENGTH_PENALTY:
            raise InputError(f"--length_penalty={self.length_penalty} must be at most {_MAX_LENGTH_PENALTY:g}")
        check_number("--repetition_penalty", self.repetition_penalty)
        if self.repetition_penalty == 0.0:
            raise InputError("--repetition_penalty=0 must be above 0; 1 is no penalty")
        check_count("--no_repeat_ngram_size", self.no_repeat_ngram_size, least=0)
        if not all(self.stop):
            raise InputError("--stop is empty, so no text could be generated. Give a text, or leave --stop out")

    def logits_processors(self, stop_ids: Collection[int]) -> list[LogitsProcessor]:
        """Return the logits processors that the settings need.

        Args:
            stop_ids: the end tokens.
        """
        rules: list[LogitsProcessor] = []
        if self.repetition_penalty != 1.0:
            rules.append(RepetitionPenalty(self.repetition_penalty))
        if self.no_repeat_ngram_size > 0:
            rules.append(NoRepeatNgrams(self.no_repeat_ngram_size))
        if self.min_new_tokens > 0:
            rules.append(MinNewTokens(self.min_new_tokens, tuple(stop_ids)))
        if self.min_length > 0:
            rules.append(MinLength(self.min_length, tuple(stop_ids)))
        return rules


def choose_decoding(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[Decoding, dict[str, Any]]:
    """Return the decoding settings, and those among them that come from the model.

    Args:
        given: the user's values by name of a field of ``Decoding`` or ``Sampling``; None means not set.
        defaults: the model's values by name. Those of the user take precedence: the user's beam search turns off the
            model's sampling, and the user's sampling turns off the model's beam search.

    Raises:
        InputError: a value is invalid, or the user combines beam search with sampling.
    """
    given = {name: value for name, value in given.items() if value is not None}
    samples = [name for name in _SAMPLING if given.get(name, 0) != 0]
    is_beam_search = given.get("num_beams", 1) not in (0, 1)
    if is_beam_search and samples:
        raise InputError(
            f"--num_beams={given['num_beams']} is beam search, which does not sample. "
            f"Leave out --num_beams or --{samples[0]}"
        )
    dropped: Sequence[str] = ("num_beams", *_BEAM_SEARCH_ONLY) if samples else ()
    if is_beam_search or given.get("temperature") == 0:
        dropped = _SAMPLING
    if "min_new_tokens" in {**defaults, **given}:
        dropped = (*dropped, "min_length")
    used = {name: value for name, value in defaults.items() if name not in given and name not in dropped}
    values = {**used, **given}
    is_beam_search = values.get("num_beams", 1) != 1
    if not is_beam_search:
        for name in _BEAM_SEARCH_ONLY:
            used.pop(name, None)
        if "length_penalty" in given:
            raise InputError("--length_penalty is a setting of beam search. Add --num_beams, or leave it out")
    sampling: dict[str, Any] = {"temperature": 0.0 if is_beam_search else _DEFAULT.temperature}
    sampling |= {name: values.pop(name) for name in _SAMPLING if name in values}
    return Decoding(sampling=Sampling(**sampling), **values), used
