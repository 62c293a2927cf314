"""A task as lm-evaluation-harness's model class, without a second copy of the weights.

What is asked, and what is answered, is what the harness's own ``HFLM`` makes of the same model in Hugging Face's
classes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import torch
import torch.distributed as dist
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor
from tqdm import tqdm

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval.batching import batches
from gpt_lightning.evaluation.lm_eval.scoring import Continuation, Score, score
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.generate import Sampling
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tokenizers.chat_template import chat_text
from gpt_lightning.tokenizers.tokenizer import Tokenizer

BATCH_TOKENS: Final = 2048
_GENERATING: Final = 4
"""So many times the tokens of a batch are held while text is generated: one new token of each row is computed."""
_SETTINGS: Final = {"until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p"}


class HarnessLM(TemplateLM):  # type: ignore[misc]
    """A ``CausalLM`` for lm-evaluation-harness: how likely continuations are, and what the model writes.

    Args:
        task: in ``eval`` mode.
        tokenizer: its own.
        batch_tokens: tokens of a batch, padding included; one text alone may have more.
    """

    def __init__(self, task: CausalLM, tokenizer: Tokenizer, batch_tokens: int = BATCH_TOKENS) -> None:
        super().__init__()
        if batch_tokens < 1:
            raise InputError(f"batch_tokens {batch_tokens} must be at least 1")
        self.task = task
        self.batch_tokens = batch_tokens
        self._ours = tokenizer
        self._published = tokenizer.published_copy()
        self._generator = torch.Generator(task.device).manual_seed(0)
        if dist.is_initialized():
            self._rank, self._world_size = dist.get_rank(), dist.get_world_size()

    # --- several processes, each with its share of the rows

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Every process's () tensor: (processes,)."""
        parts = [torch.zeros_like(tensor) for _ in range(self.world_size)]
        dist.all_gather(parts, tensor)
        return torch.stack(parts)

    def gather_object(self, obj: Any, dst: int = 0) -> list[Any] | None:
        """Every process's object, on ``dst``; None on the others."""
        objects = [None] * self.world_size if self.rank == dst else None
        dist.gather_object(obj, objects, dst)
        return objects

    def barrier(self) -> None:
        """Wait for the others."""
        dist.barrier()

    # --- tokens

    @property
    def max_length(self) -> int:
        """The most tokens that the model reads at once."""
        return self.task.backbone.config.block_size

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.task.device

    @property
    def eot_token_id(self) -> int:
        """What ends a text."""
        return self._ours.end_of_text_id

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that nothing stands before."""
        return self._ours.begin_of_text_id

    @cached_property
    def _prefix(self) -> str:
        return self._text([self.prefix_token_id])

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Ids of ``string``; what the tokenizer adds to texts comes with them unless it is there already."""
        if add_special_tokens is None:
            add_special_tokens = not string.startswith(self._prefix)
        ids: list[int] = self._published.encode(string, add_special_tokens=add_special_tokens).ids
        return ids

    def _text(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        text: str = self._published.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    # --- chats

    @property
    def tokenizer_name(self) -> str:
        """Under this name the harness keeps requests that were made with the chat template."""
        return self._ours.hash

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The tokenizer's template, for the records."""
        return self._ours.config.chat_template if chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of a chat; what the system says is left out where the template has no place for it."""
        config = self._ours.config
        try:
            return chat_text(config, chat_history, add_generation_prompt=add_generation_prompt)
        except InputError:
            rest = [message for message in chat_history if message["role"] != "system"]
            if len(rest) == len(chat_history):
                raise
            return chat_text(config, rest, add_generation_prompt=add_generation_prompt)

    # --- how likely

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Nats and whether the continuation is the likeliest, of (anything, context, continuation)."""
        asked = [Continuation(*self._cut(context, tokens)) for _, context, tokens in requests]
        answers: dict[int, Score] = {}
        with tqdm(total=len(asked), desc="Running loglikelihood requests", disable=disable_tqdm or None) as bar:
            for number, answer in score(self.task, asked, self.batch_tokens):
                answers[number] = answer
                bar.update()
        return [(answers[number].log_probability, answers[number].is_greedy) for number in range(len(asked))]

    def _cut(self, context: list[int], tokens: list[int]) -> tuple[list[int], list[int]]:
        """Of a context what fits, from the left."""
        if not tokens:
            raise InputError("a task asks how likely an empty continuation is; look at its doc_to_target")
        room = self.max_length + 1 - len(tokens)  # the last token is predicted, not read
        if room < 1:
            raise InputError(
                f"a continuation of {len(tokens)} tokens does not fit the model's context of {self.max_length}"
            )
        return context[-room:], tokens

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Nats of whole texts, each token predicted once, in windows that are as full as can be."""
        windows: list[tuple[None, list[int], list[int]]] = []
        counts = []
        for request in requests:
            pairs = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            before = len(windows)
            windows += [(None, *make_disjoint_window(pair)) for pair in pairs]
            counts.append(len(windows) - before)
        nats = iter([each for each, _ in self._loglikelihood_tokens(windows, disable_tqdm)])
        return [sum(next(nats) for _ in range(count)) for count in counts]

    # --- what it writes

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The text that goes on from each context, up to a stop string or the end of the text, without either."""
        together: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            together.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(number)
        texts: dict[int, str] = {}
        with tqdm(total=len(requests), desc="Running generate_until requests", disable=disable_tqdm or None) as bar:
            for numbers in together.values():
                contexts = [requests[number].args[0] for number in numbers]
                for place, text in self._continue(contexts, requests[numbers[0]].args[1]):
                    texts[numbers[place]] = text
                    bar.update()
        return [texts[number] for number in range(len(requests))]

    def _continue(self, contexts: Sequence[str], settings: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
        known = normalize_gen_kwargs(dict(settings), default_max_gen_toks=256)
        if unknown := set(known) - _SETTINGS:
            raise InputError(
                f"generation_kwargs {', '.join(sorted(unknown))}: known are {', '.join(sorted(_SETTINGS))}"
            )
        new_tokens = known["max_gen_toks"]
        room = self.max_length - new_tokens
        if room < 1:
            raise InputError(
                f"a task generates {new_tokens} tokens, the model's context holds {self.max_length}: nothing is left "
                "for the prompt; lower the task's generation_kwargs.max_gen_toks"
            )
        sampling = Sampling(
            temperature=known.get("temperature", 0.0) if known["do_sample"] else 0.0,
            top_k=known.get("top_k"),
            top_p=known.get("top_p"),
        )
        until = [term for term in known["until"] if term] + [self._text([self.eot_token_id])]
        # A token of text spells at least one byte, so a stop string that has just been completed lies in these.
        reach = max(len(term.encode()) for term in until) + 4
        prompts = [self.tok_encode(context)[-room:] for context in contexts]

        def ended(tokens: list[int]) -> bool:
            if tokens[-1] == self.eot_token_id:
                return True
            recent = self._text(tokens[-reach:], skip_special_tokens=True)
            return any(term in recent for term in until)

        held = [len(prompt) + new_tokens for prompt in prompts]
        for batch in batches(held, _GENERATING * self.batch_tokens, alike=0.0):
            continuations = generate_batched(
                self.task.backbone,
                self.task.head,
                [prompts[number] for number in batch],
                max_new_tokens=new_tokens,
                sampling=sampling,
                is_finished=ended,
                generator=self._generator,
            )
            for number, tokens in zip(batch, continuations, strict=True):
                text = self._text(tokens, skip_special_tokens=True)
                for term in until:
                    text = text.split(term)[0]
                yield number, text
