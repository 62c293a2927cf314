"""The output layer of a language model, and its loss without all logits in memory.

N tokens, K labelled ones of a chunk, C channels, V vocabulary.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.models.linear import Linear


class LMHead(Linear):
    """From hidden states to a score for each token of the vocabulary.

    Losses, too, come from calling the module, not from a method of its own: that is where FSDP gathers its weight.

    Args:
        n_embd: channels of the hidden states.
        vocab_size: scores.
        logit_softcap: scores become ``cap * tanh(score / cap)``, and so stay within the cap (Gemma 2,
            arXiv:2408.00118); None leaves them as they are.
    """

    def __init__(self, n_embd: int, vocab_size: int, logit_softcap: float | None = None) -> None:
        super().__init__(n_embd, vocab_size, bias=False)
        self.logit_softcap = logit_softcap

    def forward(
        self, hidden: Tensor, labels: Tensor | None = None, *, reduction: Literal["sum", "none"] = "sum"
    ) -> Tensor:
        """Logits or, with ``labels``, cross-entropy in nats.

        Args:
            hidden: (..., C).
            labels: (...) int64; tokens labelled ``IGNORE_INDEX`` have no loss and do not pass through the layer.
            reduction: ``sum`` of all losses, or ``none``, which has no gradient.

        Returns:
            (..., V) logits; () the sum of the losses, 0 without any label; (...) each token's, 0 where it is ignored.
            Losses are float32, of float64 hidden states float64.
        """
        if labels is None:
            return _softcapped(super().forward(hidden), self.logit_softcap)
        return linear_cross_entropy(hidden, self.weight, labels, self.logit_softcap, reduction=reduction)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    logit_softcap: float | None = None,
    *,
    reduction: Literal["sum", "none"] = "sum",
) -> Tensor:
    """``F.cross_entropy(hidden @ weight.mT, labels, reduction=reduction)``, a chunk of tokens at a time.

    Each chunk's share of the gradients is computed beside its losses, while its logits are there: so there are no more
    products than with all logits in memory, and no more than the weight's gradient waits for the backward pass.

    Args:
        hidden: (..., C).
        weight: (V, C).
        labels: (...) int64; ``IGNORE_INDEX`` is left out.
        logit_softcap: as ``LMHead``'s.
        reduction: as ``LMHead``'s.
    """
    hidden_NC, labels_N = hidden.flatten(0, -2), labels.flatten()
    kind, dtype = hidden.device.type, hidden.dtype
    if torch.is_autocast_enabled(kind) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(kind)
    # Autocast would cast the weight once a chunk.
    with torch.autocast(kind, enabled=False):
        if reduction == "sum" and torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
            total: Tensor = _SumOfLosses.apply(hidden_NC, weight, labels_N, logit_softcap, dtype)  # type: ignore[no-untyped-call]
            return total
        with torch.no_grad():
            losses_N = hidden.new_zeros(labels_N.shape, dtype=torch.promote_types(dtype, torch.float32))
            for chunk_K, _, log_p_KV, _ in _chunks(hidden_NC, weight.to(dtype), labels_N, logit_softcap):
                losses_N[chunk_K] = -log_p_KV.gather(1, labels_N[chunk_K, None]).squeeze(1)
        return losses_N.sum() if reduction == "sum" else losses_N.view_as(labels)


class _SumOfLosses(torch.autograd.Function):
    """The sum, whose gradients are there before the backward pass, which only scales them."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        hidden_NC: Tensor,
        weight_VC: Tensor,
        labels_N: Tensor,
        logit_softcap: float | None,
        dtype: torch.dtype,
    ) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]  # type: ignore[attr-defined]
        exact = torch.promote_types(dtype, torch.float32)
        # float16 has no room for a rare word's probability without the trainer's loss scale, which comes later.
        product = torch.float32 if dtype == torch.float16 else dtype
        typed_VC = weight_VC.to(dtype)
        factor_VC = typed_VC if product == dtype else weight_VC.to(product)
        d_hidden_NC = torch.zeros_like(hidden_NC) if wants_hidden else None
        d_weight_VC = torch.zeros_like(weight_VC, dtype=exact) if wants_weight else None
        losses_N = hidden_NC.new_zeros(labels_N.shape, dtype=exact)
        for chunk_K, hidden_KC, log_p_KV, slope_KV in _chunks(hidden_NC, typed_VC, labels_N, logit_softcap):
            labels_K1 = labels_N[chunk_K, None]
            losses_N[chunk_K] = -log_p_KV.gather(1, labels_K1).squeeze(1)
            d_logits_KV = log_p_KV.exp_()
            d_logits_KV.scatter_add_(1, labels_K1, d_logits_KV.new_full((), -1.0).expand_as(labels_K1))
            if slope_KV is not None:
                d_logits_KV.mul_(slope_KV)
            d_logits_KV = d_logits_KV.to(product)
            if d_hidden_NC is not None:
                d_hidden_NC.index_copy_(0, chunk_K, (d_logits_KV @ factor_VC).to(d_hidden_NC.dtype))
            if d_weight_VC is None:
                continue
            if product == exact:
                d_weight_VC.addmm_(d_logits_KV.mT, hidden_KC.to(product))
            else:  # many small parts of a sum: bfloat16 would lose them
                d_weight_VC.add_(d_logits_KV.mT @ hidden_KC)
        ctx.save_for_backward(d_hidden_NC, d_weight_VC)  # type: ignore[arg-type]
        return losses_N.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor | None, ...]:
        # In place, as the weight's is large; torch refuses a second backward pass, since what was saved has changed.
        d_hidden_NC, d_weight_VC = (None if saved is None else saved.mul_(d_total) for saved in ctx.saved_tensors)
        return d_hidden_NC, d_weight_VC, None, None, None


