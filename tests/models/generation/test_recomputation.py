"""Texts with the key/value cache are those of a model that recomputes each text from its first token."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from gpt_lightning.models import GPT, GPTConfig, KVCache
from gpt_lightning.models.generation.answer import Answer
from gpt_lightning.models.generation.answers import generate_answers
from gpt_lightning.models.generation.decoder import Decoder, TextDecoder
from gpt_lightning.models.generation.decoding import Decoding
from gpt_lightning.models.generation.generate import Sampling
from tests.models.generation.test_batched import PROMPTS
from tests.models.generation.test_generate import ALL, VOCAB_SIZE, model


class TokenCache:
    """Token ids in place of keys and values."""

    device = torch.device("cpu")

    def __init__(self, rows: int) -> None:
        self.rows: list[list[int]] = [[] for _ in range(rows)]

    @property
    def length(self) -> int:
        return max(map(len, self.rows))

    def select_rows(self, rows: Tensor) -> None:
        self.rows = [list(self.rows[row]) for row in rows.tolist()]

    reorder = select_rows

    def drop_last(self, num_tokens: int) -> None:
        self.rows = [row[:-num_tokens] for row in self.rows]

    def clear(self) -> None:
        self.rows = [[] for _ in self.rows]


class RecomputingDecoder:
    """Text decoder that computes each row alone, without padding and without a key/value cache."""

    def __init__(self, gpt: GPT) -> None:
        self._gpt = gpt

    @property
    def config(self) -> GPTConfig:
        return self._gpt.config

    def make_cache(self, rows: int, capacity: int) -> KVCache:
        return cast(Any, TokenCache(rows))  # type: ignore[no-any-return]

    def __call__(self, input_ids: Tensor, cache: KVCache, attention_mask: Tensor | None = None) -> Tensor:
        texts: list[list[int]] = cast(Any, cache).rows
        hidden_BTC = torch.full((*input_ids.shape, self.config.n_embd), torch.nan, dtype=torch.float64)
        for index, row in enumerate(texts):
            is_token_T = torch.ones(input_ids.size(1)) if attention_mask is None else attention_mask[index]
            new = input_ids[index][is_token_T.bool()].tolist()
            row += new
            hidden_BTC[index, : len(new)] = self._gpt(torch.tensor([row]))[0, -len(new) :]
        return hidden_BTC


STRATEGIES: dict[str, dict[str, Any]] = {
    "greedy": {"sampling": Sampling(temperature=0.0)},
    "sampled": {"sampling": Sampling(temperature=1.5, top_k=20), "repetition_penalty": 1.1},
    "beams": {"sampling": Sampling(temperature=0.0), "num_beams": 3, "no_repeat_ngram_size": 2},
}


@ALL
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
@torch.no_grad()
def test_texts_are_those_of_recomputation(shape: dict[str, Any], strategy: dict[str, Any]) -> None:
    gpt, head = model(**shape)
    decoding = Decoding(max_new_tokens=7, **strategy)

    def answers(decoder: TextDecoder, prompts: Sequence[Sequence[int]]) -> list[list[Answer]]:
        generators = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
        return generate_answers(
            decoder,
            lambda hidden_RC: head(hidden_RC) / 5.0,
            prompts,
            decoding,
            generators=generators,
            stop_ids=range(0, VOCAB_SIZE, 9),
            with_logprobs=True,
        )

    for prompts in (PROMPTS[1:2], PROMPTS[:4]):
        cached, recomputed = (answers(decoder, prompts) for decoder in (Decoder(gpt), RecomputingDecoder(gpt)))
        for found, expected in zip(sum(cached, []), sum(recomputed, []), strict=True):  # noqa: RUF017
            assert found._replace(logprobs=()) == expected._replace(logprobs=())
            assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-6)
