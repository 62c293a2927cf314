"""Inference-only forward pass, compared with the modules in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.models import KVCache
from gpt_lightning.models.generation import decoder as decoder_file
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.int8 import quantize
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.lm_head import LMHead
from gpt_lightning.models.lora import LoRA, add_adapters
from tests.models.generation.test_generate import BLOCK_SIZE, SHAPES, model
from tests.models.huggingface.test_parity import random_ids

KINDS: dict[str, dict[str, Any]] = {
    **SHAPES,
    "relu2": {"mlp": "relu2", "position": "rotary", "norm": "rmsnorm", "bias": False},
    "gelu_exact": {"mlp": "gelu_exact"},
    "yarn": {"position": "rotary", "rope_type": "yarn", "rope_factor": 4.0, "rope_original_block_size": 4},
    "llama_biased": {"mlp": "swiglu", "norm": "rmsnorm", "bias": True},
}


@pytest.fixture
def block_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of tokens of each block function that is made."""
    sizes: list[int] = []
    block_function = decoder_file._block_function

    def record(block: torch.nn.Module, tokens: int) -> decoder_file.BlockFunction:
        sizes.append(tokens)
        return block_function(block, tokens)

    monkeypatch.setattr(decoder_file, "_block_function", record)
    return sizes


@torch.inference_mode()
def decode(gpt: GPT, ids: Tensor, chunks: list[int]) -> Tensor:
    decoder, cache = Decoder(gpt), KVCache(gpt.config, len(ids), dtype=gpt.token_embedding.weight.dtype)
    hidden = torch.cat([decoder(chunk, cache) for chunk in torch.split(ids, chunks, dim=1)], dim=1)
    assert cache.length == ids.size(1)
    return hidden


@pytest.mark.parametrize("rows", [1, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", KINDS.values(), ids=KINDS)
def test_hidden_states_match_those_of_the_modules(
    block_sizes: list[int], shape: dict[str, Any], dtype: torch.dtype, rows: int
) -> None:
    gpt, _ = model(**shape)
    ids = random_ids(rows, BLOCK_SIZE)
    with torch.no_grad():
        expected = gpt(ids)
    found = decode(gpt.to(dtype), ids, [7, 1, 1, 4, 1, 1, 1])
    # The hidden states are of size 1 and sums of many terms.
    rtol, atol = (1e-3, 1e-4) if dtype == torch.float32 else (1e-10, 1e-10)
    torch.testing.assert_close(found.double(), expected, rtol=rtol, atol=atol)
    assert sorted(set(block_sizes)) == [rows, 4 * rows, 7 * rows]
    assert len(block_sizes) == 3 * gpt.config.n_layer  # once per number of tokens, not for every step


@pytest.mark.parametrize("shape", KINDS.values(), ids=KINDS)
def test_rows_of_different_lengths_match_single_rows(shape: dict[str, Any]) -> None:
    gpt, _ = model(**shape)
    ids, lengths = random_ids(4, 6), torch.tensor([6, 2, 5, 1])
    mask = torch.arange(6) < lengths.unsqueeze(1)
    following = random_ids(4, 3)
    with torch.inference_mode():
        decoder, cache = Decoder(gpt), KVCache(gpt.config, 4, dtype=torch.float64)
        decoder(ids, cache, mask)
        found = torch.cat([decoder(each, cache) for each in torch.split(following, 1, dim=1)], dim=1)
        for row, length in enumerate(lengths.tolist()):
            alone = gpt(torch.cat((ids[row, :length], following[row])).unsqueeze(0))[0, length:]
            torch.testing.assert_close(found[row], alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", KINDS.values(), ids=KINDS)
def test_int8_weights_match_the_modules(block_sizes: list[int], shape: dict[str, Any]) -> None:
    gpt, _ = model(**shape)
    gpt.float()
    ids = random_ids(3, BLOCK_SIZE)
    with torch.no_grad():
        quantize(gpt, LMHead(gpt.config.n_embd, 61))
        expected = gpt(ids)
    torch.testing.assert_close(decode(gpt, ids, [9, 1, 6]), expected, rtol=1e-2, atol=1e-2)
    assert block_sizes


@pytest.mark.parametrize("what", ["hook", "adapters"])
def test_hooks_and_adapters_are_called(block_sizes: list[int], what: str) -> None:
    gpt, _ = model(**SHAPES["llama"])
    ids = random_ids(2, BLOCK_SIZE)
    if what == "hook":
        gpt.blocks[0].register_forward_hook(lambda _module, _inputs, output: 2.0 * output)
    else:
        pytest.importorskip("peft")
        add_adapters(gpt, LoRA(r=2))
        for name, parameter in gpt.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)
    gpt.double()
    with torch.no_grad():
        expected = gpt(ids)
    torch.testing.assert_close(decode(gpt, ids, [9, 1, 6]), expected, rtol=1e-10, atol=1e-10)
    assert not block_sizes


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_residual_stream_is_float32_in_mixed_precision(block_sizes: list[int], name: str) -> None:
    gpt, _ = model(**SHAPES[name])
    gpt.float()
    ids = random_ids(2, BLOCK_SIZE)
    modules = KVCache(gpt.config, 2)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = torch.cat([gpt(chunk, cache=modules) for chunk in torch.split(ids, [9, 1, 6], dim=1)], dim=1)
        found = decode(gpt, ids, [9, 1, 6])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert block_sizes
