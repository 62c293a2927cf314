"""Output layer of a language model, and its cross-entropy without all logits in memory.

N tokens, K tokens of a chunk, C channels, V vocabulary.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.models.kernels.linear import Linear


class LMHead(Linear):
    """Output layer of a language model: logits, or the cross-entropy loss of labels.

    The loss is part of ``forward`` because FSDP gathers the weight only when the module is called.

    Args:
        n_embd: channels of the hidden states.
        vocab_size: number of logits.
        logit_softcap: logits become ``cap * tanh(logit / cap)`` (Gemma 2, arXiv:2408.00118); None turns it off.
    """

    def __init__(self, n_embd: int, vocab_size: int, logit_softcap: float | None = None) -> None:
        super().__init__(n_embd, vocab_size, bias=False)
        self.logit_softcap = logit_softcap
        self._compiled_loss: LossAndGradients | None = None

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the elementwise part of the loss; the matrix products need no compilation."""
        self._compiled_loss = torch.compile(loss_and_gradients, *args, **kwargs)

    def forward(
        self,
        hidden: Tensor,
        labels: Tensor | None = None,
        *,
        reduction: Literal["sum", "none"] = "sum",
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Return logits or, if ``labels`` are given, cross-entropy in nats.

        Args:
            hidden: (..., C) hidden states.
            labels: (...) int64; the loss of tokens labeled ``IGNORE_INDEX`` is 0.
            reduction: ``sum`` for the sum of all losses, ``none`` for the loss of each token, without gradients.
            label_smoothing: share of the target distribution that is uniform over the vocabulary (Szegedy et al. 2015,
                arXiv:1512.00567), for ``sum`` without ``logit_softcap``.

        Returns:
            (..., V) logits, or a loss: () for ``sum``, (...) for ``none``. Losses are float32, or float64 for float64
            hidden states.
        """
        if labels is None:
            return softcap(super().forward(hidden), self.logit_softcap)
        loss = linear_cross_entropy(
            hidden, self.weight, labels, self.logit_softcap, reduction=reduction, compiled=self._compiled_loss
        )
        return loss + label_smoothing * logit_margin(hidden, self.weight, labels) if label_smoothing else loss


def logit_margin(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over all labeled tokens of the logit of the label minus the mean logit; shape ().

    The cross-entropy with a uniform distribution is the cross-entropy with the label plus this margin. So label
    smoothing needs only the mean of the weights instead of all logits.

    Args:
        hidden: (..., C) hidden states.
        weight: (V, C) weight of the output layer.
        labels: (...) int64; tokens labeled ``IGNORE_INDEX`` are left out.
    """
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    directions = F.embedding(labels.clamp(min=0), weight) - weight.mean(0)
    margins = (hidden.to(dtype) * directions.to(dtype)).sum(-1)
    return margins.masked_fill(labels == IGNORE_INDEX, 0.0).sum()


def loss_and_gradients(
    logits_KV: Tensor, labels_K: Tensor, logit_softcap: float | None, dtype: torch.dtype, scratch_KV: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log p and the gradient of -log p with respect to the logits, where p is the probability of the label.

    Args:
        logits_KV: (K, V) logits, which may be overwritten.
        labels_K: (K,) int64 in [0, V).
        logit_softcap: as in ``LMHead``.
        dtype: dtype of the gradient.
        scratch_KV: (K, V) memory for intermediate results, float32 or float64; None allocates it.

    Returns:
        (K,) log p; (K, V) gradient, not valid at the labels; (K,) gradient at the labels.
    """
    scores_KV = logits_KV.to(torch.promote_types(logits_KV.dtype, torch.float32))
    d_softcap_KV = None
    if logit_softcap is not None:
        scores_KV.div_(logit_softcap).tanh_()
        d_softcap_KV = 1.0 - scores_KV.square()
        scores_KV.mul_(logit_softcap)
    log_p_KV = torch.log_softmax(scores_KV, dim=-1, out=scratch_KV)
    labels_K1 = labels_K.unsqueeze(1)
    log_p_K1 = log_p_KV.gather(1, labels_K1)
    d_label_K1 = log_p_K1.expm1()
    d_logits_KV = log_p_KV.exp_()
    if d_softcap_KV is not None:
        d_label_K1 = d_label_K1 * d_softcap_KV.gather(1, labels_K1)
        d_logits_KV.mul_(d_softcap_KV)
    return log_p_K1.squeeze(1), d_logits_KV.to(dtype), d_label_K1.squeeze(1)


LossAndGradients = Callable[[Tensor, Tensor, float | None, torch.dtype, Tensor | None], tuple[Tensor, Tensor, Tensor]]


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    logit_softcap: float | None = None,
    *,
    reduction: Literal["sum", "none"] = "sum",
    compiled: LossAndGradients | None = None,
) -> Tensor:
    """Return ``F.cross_entropy(hidden @ weight.mT, labels, reduction=reduction)``, computed in chunks of tokens.

    The forward pass computes the gradients of each chunk together with its losses, while its logits are in memory. This
    takes no more matrix products than with all logits in memory, and keeps only the gradients of ``hidden`` and
    ``weight`` for the backward pass.

    Args:
        hidden: (..., C) hidden states.
        weight: (V, C) weight of the output layer.
        labels: (...) int64; the loss of tokens labeled ``IGNORE_INDEX`` is 0.
        logit_softcap: as in ``LMHead``.
        reduction: as in ``LMHead``.
        compiled: ``loss_and_gradients`` after ``torch.compile``; None runs it uncompiled.
    """
    hidden_NC, labels_N = hidden.flatten(0, -2), labels.flatten()
    kind, dtype = hidden.device.type, hidden.dtype
    if torch.is_autocast_enabled(kind) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(kind)
    # Autocast would cast the weight for each chunk.
    with torch.autocast(kind, enabled=False):
        if reduction == "sum" and torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
            total: Tensor = _SummedCrossEntropy.apply(hidden_NC, weight, labels_N, logit_softcap, dtype, compiled)  # type: ignore[no-untyped-call]
            return total
        with torch.no_grad():
            losses_N = hidden.new_zeros(labels_N.shape, dtype=torch.promote_types(dtype, torch.float32))
            for chunk in _chunks(hidden_NC, weight.to(dtype), labels_N, needs_scratch=True):
                scores_KV = softcap(chunk.logits.to(losses_N.dtype), logit_softcap)
                log_p_KV = torch.log_softmax(scores_KV, dim=-1, out=chunk.scratch)
                losses_N[chunk.selection] = -chunk.zero_ignored(log_p_KV.gather(1, chunk.labels.unsqueeze(1))).squeeze(
                    1
                )
        return losses_N.sum() if reduction == "sum" else losses_N.view_as(labels)


class _SummedCrossEntropy(torch.autograd.Function):
    """Sum of losses that computes its gradients in the forward pass; the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        hidden_NC: Tensor,
        weight_VC: Tensor,
        labels_N: Tensor,
        logit_softcap: float | None,
        dtype: torch.dtype,
        compiled: LossAndGradients | None,
    ) -> Tensor:
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]  # type: ignore[attr-defined]
        sum_dtype = torch.promote_types(dtype, torch.float32)
        # Probabilities of rare tokens underflow in float16. The trainer's loss scale comes only with the backward pass.
        product_dtype = torch.float32 if dtype == torch.float16 else dtype
        cast_VC = weight_VC.to(dtype)
        factor_VC = cast_VC if product_dtype == dtype else weight_VC.to(product_dtype)
        d_hidden_NC = torch.zeros_like(hidden_NC) if needs_hidden else None
        d_weight_VC = torch.zeros_like(weight_VC, dtype=sum_dtype) if needs_weight else None
        losses_N = hidden_NC.new_zeros(labels_N.shape, dtype=sum_dtype)
        for chunk in _chunks(hidden_NC, cast_VC, labels_N, needs_scratch=compiled is None):
            log_p_K, d_logits_KV, d_label_K = (compiled or loss_and_gradients)(
                chunk.logits, chunk.labels, logit_softcap, product_dtype, chunk.scratch
            )
            losses_N[chunk.selection] = -chunk.zero_ignored(log_p_K.unsqueeze(1)).squeeze(1)
            d_logits_KV.scatter_(1, chunk.labels.unsqueeze(1), d_label_K.to(product_dtype).unsqueeze(1))
            if d_hidden_NC is not None:
                d_hidden_KC = (d_logits_KV @ factor_VC).to(d_hidden_NC.dtype)
                d_hidden_NC[chunk.selection] = chunk.zero_ignored(d_hidden_KC)
            if d_weight_VC is None:
                continue
            hidden_KC = chunk.hidden.to(product_dtype)
            if product_dtype == sum_dtype:
                d_weight_VC.addmm_(d_logits_KV.mT, hidden_KC)
            else:  # accumulated in float32, because bfloat16 would lose small addends
                d_weight_VC.add_(d_logits_KV.mT @ hidden_KC)
        ctx.save_for_backward(d_hidden_NC, d_weight_VC)  # type: ignore[arg-type]
        return losses_N.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor | None, ...]:
        # In place, because the gradient of the weight is large. Torch refuses a second backward pass after it.
        d_hidden_NC, d_weight_VC = (None if saved is None else saved.mul_(d_total) for saved in ctx.saved_tensors)
        return d_hidden_NC, d_weight_VC, None, None, None, None


