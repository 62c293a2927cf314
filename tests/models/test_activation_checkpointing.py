"""Computing anew in the backward pass what was not kept: the same numbers in less memory."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.fsdp import fully_shard

from gpt_lightning.models import GPT
from tests.models.test_gpt import BLOCK_SIZE, GEMMA3, LLAMA, random_ids, randomise, shape_of

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


def model(on: bool, **shape: Any) -> GPT:
    """With dropout everywhere, training."""
    gpt = GPT(shape_of(**({"n_layer": 3, "dropout": 0.3, "attention_dropout": 0.2} | shape)))
    randomise(gpt)
    gpt.checkpoint_activations(on)
    return gpt


def run(gpt: GPT, **inputs: Tensor) -> tuple[Tensor, list[Tensor | None], int]:
    """A loss, all gradients, and the bytes that waited for the backward pass."""
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size() * (not isinstance(tensor, nn.Parameter))
        return tensor

    torch.manual_seed(1)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = gpt(random_ids(ROWS, BLOCK_SIZE), **inputs).square().sum()
    torch.rand(7)  # the backward pass must not depend on where the random numbers stand
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in gpt.parameters()], kept


@pytest.mark.parametrize(("shape", "inputs"), CASES.values(), ids=CASES)
def test_losses_and_gradients_are_the_same_bit_for_bit(shape: dict[str, Any], inputs: dict[str, Tensor]) -> None:
    (loss, gradients, kept), (expected_loss, expected, all_kept) = (
        run(model(on, **shape), **inputs) for on in (True, False)
    )
    assert torch.equal(loss, expected_loss)
    assert len(gradients) == len(expected) > 20
    for mine, theirs in zip(gradients, expected, strict=True):
        assert mine is not None
        assert theirs is not None
        assert torch.equal(mine, theirs)
    inputs_of_blocks = 3 * ROWS * BLOCK_SIZE * 32 * 4  # which wait where the hooks do not see them
    assert kept + inputs_of_blocks < all_kept / 5


def test_what_is_frozen_may_be_below() -> None:
    """As with fine-tuning and adapters: nothing that goes into the lowest blocks asks for a gradient."""
    results = []
    for on in (True, False):
        gpt = model(on)
        for parameter in [*gpt.token_embedding.parameters(), *gpt.blocks[0].parameters()]:
            parameter.requires_grad_(False)
        assert gpt.position_embedding is not None
        gpt.position_embedding.requires_grad_(False)
        results.append(run(gpt))
    (_, gradients, _), (_, expected, _) = results
    assert [mine is None for mine in gradients] == [theirs is None for theirs in expected]
    assert sum(mine is None for mine in gradients) == 14
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True) if a is not None and b is not None)


def test_with_sharded_blocks(one_process: Any) -> None:
    _, expected, _ = run(model(False))
    gpt = model(True)
    for block in gpt.blocks:
        fully_shard(block, mesh=one_process)
    fully_shard(gpt, mesh=one_process)
    _, gradients, kept = run(gpt)
    assert kept > 0
    for mine, theirs in zip(gradients, expected, strict=True):
        assert torch.equal(mine.full_tensor(), theirs)  # type: ignore[union-attr, arg-type]


def test_nothing_is_kept_where_nothing_will_be_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt_lightning.models.layers.checkpoint", lambda *_, **__: pytest.fail("computes anew"))
    with torch.no_grad():
        model(True)(random_ids(1, 3))
