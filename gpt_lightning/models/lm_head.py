"""The output layer of a language model, and its loss without all logits in memory.

N tokens, K labeled ones of a chunk, C channels, V vocabulary.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.models.kernels.linear import Linear


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
        self._compiled_loss: LossAndSlopes | None = None

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile what is computed of logits for the loss: all but the products, which are fast as they are."""
        self._compiled_loss = torch.compile(loss_and_slopes, *args, **kwargs)

    def forward(
        self, hidden: Tensor, labels: Tensor | None = None, *, reduction: Literal["sum", "none"] = "sum"
    ) -> Tensor:
        """Logits or, with ``labels``, cross-entropy in nats.

        Args:
            hidden: (..., C).
            labels: (...) int64; tokens labeled ``IGNORE_INDEX`` have no loss.
            reduction: ``sum`` of all losses, or ``none``, which has no gradient.

        Returns:
            (..., V) logits; () the sum of the losses, 0 without any label; (...) each token's, 0 where it is ignored.
            Losses are float32, of float64 hidden states float64.
        """
        if labels is None:
            return softcapped(super().forward(hidden), self.logit_softcap)
        return linear_cross_entropy(
            hidden, self.weight, labels, self.logit_softcap, reduction=reduction, compiled=self._compiled_loss
        )


