"""Pretraining: predict the next token."""

from collections.abc import Mapping
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.errors import InputError
from gpt_lightning.metrics import LanguageModelingMetrics
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.gpt import INIT_STD
from gpt_lightning.optim import AdamWConfig, Schedule
from gpt_lightning.tasks.base import Stage, Task

# B batch, T tokens, C channels, V vocabulary


class CausalLM(Task):
    """Causal language modelling (Radford et al. 2018, 2019).

    Args:
        backbone: the transformer's shape.
        vocab_size: the tokenizer's number of ids; filled in from the data.
        optimizer: AdamW's settings.
        schedule: the learning rate over time.
    """

    def __init__(
        self,
        backbone: GPTConfig = GPTConfig(),
        vocab_size: int | None = None,
        optimizer: AdamWConfig = AdamWConfig(),
        schedule: Schedule = Schedule(),
    ) -> None:
        if backbone.vocab_size is None:
            backbone = replace(backbone, vocab_size=vocab_size)
        elif vocab_size is not None and vocab_size > backbone.vocab_size:
            raise InputError(
                f"the tokenizer has {vocab_size} ids but model.backbone.vocab_size={backbone.vocab_size}; "
                "raise it, or leave it out to take the tokenizer's"
            )
        if backbone.attention != "causal":
            raise InputError("model.backbone.attention: next-token prediction needs causal attention")
        super().__init__(backbone, optimizer, schedule)
        self.keep_hparams(backbone=backbone, optimizer=optimizer, schedule=schedule)
        self.head = nn.Linear(backbone.n_embd, self.backbone.token_embedding.num_embeddings, bias=False)
        if backbone.tie_embeddings:
            self.head.weight = self.backbone.token_embedding.weight
        else:
            nn.init.normal_(self.head.weight, std=INIT_STD)
        self.train_metrics = LanguageModelingMetrics()
        self.val_metrics = LanguageModelingMetrics()
        self.test_metrics = LanguageModelingMetrics()

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits: (B, T) int64 -> (B, T, V)."""
        logits_BTV: Tensor = self.head(self.backbone(input_ids))
        return logits_BTV

    def step(self, batch: Mapping[str, Tensor], stage: Stage) -> Tensor:
        """Mean cross-entropy of the labelled tokens, in nats."""
        hidden_BTC = self.backbone(batch["input_ids"], document_ids=batch.get("document_ids"))
        labels = batch["labels"].flatten()
        num_labels = self.weight(batch)
        total = F.cross_entropy(
            self.head(hidden_BTC).flatten(0, 1).float(), labels, ignore_index=IGNORE_INDEX, reduction="sum"
        )
        # A micro-batch without labels has loss 0, not 0 / 0.
        loss = total / num_labels.clamp(min=1)
        self.metrics(stage).update(loss, num_labels, batch["num_bytes"])
        return loss

    def predict_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """For each row that has labels: ``nll``, their sum in nats, ``num_tokens`` and ``num_bytes``, each (rows,)."""
        logits_BTV = self.head(self.backbone(batch["input_ids"], document_ids=batch.get("document_ids")))
        labels_BT = batch["labels"]
        nll_BT = F.cross_entropy(logits_BTV.mT.float(), labels_BT, ignore_index=IGNORE_INDEX, reduction="none")
        num_tokens = (labels_BT != IGNORE_INDEX).sum(1)
        columns = {"nll": nll_BT.sum(1), "num_tokens": num_tokens, "num_bytes": batch["num_bytes"]}
        return {name: values[num_tokens > 0] for name, values in columns.items()}

    def metrics(self, stage: Stage) -> LanguageModelingMetrics:
        """Loss, perplexity and bits per byte of ``stage``."""
        return {"train": self.train_metrics, "val": self.val_metrics, "test": self.test_metrics}[stage]
