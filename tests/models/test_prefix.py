"""Prefix attention compared with dense formulas: prompts are read in both directions, the rest causally."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.models import GPT, KVCache
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.masks import dense_mask
from tests.models.test_gpt import ALL, BLOCK_SIZE, VOCAB_SIZE, changed, model, random_ids


def dense(prefix: list[list[bool]], documents: list[list[int]]) -> Tensor:
    """Return the mask, (B, 1, T, T), from the definition, pair by pair."""
    rows = []
    for is_prompt, document in zip(prefix, documents, strict=True):
        size = range(len(is_prompt))
        allowed = [[j <= i or (i < j and all(is_prompt[i : j + 1])) for j in size] for i in size]
        rows.append([[allowed[i][j] and document[i] == document[j] for j in size] for i in size])
    return torch.tensor(rows).unsqueeze(1)


def test_mask_is_the_dense_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for rate in (0.0, 0.3, 0.7, 1.0):
        prefix = torch.rand((6, 9), generator=generator) < rate
        documents = (torch.rand((6, 9), generator=generator) < 0.25).cumsum(1)
        is_causal, mask = dense_mask(
            9, 0, causal=True, attention_mask=None, document_ids=documents, prefix_mask=prefix, device=prefix.device
        )
        assert not is_causal
        assert mask is not None
        assert mask.equal(dense(prefix.tolist(), documents.tolist()))


@ALL
def test_prompts_are_read_in_both_directions_and_the_rest_causally(shape: dict[str, Any]) -> None:
    gpt, ids = model(**shape, attention="prefix"), random_ids(1, BLOCK_SIZE)
    prefix = torch.arange(BLOCK_SIZE)[None] < 5
    before = gpt(ids, prefix_mask=prefix)
    for t in range(BLOCK_SIZE):
        other = ids.clone()
        other[0, t] = (ids[0, t] + 1) % VOCAB_SIZE
        after = gpt(other, prefix_mask=prefix)
        assert changed(before, after) == [position >= t or t < 5 for position in range(BLOCK_SIZE)]


@ALL
def test_later_prompts_do_not_change_earlier_answers(shape: dict[str, Any]) -> None:
    gpt, ids = model(**shape, attention="prefix"), random_ids(1, BLOCK_SIZE)
    prefix = torch.tensor([[1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0]]).bool()
    other = ids.clone()
    other[0, 6] = (ids[0, 6] + 1) % VOCAB_SIZE
    expected = [False] * 5 + [True] * 7
    assert changed(gpt(ids, prefix_mask=prefix), gpt(other, prefix_mask=prefix)) == expected


def test_without_prompts_attention_is_causal() -> None:
    causal, prefix, ids = model(), model(attention="prefix"), random_ids(2, BLOCK_SIZE)
    assert prefix(ids).equal(causal(ids))
    nothing = torch.zeros(2, BLOCK_SIZE, dtype=torch.bool)
    torch.testing.assert_close(prefix(ids, prefix_mask=nothing), causal(ids), rtol=1e-10, atol=1e-10)
    assert causal(ids, prefix_mask=~nothing).equal(causal(ids)), "causal attention ignores prompts"


@ALL
def test_packed_documents_match_separate_ones(shape: dict[str, Any]) -> None:
    gpt, ids = model(**shape, attention="prefix"), random_ids(1, BLOCK_SIZE)
    # The second document is a prompt without an answer, right before the prompt of the third one.
    documents = torch.tensor([[0] * 5 + [1] * 3 + [2] * 4])
    prefix = torch.tensor([[1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0]]).bool()
    hidden = gpt(ids, document_ids=documents, prefix_mask=prefix)
    for start, end in ((0, 5), (5, 8), (8, 12)):
        alone = gpt(ids[:, start:end], prefix_mask=prefix[:, start:end])
        torch.testing.assert_close(hidden[:, start:end], alone, rtol=1e-10, atol=1e-10)


def cached(gpt: GPT, ids: Tensor, prompt: int, decoder: Any) -> Tensor:
    """Return the hidden states of a prompt and of the tokens after it, one at a time."""
    cache = KVCache(gpt.config, len(ids), dtype=torch.float64)
    steps = [ids[:, :prompt], *torch.split(ids[:, prompt:], 1, dim=1)]
    return torch.cat([decoder(step, cache) for step in steps], dim=1)


@ALL
@pytest.mark.parametrize("prompt", [1, 4])
@torch.inference_mode()
def test_cached_tokens_match_recomputed_ones(shape: dict[str, Any], prompt: int) -> None:
    gpt, ids = model(**shape, attention="prefix"), random_ids(2, BLOCK_SIZE)
    expected = gpt(ids, prefix_mask=(torch.arange(BLOCK_SIZE) < prompt).expand(2, -1))
    for decoder in (Decoder(gpt), lambda step, cache: gpt(step, cache=cache)):
        torch.testing.assert_close(cached(gpt, ids, prompt, decoder), expected, rtol=1e-10, atol=1e-10)


@torch.inference_mode()
def test_cached_prompts_of_different_lengths_match_recomputed_ones() -> None:
    gpt, ids = model(position="rotary", attention="prefix"), random_ids(3, BLOCK_SIZE)
    lengths = torch.tensor([4, 1, 3])
    mask = torch.arange(4) < lengths[:, None]
    cache = KVCache(gpt.config, 3, dtype=torch.float64)
    prefill = Decoder(gpt)(ids[:, :4], cache, mask)
    step = Decoder(gpt)(ids[:, 4:5], cache)
    for row, length in enumerate(lengths.tolist()):
        text = torch.cat((ids[row : row + 1, :length], ids[row : row + 1, 4:5]), dim=1)
        expected = gpt(text, prefix_mask=torch.arange(length + 1)[None] < length)
        torch.testing.assert_close(prefill[row, :length], expected[0, :length], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(step[row], expected[0, length:], rtol=1e-10, atol=1e-10)