class _Chunk(NamedTuple):
    """Chunk of tokens with their logits, valid until the next chunk."""

    selection: Tensor | slice
    """Indices of the tokens among all N."""
    hidden: Tensor
    """(K, C) hidden states in the weight's dtype; 0 for ignored tokens, which keeps them out of its gradient."""
    logits: Tensor
    """(K, V) logits."""
    labels: Tensor
    """(K,) labels, 0 for ignored tokens."""
    ignored: Tensor | None
    """(K, 1) bool, True for ignored tokens; None if there are none."""
    scratch: Tensor | None
    """(K, V) memory for intermediate results, float32 or float64."""

    def zero_ignored(self, x_KX: Tensor) -> Tensor:
        """Return ``x_KX`` with zeros in the rows of ignored tokens."""
        return x_KX if self.ignored is None else x_KX.masked_fill(self.ignored, 0.0)


def _chunks(hidden_NC: Tensor, weight_VC: Tensor, labels_N: Tensor, *, needs_scratch: bool) -> Iterator[_Chunk]:
    """Yield the tokens in chunks; on CPUs, leave out tokens whose label is ignored."""
    rows = min(_chunk_size(weight_VC), len(labels_N))
    parts: Iterable[Tensor | slice]
    if _drops_ignored(labels_N):
        kept = (labels_N != IGNORE_INDEX).nonzero().squeeze(1)
        rows = min(rows, len(kept))
        parts = torch.split(kept, rows)
    else:
        parts = [slice(start, start + rows) for start in range(0, len(labels_N), max(rows, 1))]
    # Reusing memory costs less than allocating it for each chunk.
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


def _drops_ignored(labels: Tensor) -> bool:
    """Return True if ignored tokens are left out of the matrix products.

    This is limited to CPUs: on a GPU, the host would have to wait until the labels are computed.
    """
    return labels.device.type == "cpu"


def _chunk_size(weight_VC: Tensor) -> int:
    """Return the number of tokens of a chunk.

    Each chunk updates the whole gradient of the weight. With fewer tokens, this would take as long as the products.
    With a small vocabulary, larger chunks still need little memory.
    """
    minimum = 512 if weight_VC.device.type == "cpu" else 4096
    return max(minimum, 2**23 // len(weight_VC))


def softcap(logits: Tensor, cap: float | None) -> Tensor:
    """Limit logits to [-cap, cap] with tanh; None returns them unchanged."""
    return logits if cap is None else cap * torch.tanh(logits / cap)
