"""Adapter of a ``CausalLM`` to the model class of lm-evaluation-harness, without a copy of the weights.

Its results equal those of the harness's own ``HFLM`` for the same model in Hugging Face's classes.
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
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.generate import Sampling
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tokenizers.chat_template import chat_text
from gpt_lightning.tokenizers.stop_strings import stop_checker
from gpt_lightning.tokenizers.tokenizer import Tokenizer

BATCH_TOKENS: Final = 2048
_GENERATION_FACTOR: Final = 4
"""Batch size of generation relative to scoring; larger, as each step computes only one new token per row."""
_GENERATION_SETTINGS: Final = {"until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p"}


class HarnessLM(TemplateLM):  # type: ignore[misc]
    """Model for lm-evaluation-harness that computes log-likelihoods and generates text with a ``CausalLM``.

    Args:
        task: language model in ``eval`` mode.
        tokenizer: tokenizer of the task.
        batch_tokens: maximum number of tokens in a batch, including padding; a longer text is a batch of its own.
    """

    def __init__(self, task: CausalLM, tokenizer: Tokenizer, batch_tokens: int = BATCH_TOKENS) -> None:
        super().__init__()
        if batch_tokens < 1:
            raise InputError(f"batch_tokens={batch_tokens} must be at least 1")
        self.task = task
        self.batch_tokens = batch_tokens
        self._tokenizer = tokenizer
        if dist.is_initialized():
            self._rank, self._world_size = dist.get_rank(), dist.get_world_size()

    # --- communication between processes, each of which evaluates a part of the rows

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Return the scalar tensors of all processes, stacked: (processes,)."""
        parts = [torch.zeros_like(tensor) for _ in range(self.world_size)]
        dist.all_gather(parts, tensor)
        return torch.stack(parts)

    def gather_object(self, obj: Any, dst: int = 0) -> list[Any] | None:
        """Return the objects of all processes on process ``dst``, and None on the others."""
        objects = [None] * self.world_size if self.rank == dst else None
        dist.gather_object(obj, objects, dst)
        return objects

    def barrier(self) -> None:
        """Wait for all processes."""
        dist.barrier()

    # --- tokens

    @property
    def max_length(self) -> int:
        """Context length of the model in tokens."""
        return self.task.backbone.config.block_size

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.task.device

    @property
    def eot_token_id(self) -> int:
        """Id of the token that ends a text."""
        return self._tokenizer.end_of_text_id

    @property
    def prefix_token_id(self) -> int:
        """Id of the token that precedes a text without context."""
        return self._tokenizer.begin_of_text_id

    @cached_property
    def _prefix(self) -> str:
        return self._tokenizer.token(self.prefix_token_id)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return the token ids of ``string``.

        Args:
            string: text to encode.
            add_special_tokens: if True, add the tokenizer's special tokens. None adds them unless ``string`` begins
                with the prefix token.
        """
        if add_special_tokens is None:
            add_special_tokens = not string.startswith(self._prefix)
        return self._tokenizer.encode_published(string, add_special_tokens=add_special_tokens)

    # --- chats

    @property
    def tokenizer_name(self) -> str:
        """Name under which the harness caches requests that use the chat template."""
        return self._tokenizer.hash

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the chat template of the tokenizer, which the harness records in its results."""
        return self._tokenizer.config.chat_template if chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the text of a chat, without system messages if the template does not support them."""
        config = self._tokenizer.config
        try:
            return chat_text(config, chat_history, add_generation_prompt=add_generation_prompt)
        except InputError:
            rest = [message for message in chat_history if message["role"] != "system"]
            if len(rest) == len(chat_history):
                raise
            return chat_text(config, rest, add_generation_prompt=add_generation_prompt)

    # --- log-likelihoods

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Return the log-likelihood in nats, and whether the continuation is the greedy one, of each request.

        Args:
            requests: (unused, context, continuation), both as token ids.
            disable_tqdm: if True, show no progress bar.
        """
        continuations = [Continuation(*self._truncate(context, tokens)) for _, context, tokens in requests]
        scores: dict[int, Score] = {}
        with tqdm(total=len(continuations), desc="Running loglikelihood requests", disable=disable_tqdm or None) as bar:
            for number, result in score(self.task, continuations, self.batch_tokens):
                scores[number] = result
                bar.update()
        return [(scores[number].log_probability, scores[number].is_greedy) for number in range(len(continuations))]

    def _truncate(self, context: list[int], tokens: list[int]) -> tuple[list[int], list[int]]:
        """Truncate the context on the left so that context and continuation fit."""
        if not tokens:
            raise InputError("a task requests the likelihood of an empty continuation. Check its doc_to_target")
        max_prompt_tokens = self.max_length + 1 - len(tokens)  # the last token is predicted, not read
        if max_prompt_tokens < 1:
            raise InputError(
                f"a continuation of {len(tokens)} tokens does not fit the model's context of {self.max_length} tokens. "
                "Use a task with shorter continuations"
            )
        return context[-max_prompt_tokens:], tokens

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihoods of whole texts in nats, predicting each token once, in windows of maximum size."""
        windows: list[tuple[None, list[int], list[int]]] = []
        counts = []
        for request in requests:
            pairs = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            new_windows = [(None, *make_disjoint_window(pair)) for pair in pairs]
            windows += new_windows
            counts.append(len(new_windows))
        log_likelihoods = iter([each for each, _ in self._loglikelihood_tokens(windows, disable_tqdm)])
        return [sum(next(log_likelihoods) for _ in range(count)) for count in counts]

    # --- generation

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the continuation of each context up to the first stop string or the end of text, exclusive."""
        requests_by_settings: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            requests_by_settings.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(number)
        texts: dict[int, str] = {}
        with tqdm(total=len(requests), desc="Running generate_until requests", disable=disable_tqdm or None) as bar:
            for numbers in requests_by_settings.values():
                contexts = [requests[number].args[0] for number in numbers]
                for index, text in self._continue(contexts, requests[numbers[0]].args[1]):
                    texts[numbers[index]] = text
                    bar.update()
        return [texts[number] for number in range(len(requests))]

    def _continue(self, contexts: Sequence[str], settings: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
        generation_settings = normalize_gen_kwargs(dict(settings), default_max_gen_toks=256)
        if unsupported := set(generation_settings) - _GENERATION_SETTINGS:
            raise InputError(
                f"the task's generation_kwargs {', '.join(sorted(unsupported))} are not supported. "
                f"Supported are {', '.join(sorted(_GENERATION_SETTINGS))}"
            )
        new_tokens = generation_settings["max_gen_toks"]
        max_prompt_tokens = self.max_length - new_tokens
        if max_prompt_tokens < 1:
            raise InputError(
                f"a task generates {new_tokens} tokens, but the model's context has {self.max_length} tokens, so no "
                "room is left for the prompt. Lower the task's generation_kwargs.max_gen_toks"
            )
        sampling = Sampling(
            temperature=generation_settings.get("temperature", 0.0) if generation_settings["do_sample"] else 0.0,
            top_k=generation_settings.get("top_k"),
            top_p=generation_settings.get("top_p"),
        )
        until = [term for term in generation_settings["until"] if term] + [self._tokenizer.token(self.eot_token_id)]
        has_stop_string = stop_checker(self._tokenizer.decode, until)
        prompts = [self.tok_encode(context)[-max_prompt_tokens:] for context in contexts]

        def is_complete(tokens: list[int]) -> bool:
            # HFLM decodes end tokens too, so they stay in the text if they are not special.
            return tokens[-1] in self._tokenizer.end_ids or has_stop_string(tokens)

        lengths = [len(prompt) + new_tokens for prompt in prompts]
        for batch in batches(lengths, _GENERATION_FACTOR * self.batch_tokens, min_length_ratio=0.0):
            answers = generate_batched(
                Decoder(self.task.backbone),
                self.task.head,
                [prompts[number] for number in batch],
                max_new_tokens=new_tokens,
                sampling=sampling,
                is_finished=is_complete,
                generator=[self._generator(number) for number in batch],
            )
            for number, answer in zip(batch, answers, strict=True):
                text = self._tokenizer.decode(answer.ids)
                for term in until:
                    text = text.split(term)[0]
                yield number, text

    def _generator(self, number: int) -> torch.Generator:
        """Return the random number generator of a request, so that its sample does not depend on its batch."""
        return torch.Generator(self.device).manual_seed(number * self.world_size + self.rank)
