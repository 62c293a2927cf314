"""Attention, predictions of the layers, and losses of the tokens for one input."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpt_lightning.evaluation.explain.attention_maps import AttentionMap, attention_layers, attention_maps
from gpt_lightning.evaluation.explain.candidates import TokenTexts
from gpt_lightning.evaluation.explain.decision import Decision
from gpt_lightning.evaluation.explain.logit_lens import HeadLens, TokenLens, head_lens, logit_lens
from gpt_lightning.evaluation.explain.token_decisions import NextTokenDecision, TargetTokenDecision
from gpt_lightning.evaluation.explain.token_losses import TokenLoss, prompt_losses, token_losses
from gpt_lightning.tasks import CausalLM, Seq2SeqLM
from gpt_lightning.tokenizers.tokenizer import Tokenizer

MAX_PROBABILITIES: Final = 5_000
"""Attention probabilities that are returned if no layers are named: those of the last layers, at least of one."""
MAX_LAYER_PROBABILITIES: Final = 500_000
"""Attention probabilities of a layer above which it must be named."""
MAX_LENS_TOKENS: Final = 16
"""Last positions of a text at which the predictions of the layers are kept."""


@dataclass(frozen=True)
class Internals:
    """Attention, predictions of the layers, and losses of the tokens for one input.

    Attributes:
        attention: attention probabilities of the chosen layers.
        num_attention_layers: number of layers of attention.
        target_tokens: tokens that the decoder of an encoder-decoder reads; empty for other models.
        losses: loss of each token of the text after all tokens before it, without those of special tokens; or of each
            token of the target of an encoder-decoder; empty for heads.
        lens_tokens: tokens at which the layers predict the next token.
        lens: predictions of the layers at these tokens; empty for heads.
        head_lens: score of the decision in each layer; empty for language models and encoder-decoders.
    """

    attention: list[AttentionMap]
    num_attention_layers: int
    target_tokens: list[str]
    losses: list[TokenLoss]
    lens_tokens: list[str]
    lens: list[TokenLens]
    head_lens: list[HeadLens]


def internals(decision: Decision, tokenizer: Tokenizer, layers: Sequence[str] | None) -> Internals:
    """Return what happens inside of the model for the input of a decision.

    Args:
        decision: the decision; for an encoder-decoder, that about the last token of the target.
        tokenizer: tokenizer of the model.
        layers: names of some of ``attention_layers``; None takes the last ones, as far as they are not too large.
    """
    task, texts = decision.model, TokenTexts(tokenizer)
    ids, source, target, num_prompt_tokens = decision.ids, None, list[int](), 0
    if isinstance(decision, TargetTokenDecision):
        source, ids = decision.ids, decision.decoder_ids.tolist()
        target = [*ids[len(decision.task.start_ids()) :], int(decision.target_ids)]
    names = attention_layers(task.backbone)
    size = task.backbone.config.n_head * max(len(ids), len(source or [])) ** 2
    if layers is None:
        count = max(1, MAX_PROBABILITIES // size) if size <= MAX_LAYER_PROBABILITIES else 0
        chosen = names[max(0, len(names) - count) :]
    else:
        chosen = list(layers)
    losses: list[TokenLoss] = []
    lens: list[TokenLens] = []
    if isinstance(task, CausalLM | Seq2SeqLM):
        if isinstance(decision, NextTokenDecision):
            num_prompt_tokens = len(decision.prompt_ids)
            losses = prompt_losses(decision.task, tokenizer, decision.prompt_ids)
        else:
            losses = token_losses(task, tokenizer, target, source_ids=source)
        lens = logit_lens(
            task,
            tokenizer,
            ids,
            source_ids=source,
            num_prompt_tokens=num_prompt_tokens,
            num_last=MAX_LENS_TOKENS,
        )
    return Internals(
        attention=attention_maps(
            task.backbone, ids, source_ids=source, num_prompt_tokens=num_prompt_tokens, layers=chosen
        ),
        num_attention_layers=len(names),
        target_tokens=[] if source is None else list(map(texts, ids)),
        losses=losses,
        lens_tokens=list(map(texts, ids[-MAX_LENS_TOKENS:])) if lens else [],
        lens=lens,
        head_lens=[] if lens else head_lens(decision),
    )
