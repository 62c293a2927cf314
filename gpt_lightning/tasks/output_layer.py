"""Output layer of tasks that predict tokens."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.checkpoints.read import load_head
from gpt_lightning.models.gpt import INIT_STD
from gpt_lightning.models.lm_head import LMHead
from gpt_lightning.models.lora import weights_sha256
from gpt_lightning.tasks.base import Task


def output_layer(task: Task) -> LMHead:
    """Return the output layer of a task that is being constructed, and freeze it if the task has adapters.

    Tied weights are those of the token embedding. Other weights are random, or those of the pretrained output layer
    that the task starts from.
    """
    config = task.backbone.config
    task.head = head = LMHead(config.n_embd, task.backbone.token_embedding.num_embeddings, config.logit_softcap)
    if config.tie_embeddings:
        head.weight = task.backbone.token_embedding.weight
    else:
        nn.init.normal_(head.weight, std=INIT_STD)
        if task.init_from is not None:
            load_head(task, task.init_from)
    if task.frozen_sha256:
        head.requires_grad_(False)  # with adapters, the pretrained output layer is frozen too
        if not config.tie_embeddings:
            task.frozen_sha256["head"] = weights_sha256(head)
    return head


def loss_records(head: nn.Module, hidden_BTC: Tensor, batch: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return ``nll`` (sum, in nats), ``num_tokens`` and ``num_bytes`` of each row with labels.

    Args:
        head: output layer.
        hidden_BTC: (B, T, C) hidden states of the inputs.
        batch: batch with ``labels``, (B, T), and ``num_bytes``, (B,).
    """
    nll_BT = head(hidden_BTC, batch["labels"], reduction="none")
    num_tokens = (batch["labels"] != IGNORE_INDEX).sum(1)
    rows = zip(nll_BT.sum(1).tolist(), num_tokens.tolist(), batch["num_bytes"].tolist(), strict=True)
    return [{"nll": nll, "num_tokens": tokens, "num_bytes": size} for nll, tokens, size in rows if tokens > 0]
