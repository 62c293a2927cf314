"""Attention probabilities of each layer and head.

B batch, T tokens, S tokens attended to, H query heads, G key/value heads, D channels of a head.
"""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpt_lightning.evaluation.explain.inputs import prompt_mask, row_of
from gpt_lightning.models.attention_calls import AttentionCall, AttentionCalls
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.interventions import check_layer, layer_names
from gpt_lightning.tasks.finite import require_finite


@dataclass(frozen=True)
class AttentionMap:
    """Attention probabilities of one layer.

    Attributes:
        layer: name of the layer, such as ``blocks.0.attention``.
        heads: probability by head, token, and token attended to.
    """

    layer: str
    heads: list[list[list[float]]]


def attention_layers(backbone: GPT) -> list[str]:
    """Return the names of the layers of attention."""
    return [name for name in layer_names(backbone) if name.endswith("attention")]


@torch.inference_mode()
def attention_maps(
    backbone: GPT,
    ids: Sequence[int],
    *,
    source_ids: Sequence[int] | None = None,
    num_prompt_tokens: int = 0,
    layers: Sequence[str] | None = None,
) -> list[AttentionMap]:
    """Return the attention probabilities of a text.

    Args:
        backbone: backbone in ``eval`` mode.
        ids: token ids that the model, or the decoder of an encoder-decoder, reads.
        source_ids: token ids of the source, only for encoder-decoders.
        num_prompt_tokens: number of first tokens that form the prompt, which ``prefix`` attention reads in both
            directions.
        layers: names of layers of attention, such as ``blocks.0.attention``; None takes all of them. A layer has
            n_head * T * T probabilities, so choose a few for long texts.

    Raises:
        InputError: a text is empty or longer than ``block_size``, or a layer is not one of attention.
    """
    names = attention_layers(backbone)
    chosen = names if layers is None else layers
    for layer in chosen:
        check_layer(backbone, layer, names)
    row = row_of(backbone, ids)
    source: dict[str, Any] = (
        {"source_ids": row_of(backbone, source_ids or [], "source")} if isinstance(backbone, EncoderDecoder) else {}
    )
    # The calls of attention are in the order of the names.
    with AttentionRecorder({number for number, name in enumerate(names) if name in chosen}) as recorder:
        prompt_BT = prompt_mask(row, num_prompt_tokens)
        backbone.forward(row, prefix_mask=prompt_BT, **source)  # a compiled __call__ would hide its operations
    assert recorder.num_calls == len(names)
    maps = []
    for number, p_BHTS in recorder.probabilities.items():
        require_finite(p_BHTS, ())
        maps.append(AttentionMap(names[number], p_BHTS[0].tolist()))
    return maps


class AttentionRecorder(AttentionCalls):
    """Context manager that records the probabilities of calls of scaled dot-product attention inside of it.

    The fused kernels compute no probabilities, so they are computed again from the same queries, keys and mask. The
    results of the model stay the same.

    Args:
        recorded: indices of the calls to record, in the order of the calls.

    Attributes:
        num_calls: number of calls so far.
        probabilities: index of a call -> (B, H, T, S) probabilities.
    """

    def __init__(self, recorded: Container[int]) -> None:
        super().__init__()
        self._recorded = recorded
        self.num_calls = 0
        self.probabilities: dict[int, Tensor] = {}

    def observe(self, call: AttentionCall) -> None:
        """Record the probabilities of a call."""
        if self.num_calls in self._recorded:
            self.probabilities[self.num_calls] = attention_probabilities(
                call.query, call.key, call.attn_mask, call.is_causal, call.scale
            )
        self.num_calls += 1


def attention_probabilities(
    q_BHTD: Tensor,
    k_BGSD: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Return softmax(scale * q k^T + mask), (B, H, T, S), in float32 or float64.

    Args:
        q_BHTD: queries.
        k_BGSD: keys; H / G queries share each of them.
        attn_mask: bool, True where a token may attend, broadcastable to (B, H, T, S); None for no restriction.
        is_causal: True if a token attends only to itself and to earlier tokens.
        scale: factor of the scores; None takes 1 / sqrt(D).
    """
    dtype = torch.promote_types(q_BHTD.dtype, torch.float32)
    k_BHSD = k_BGSD.repeat_interleave(q_BHTD.size(1) // k_BGSD.size(1), dim=1)
    scores_BHTS = q_BHTD.to(dtype) @ k_BHSD.to(dtype).mT * (scale or 1.0 / math.sqrt(q_BHTD.size(-1)))
    if is_causal:
        attn_mask = torch.ones(scores_BHTS.shape[-2:], dtype=torch.bool, device=scores_BHTS.device).tril()
    if attn_mask is not None:
        scores_BHTS = scores_BHTS.masked_fill(~attn_mask, -torch.inf)
    return scores_BHTS.softmax(-1)
