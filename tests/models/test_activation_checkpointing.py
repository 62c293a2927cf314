"""Activation checkpointing: the same results in less memory."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.fsdp import fully_shard

from gpt_lightning.models import GPT
from tests.models.test_gpt import BLOCK_SIZE, GEMMA3, LLAMA, random_ids, randomize, shape_of

ROWS = 3
MASK = torch.arange(BLOCK_SIZE) < torch.tensor([[BLOCK_SIZE], [5], [1]])
DOCUMENTS = torch.arange(BLOCK_SIZE).ge(4).long().expand(ROWS, -1)
CASES: dict[str, tuple[dict[str, Any], dict[str, Tensor]]] = {
    "gpt2": ({}, {}),
    "llama": (LLAMA | {"n_kv_head": 2, "qk_norm": True}, {}),
    "gemma3": (GEMMA3, {}),
    "documents": (LLAMA, {"document_ids": DOCUMENTS}),
    "padding": ({"attention": "bidirectional"}, {"attention_mask": MASK}),
}


def model(is_checkpointed: bool, **shape: Any) -> GPT:
    """Return a random backbone in training mode, with dropout."""
    gpt = GPT(shape_of(**({"n_layer": 3, "dropout": 0.3, "attention_dropout": 0.2} | shape)))
    randomize(gpt)
    gpt.checkpoint_activations(is_checkpointed)
    return gpt


def run(gpt: GPT, **inputs: Tensor) -> tuple[Tensor, list[Tensor | None], int]:
    """Return a loss, all gradients, and the bytes kept for the backward pass."""
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size() * (not isinstance(tensor, nn.Parameter))
        return tensor

    torch.manual_seed(1)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = gpt(random_ids(ROWS, BLOCK_SIZE), **inputs).square().sum()
    torch.rand(7)  # the backward pass must not depend on the state of the random number generator
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in gpt.parameters()], kept


@pytest.mark.parametrize(("shape", "inputs"), CASES.values(), ids=CASES)
def test_losses_and_gradients_match_bit_for_bit(shape: dict[str, Any], inputs: dict[str, Tensor]) -> None:
    (loss, gradients, kept), (expected_loss, expected, all_kept) = (
        run(model(is_checkpointed, **shape), **inputs) for is_checkpointed in (True, False)
    )
    assert torch.equal(loss, expected_loss)
    assert len(gradients) == len(expected) > 20
    for found, wanted in zip(gradients, expected, strict=True):
        assert found is not None
        assert wanted is not None
        assert torch.equal(found, wanted)
    inputs_of_blocks = 3 * ROWS * BLOCK_SIZE * 32 * 4  # kept without calling the hooks
    assert kept + inputs_of_blocks < all_kept / 5


def test_lower_blocks_may_be_frozen() -> None:
    """The input of the lowest blocks needs no gradient in fine-tuning and with adapters."""
    results = []
    for is_checkpointed in (True, False):
        gpt = model(is_checkpointed)
        for parameter in [*gpt.token_embedding.parameters(), *gpt.blocks[0].parameters()]:
            parameter.requires_grad_(False)
        assert gpt.position_embedding is not None
        gpt.position_embedding.requires_grad_(False)
        results.append(run(gpt))
    (_, gradients, _), (_, expected, _) = results
    assert [gradient is None for gradient in gradients] == [gradient is None for gradient in expected]
    assert sum(gradient is None for gradient in gradients) == 14
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True) if a is not None and b is not None)


def test_fsdp_gives_the_same_gradients(one_process: Any) -> None:
    _, expected, _ = run(model(False))
    gpt = model(True)
    for block in gpt.blocks:
        fully_shard(block, mesh=one_process)
    fully_shard(gpt, mesh=one_process)
    _, gradients, kept = run(gpt)
    assert kept > 0
    for found, wanted in zip(gradients, expected, strict=True):
        assert torch.equal(found.full_tensor(), wanted)  # type: ignore[union-attr, arg-type]


def test_without_gradients_nothing_is_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt_lightning.models.layers.checkpoint", lambda *_, **__: pytest.fail("recomputes"))
    with torch.no_grad():
        model(True)(random_ids(1, 3))