def loss_and_slopes(
    logits_KV: Tensor, labels_K: Tensor, logit_softcap: float | None, dtype: torch.dtype, scratch_KV: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """What logits tell of the labels' probabilities, p.

    Args:
        logits_KV: (K, V), which may be overwritten.
        labels_K: (K,) int64 in [0, V).
        logit_softcap: as ``LMHead``'s.
        dtype: of the derivatives.
        scratch_KV: memory to be used, float32 or float64; None takes what it needs.

    Returns:
        (K,) log p; (K, V) derivatives of -log p to the logits but for those of the labels; (K,) the latter.
    """
    scores_KV = logits_KV.to(torch.promote_types(logits_KV.dtype, torch.float32))
    slope_KV = None
    if logit_softcap is not None:
        scores_KV.div_(logit_softcap).tanh_()
        slope_KV = 1.0 - scores_KV.square()
        scores_KV.mul_(logit_softcap)
    log_p_KV = torch.log_softmax(scores_KV, dim=-1, out=scratch_KV)
    labels_K1 = labels_K.unsqueeze(1)
    log_p_K1 = log_p_KV.gather(1, labels_K1)
    d_label_K1 = log_p_K1.expm1()
    d_logits_KV = log_p_KV.exp_()
    if slope_KV is not None:
        d_label_K1 = d_label_K1 * slope_KV.gather(1, labels_K1)
        d_logits_KV.mul_(slope_KV)
    return log_p_K1.squeeze(1), d_logits_KV.to(dtype), d_label_K1.squeeze(1)


LossAndSlopes = Callable[[Tensor, Tensor, float | None, torch.dtype, Tensor | None], tuple[Tensor, Tensor, Tensor]]


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    logit_softcap: float | None = None,
    *,
    reduction: Literal["sum", "none"] = "sum",
    compiled: LossAndSlopes | None = None,
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
        compiled: ``loss_and_slopes``, compiled.
    """
    hidden_NC, labels_N = hidden.flatten(0, -2), labels.flatten()
    kind, dtype = hidden.device.type, hidden.dtype
    if torch.is_autocast_enabled(kind) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(kind)
    # Autocast would cast the weight once a chunk.
    with torch.autocast(kind, enabled=False):
        if reduction == "sum" and torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
            total: Tensor = _SumOfLosses.apply(hidden_NC, weight, labels_N, logit_softcap, dtype, compiled)  # type: ignore[no-untyped-call]
            return total
        with torch.no_grad():
            losses_N = hidden.new_zeros(labels_N.shape, dtype=torch.promote_types(dtype, torch.float32))
            for chunk in _chunks(hidden_NC, weight.to(dtype), labels_N, needs_scratch=True):
                scores_KV = softcapped(chunk.logits.to(losses_N.dtype), logit_softcap)
                log_p_KV = torch.log_softmax(scores_KV, dim=-1, out=chunk.scratch)
                losses_N[chunk.where] = -chunk.without_ignored(log_p_KV.gather(1, chunk.labels.unsqueeze(1))).squeeze(1)
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
        compiled: LossAndSlopes | None,
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
        for chunk in _chunks(hidden_NC, typed_VC, labels_N, needs_scratch=compiled is None):
            log_p_K, d_logits_KV, d_label_K = (compiled or loss_and_slopes)(
                chunk.logits, chunk.labels, logit_softcap, product, chunk.scratch
            )
            losses_N[chunk.where] = -chunk.without_ignored(log_p_K.unsqueeze(1)).squeeze(1)
            d_logits_KV.scatter_(1, chunk.labels.unsqueeze(1), d_label_K.to(product).unsqueeze(1))
            if d_hidden_NC is not None:
                d_hidden_KC = (d_logits_KV @ factor_VC).to(d_hidden_NC.dtype)
                d_hidden_NC[chunk.where] = chunk.without_ignored(d_hidden_KC)
            if d_weight_VC is None:
                continue
            hidden_KC = chunk.hidden.to(product)
            if product == exact:
                d_weight_VC.addmm_(d_logits_KV.mT, hidden_KC)
            else:  # many small parts of a sum: bfloat16 would lose them
                d_weight_VC.add_(d_logits_KV.mT @ hidden_KC)
        ctx.save_for_backward(d_hidden_NC, d_weight_VC)  # type: ignore[arg-type]
        return losses_N.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor | None, ...]:
        # In place, as the weight's is large; torch refuses a second backward pass, since what was saved has changed.
        d_hidden_NC, d_weight_VC = (None if saved is None else saved.mul_(d_total) for saved in ctx.saved_tensors)
        return d_hidden_NC, d_weight_VC, None, None, None, None


class _Chunk(NamedTuple):
    """Some tokens; what is in it is valid until the next chunk."""

    where: Tensor | slice
    """Which of the N."""
    hidden: Tensor
    """(K, C), in the weight's dtype; 0 for ignored tokens, so that nothing of them reaches its gradient."""
    logits: Tensor
    """(K, V)."""
    labels: Tensor
    """(K,), 0 for ignored ones."""
    ignored: Tensor | None
    """(K, 1) bool, where there may be any."""
    scratch: Tensor | None
    """(K, V) memory for what is computed of the logits, float32 or float64."""

    def without_ignored(self, x_KX: Tensor) -> Tensor:
        """0 in place of ignored tokens' rows."""
        return x_KX if self.ignored is None else x_KX.masked_fill(self.ignored, 0.0)


def _chunks(hidden_NC: Tensor, weight_VC: Tensor, labels_N: Tensor, *, needs_scratch: bool) -> Iterator[_Chunk]:
    """The tokens, a chunk at a time; on a processor the labeled ones alone."""
    rows = min(_rows_at_once(weight_VC), len(labels_N))
    parts: Iterable[Tensor | slice]
    if _selects(labels_N):
        kept = (labels_N != IGNORE_INDEX).nonzero().squeeze(1)
        rows = min(rows, len(kept))
        parts = torch.split(kept, rows)
    else:
        parts = [slice(start, start + rows) for start in range(0, len(labels_N), max(rows, 1))]
    # What is written to again and again costs less than fresh memory each time.
    logits, scratch = weight_VC.new_empty(rows, len(weight_VC)), None
    if needs_scratch:
        scratch = torch.empty_like(logits, dtype=torch.promote_types(logits.dtype, torch.float32))
    for part in parts:
        hidden_KC, labels_K, ignored_K1 = hidden_NC[part].to(weight_VC.dtype), labels_N[part], None
        if isinstance(part, slice):
            ignored_K1 = (labels_K == IGNORE_INDEX).unsqueeze(1)
            labels_K = labels_K.masked_fill(ignored_K1.squeeze(1), 0)
            hidden_KC = hidden_KC.masked_fill(ignored_K1, 0.0)
        count = len(labels_K)
        logits_KV = torch.mm(hidden_KC, weight_VC.mT, out=logits[:count])
        yield _Chunk(part, hidden_KC, logits_KV, labels_K, ignored_K1, None if scratch is None else scratch[:count])


def _selects(labels: Tensor) -> bool:
    """Whether ignored tokens are left out before they cost anything.

    On other devices the processor would have to wait until all that it has asked for is done, to learn which they are.
    """
    return labels.device.type == "cpu"


def _rows_at_once(weight_VC: Tensor) -> int:
    """Tokens of a chunk.

    Each chunk adds to all of the weight's gradient: with fewer tokens that would take as long as the products. With a
    small vocabulary more of them are at hand before memory matters.
    """
    least = 512 if weight_VC.device.type == "cpu" else 4096
    return max(least, 2**23 // len(weight_VC))


def softcapped(logits: Tensor, cap: float | None) -> Tensor:
    return logits if cap is None else cap * torch.tanh(logits / cap)
