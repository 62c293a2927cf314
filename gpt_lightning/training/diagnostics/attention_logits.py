"""Largest attention logit of each attention layer, whose growth precedes divergence (Dehghani et al. 2023).

B batch, H query heads, G key/value heads, T queries, S keys, D channels of a head.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

import gpt_lightning.batch
from gpt_lightning.models.attention_calls import AttentionCall, AttentionCalls
from gpt_lightning.tasks import Task

_CHUNK: Final = 256
"""Queries whose logits are in memory at once."""
_ENCODER_DECODER: Final = {
    "input_ids": "decoder_input_ids",
    "source_ids": "input_ids",
    "source_mask": "attention_mask",
}
"""Argument of an encoder-decoder -> key of its batches. Other models name both alike."""
_DECODER: Final = ("input_ids", "attention_mask", "document_ids", "prefix_mask")


def largest_attention_logits(task: Task, batch: Mapping[str, Any]) -> list[Tensor]:
    """Return the largest attention logit of each attention layer for the first row of a batch, () each.

    The layers are in order of computation, in an encoder-decoder those of the encoder first. The row passes through the
    backbone without dropout, gradients and compilation, so that neither the training nor its random numbers change.
    There are none for a task of the user's own with batches of its own, whose keys are unknown.
    """
    if task.batch.__module__ != gpt_lightning.batch.__name__:
        return []
    names = _ENCODER_DECODER if "decoder_input_ids" in batch else dict(zip(_DECODER, _DECODER, strict=True))
    inputs = {name: batch[key][:1] for name, key in names.items() if isinstance(batch.get(key), Tensor)}
    recorder = _Recorder()
    with _evaluating(task.backbone), _without_compilation(task.backbone), torch.no_grad(), recorder:
        task.backbone(**inputs)
    return recorder.found


def largest_logit(
    query: Tensor, key: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """Return the largest logit among the keys that each query may attend to; shape (), float32.

    Args:
        query: (B, H, T, D).
        key: (B, G, S, D), where G divides H.
        attn_mask: (..., T, S), True where a query may attend, or an addend of the logits.
        is_causal: whether a query attends to the keys up to its own position only.
        scale: factor of the logits; by default 1 / sqrt(D).
    """
    scale = query.size(-1) ** -0.5 if scale is None else scale
    key = key.repeat_interleave(query.size(1) // key.size(1), dim=1)
    num_queries, num_keys = query.size(2), key.size(2)
    largest = []
    for start in range(0, num_queries, _CHUNK):
        stop = min(start + _CHUNK, num_queries)
        logits = (query[:, :, start:stop] @ key.transpose(2, 3)).float() * scale
        if is_causal:
            positions = torch.arange(start, stop, device=query.device)
            is_later = torch.arange(num_keys, device=query.device) > positions[:, None]
            logits = logits.masked_fill(is_later, -torch.inf)
        if attn_mask is not None:
            mask = attn_mask.expand(*attn_mask.shape[:-2], num_queries, num_keys)[..., start:stop, :]
            logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
        largest.append(logits.amax())
    return torch.stack(largest).amax()


class _Recorder(AttentionCalls):
    """Mode that records the largest logit of each call of ``scaled_dot_product_attention``."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def observe(self, call: AttentionCall) -> None:
        self.found.append(largest_logit(call.query, call.key, call.attn_mask, call.is_causal, call.scale))


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode during the block, and each of its parts back into its own mode."""
    modes = {each: each.training for each in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for each, mode in modes.items():
            each.training = mode


def _without_compilation(module: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which a module runs uncompiled, as one row would be compiled for a shape of its own."""
    is_compiled = getattr(module, "_compiled_call_impl", None) is not None
    return torch.compiler.set_stance("force_eager") if is_compiled else contextlib.nullcontext()
