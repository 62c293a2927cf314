"""Generation with an encoder-decoder: cached tokens are those that are recomputed without a cache."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.generate import Sampling, generate
from gpt_lightning.models.generation.int8 import quantize
from gpt_lightning.models.generation.source_decoder import SourceDecoder
from gpt_lightning.models.lm_head import LMHead
from gpt_lightning.models.source_cache import SourceCache
from tests.models.test_encoder_decoder import ALL, D, V, model, random_ids

GREEDY = Sampling(temperature=0.0)
LENGTHS = torch.tensor([9, 1, 5])
MASK = torch.arange(9) < LENGTHS[:, None]


def head() -> LMHead:
    torch.manual_seed(3)
    layer = LMHead(D, V).double()
    nn.init.normal_(layer.weight)
    return layer


def recomputed(backbone: EncoderDecoder, layer: LMHead, source: Tensor, start: list[int], count: int) -> list[int]:
    """Return greedy tokens for one source, each from a pass over source and target without a cache."""
    ids = list(start)
    for _ in range(count):
        hidden = backbone(torch.tensor([ids]), source_ids=source)
        ids.append(int(layer(hidden[:, -1]).argmax()))
    return ids[len(start) :]


@ALL
@pytest.mark.parametrize("is_fast", [True, False], ids=["functions", "modules"])
@torch.inference_mode()
def test_cached_hidden_states_match_recomputed_ones(shape: dict[str, Any], is_fast: bool) -> None:
    backbone, sources, targets = model(**shape), random_ids(3, 9), random_ids(3, 6, seed=1)
    expected = backbone(targets, source_ids=sources, source_mask=MASK)
    decoder = SourceDecoder(backbone, sources, MASK)
    assert decoder._is_supported
    decoder._is_supported = is_fast
    cache = decoder.make_cache(3, 6)
    steps = [targets[:, :2], *torch.split(targets[:, 2:], 1, dim=1)]
    found = torch.cat([decoder(step, cache) for step in steps], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@ALL
@pytest.mark.parametrize("start", [[0], [4, 7]])
def test_texts_are_those_of_each_source_alone(shape: dict[str, Any], start: list[int]) -> None:
    backbone, layer, sources = model(**shape), head(), random_ids(3, 9)
    with torch.inference_mode():
        decoder = SourceDecoder(backbone, sources, MASK)
        found = generate_batched(decoder, layer, [start] * 3, max_new_tokens=8)
    for row, length in enumerate(LENGTHS.tolist()):
        source = sources[row : row + 1, :length]
        expected = recomputed(backbone, layer, source, start, 8)
        assert found[row].ids == expected
        tokens = generate(
            SourceDecoder(backbone, source), layer, torch.tensor([start]), max_new_tokens=8, sampling=GREEDY
        )
        assert [int(token) for token in tokens] == expected, "with prompt lookup, too"


def test_finished_rows_leave_the_batch_with_their_sources() -> None:
    backbone, layer, sources = model(), head(), random_ids(4, 9)
    decoder = SourceDecoder(backbone, sources)
    alone = [recomputed(backbone, layer, sources[row : row + 1], [0], 8) for row in range(4)]
    stop = alone[0][1]
    found = generate_batched(decoder, layer, [[0]] * 4, max_new_tokens=8, stop_ids=[stop])
    for answer, ids in zip(found, alone, strict=True):
        assert answer.ids == (ids[: ids.index(stop)] if stop in ids else ids)
        assert answer.is_complete == (stop in ids)


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 2, 0], [1, 1, 1]])
def test_reordered_and_selected_rows_keep_their_sources(rows: list[int]) -> None:
    backbone, sources, targets = model(), random_ids(3, 9), random_ids(3, 5, seed=1)
    chosen = torch.tensor(rows)
    expected = backbone(targets[chosen], source_ids=sources[chosen], source_mask=MASK[chosen])[:, -1:]
    with torch.inference_mode():
        decoder = SourceDecoder(backbone, sources, MASK)
        for method in (SourceCache.reorder, SourceCache.select_rows):
            cache = decoder.make_cache(3, 6)
            decoder(targets[:, :4], cache)
            method(cache, chosen)
            found = decoder(targets[chosen, 4:], cache)
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_beams_of_a_source_share_its_keys() -> None:
    backbone, sources = model(), random_ids(2, 9)
    with torch.inference_mode():
        decoder = SourceDecoder(backbone, sources)
        cache = decoder.make_cache(2, 6)
        decoder(random_ids(2, 1), cache)
        cache.select_rows(torch.tensor([0, 0, 1, 1]))
        before = cache.sources
        cache.reorder(torch.tensor([1, 0, 3, 3]))
        assert cache.sources is before
        cache.reorder(torch.tensor([2, 0, 3, 3]))
        assert cache.sources is not before


def test_sources_are_encoded_once() -> None:
    backbone, calls = model(), list[str]()
    backbone.encoder.register_forward_hook(lambda *_: calls.append("encoder"))
    for layer in backbone.cross_attentions():
        layer.kv.register_forward_hook(lambda *_: calls.append("keys"))
    generate_batched(SourceDecoder(backbone, random_ids(2, 9)), head(), [[0]] * 2, max_new_tokens=5)
    assert calls == ["encoder", "keys", "keys"]


def test_int8_weights_give_nearly_the_same_states() -> None:
    backbone, sources, targets = model().float(), random_ids(2, 9), random_ids(2, 5, seed=1)
    with torch.inference_mode():
        expected = backbone(targets, source_ids=sources)
        quantize(backbone, head().float())
        decoder = SourceDecoder(backbone, sources)
        assert decoder._is_supported
        found = decoder(targets, decoder.make_cache(2, 5))
    assert type(backbone.encoder.blocks[0].attention.qkv).__name__ == "Int8Linear"  # type: ignore[union-attr]
    assert type(backbone.cross_attentions()[0].kv).__name__ == "Int8Linear"
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.15)


def test_wrong_uses_are_refused() -> None:
    backbone = model()
    with pytest.raises(InputError, match="source of 17 tokens is longer than block_size=16"):
        SourceDecoder(backbone, random_ids(1, 17))
    with pytest.raises(InputError, match="3 prompts for 2 sources"):
        SourceDecoder(backbone, random_ids(2, 3)).make_cache(3, 4)