def _chunks(
    hidden_NC: Tensor, weight_VC: Tensor, labels_N: Tensor, logit_softcap: float | None
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
    """The labelled tokens, a chunk at a time.

    Yields:
        (K,) which tokens they are; (K, C) their hidden states in the weight's dtype; (K, V) logarithms of
        probabilities, float32 or float64, valid until the next chunk; (K, V) the slope of the soft-cap, or None.
    """
    kept = (labels_N != IGNORE_INDEX).nonzero().squeeze(1)
    rows = min(_rows_at_once(weight_VC), len(kept))
    logits = weight_VC.new_empty(rows, len(weight_VC))
    # What is written to again and again costs less than fresh memory each time.
    log_p = torch.empty_like(logits, dtype=torch.promote_types(logits.dtype, torch.float32))
    for chunk_K in torch.split(kept, rows):
        hidden_KC = hidden_NC[chunk_K].to(weight_VC.dtype)
        logits_KV = torch.mm(hidden_KC, weight_VC.mT, out=logits[: len(chunk_K)]).to(log_p.dtype)
        slope_KV = None
        if logit_softcap is not None:
            logits_KV.div_(logit_softcap).tanh_()
            slope_KV = 1.0 - logits_KV.square()
            logits_KV.mul_(logit_softcap)
        torch.log_softmax(logits_KV, dim=-1, out=log_p[: len(chunk_K)])
        yield chunk_K, hidden_KC, log_p[: len(chunk_K)], slope_KV


def _rows_at_once(weight_VC: Tensor) -> int:
    """Tokens of a chunk.

    Each chunk adds to all of the weight's gradient: with fewer tokens that would take as long as the products. With a
    small vocabulary more of them are at hand before memory matters.
    """
    least = 512 if weight_VC.device.type == "cpu" else 4096
    return max(least, 2**23 // len(weight_VC))


def _softcapped(logits: Tensor, cap: float | None) -> Tensor:
    return logits if cap is None else cap * torch.tanh(logits / cap)
