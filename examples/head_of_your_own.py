r"""A task head of your own, in one file: attention pooling over the tokens of a text.

It uses the batches of an existing data module, here and on the command line:

    cd examples
    gpt-lightning fit --model head_of_your_own.AttentionPooling --data TextClassification \
        --data.train ROWS.jsonl --data.validation ROWS.jsonl --allow_import head_of_your_own
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as L
import torch.nn.functional as F
from torch import Tensor, nn

import gpt_lightning as gl
from gpt_lightning.batch import IGNORE_INDEX, SequenceClassificationBatch
from gpt_lightning.metrics import ClassificationMetrics, TrainingLoss
from gpt_lightning.tasks.base import Stage, linear_head
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.toy_world.write import write
from gpt_lightning.unpack import Unpack


class AttentionPooling(gl.Task):
    """Text classification with attention pooling by a learned query (Lin et al. 2017, arXiv:1703.03130).

    Args:
        labels: names of the labels, taken from the data.
        temperature: divisor of the tokens' scores; a lower one concentrates on fewer tokens.
    """

    batch: ClassVar[type] = SequenceClassificationBatch
    takes_from_data: ClassVar[Mapping[str, str]] = {"vocab_size": "vocab_size", "labels": "labels"}

    def __init__(
        self, labels: list[str] | None = None, temperature: float = 1.0, **settings: Unpack[TaskSettings]
    ) -> None:
        super().__init__(**settings)
        self.classes = labels or []
        self.temperature = temperature
        width = self.backbone.config.n_embd
        self.head = nn.ModuleDict({"query": linear_head(width, 1), "output": linear_head(width, len(self.classes))})
        self.train_metrics = TrainingLoss()
        self.val_metrics = ClassificationMetrics(len(self.classes))
        self.test_metrics = ClassificationMetrics(len(self.classes))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits: (B, T) int64 and (B, T) bool -> (B, L)."""
        hidden_BTC = self.backbone(input_ids, attention_mask=attention_mask)
        scores_BT = self.head["query"](hidden_BTC).squeeze(-1) / self.temperature
        weights_BT = scores_BT.masked_fill(~attention_mask, -1e4).softmax(-1)
        logits_BL: Tensor = self.head["output"]((weights_BT.unsqueeze(-1) * hidden_BTC).sum(1))
        return logits_BL

    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Return the mean cross-entropy over the labeled rows, in nats."""
        logits_BL, weight = self(batch["input_ids"], batch["attention_mask"]).float(), self.weight(batch)
        total = F.cross_entropy(logits_BL, batch["labels"], ignore_index=IGNORE_INDEX, reduction="sum")
        loss = total / weight.clamp(min=1)
        if stage == "train":
            self.train_metrics.update(loss, weight)
        else:
            self.metrics(stage).update(loss, weight, logits_BL.argmax(1), batch["labels"])
        return loss

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Return the ``id`` and the ``label`` of each row."""
        best = self(batch["input_ids"], batch["attention_mask"]).argmax(1).tolist()
        return [{"id": name, "label": self.classes[row]} for name, row in zip(batch["ids"], best, strict=False)]


def main() -> None:
    """Train the head on the toy world's topics, save it, load it again and predict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max_epochs", type=int, default=4)
    options = parser.parse_args()

    write(Path("data/toy_world"))
    L.seed_everything(0)
    data = gl.TextClassification(
        train="data/toy_world/classification/train.jsonl",
        validation="data/toy_world/classification/validation.jsonl",
        tokenizer="bpe:512",
        block_size=128,
    )
    task = AttentionPooling(
        labels=data.labels,
        backbone=gl.GPTConfig(n_layer=2, n_head=4, n_embd=64, block_size=128, attention="bidirectional"),
        vocab_size=data.vocab_size,
        optimizer=gl.OptimizerConfig(lr=2e-3),
    )
    trainer = L.Trainer(max_epochs=options.max_epochs, logger=False, enable_checkpointing=False)
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint("topics.ckpt")
    model = gl.load("topics.ckpt")
    print(model.predict([{"text": "The match ended in a draw."}]))


if __name__ == "__main__":
    main()
