"""Causal language modeling."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from gpt_lightning.batch import LanguageModelingBatch
from gpt_lightning.errors import InputError
from gpt_lightning.metrics import GenerationMetrics, LanguageModelingMetrics
from gpt_lightning.metrics.row_scores import GENERATED
from gpt_lightning.metrics.row_statistics import RowStatistics
from gpt_lightning.models.generation.answer import Answer
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.decoder import Decoder, TextDecoder
from gpt_lightning.models.huggingface.heads import CAUSAL_LM, HuggingFaceHead
from gpt_lightning.models.new_tokens import fill_rows, train_rows
from gpt_lightning.tasks.answers import answer_records, evaluate_answers, record_rows
from gpt_lightning.tasks.base import EVAL_CHUNK_ROWS, Stage, Task
from gpt_lightning.tasks.new_token_ids import new_token_ids
from gpt_lightning.tasks.output_layer import loss_records, output_layer
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.unpack import Unpack

# B batch, T tokens, C channels, V vocabulary


class CausalLM(Task):
    """Causal language modeling: prediction of the next token (Radford et al. 2018, 2019).

    With ``prefix`` attention, the tokens of prompts attend to each other in both directions.
    """

    batch: ClassVar[type] = LanguageModelingBatch
    attentions: ClassVar[tuple[str, ...]] = ("causal", "prefix")
    huggingface_head: ClassVar[HuggingFaceHead | None] = CAUSAL_LM
    may_add_tokens: ClassVar[bool] = True

    def __init__(self, **settings: Unpack[TaskSettings]) -> None:
        super().__init__(**settings)
        self.head = output_layer(self)
        new_ids = new_token_ids(self.init_from, settings.get("vocab_size"))
        if new_ids:
            if not (self.frozen_sha256 or self.backbone.token_embedding.weight.requires_grad):
                raise InputError(
                    f"the chat template adds {len(new_ids)} tokens to the model, but model.fine_tuning.freeze leaves "
                    "their embeddings untrained. Set model.fine_tuning.freeze=0, train adapters with model.lora.r, or "
                    "use --data.chat_template=plain"
                )
            fill_rows(self.backbone, self.head, new_ids)
        if new_ids and self.frozen_sha256:
            train_rows(self.backbone, self.head, new_ids)
        self.train_metrics = LanguageModelingMetrics()
        self.val_metrics = GenerationMetrics()
        self.test_metrics = GenerationMetrics()
        self.test_rows = RowStatistics(GENERATED)

    def continue_head(self, source: str) -> Mapping[str, Any]:
        """Do nothing, as the constructor has loaded an output layer that is not tied to the embedding."""
        return {}

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the logits, (B, T, V), of token ids, (B, T) int64."""
        logits_BTV: Tensor = self.head(self.backbone(input_ids))
        return logits_BTV

    def text_decoder(self, prompts: Sequence[Sequence[int]]) -> tuple[TextDecoder, Sequence[Sequence[int]]]:
        """Return the backbone for the generation loops, and the prompts, which the new tokens follow."""
        return Decoder(self.backbone), prompts

    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Return the mean cross-entropy of the labeled tokens in nats. In evaluation, also compare answers."""
        hidden_BTC = self._hidden_states(batch)
        num_labels = self.weight(batch)
        # A micro-batch without labels has loss 0, not 0 / 0.
        if stage == "test":
            nll_BT: Tensor = self.head(hidden_BTC, batch["labels"], reduction="none")
            loss = nll_BT.sum() / num_labels.clamp(min=1)
            record_rows(self, batch, nll_BT, evaluate_answers(self, batch, stage))
        else:
            loss = self.head(hidden_BTC, batch["labels"]) / num_labels.clamp(min=1)
        if stage == "val":
            evaluate_answers(self, batch, stage)
        self.metrics(stage).update(loss, num_labels, batch["num_bytes"])
        return loss

    def generate_answers(
        self, batch: Mapping[str, Any], *, max_new_tokens: int, stop_ids: Sequence[int]
    ) -> list[Answer]:
        """Return the greedy answer to each prompt of ``batch``, in order, without the token that ended it.

        Prompts that leave no room for ``max_new_tokens`` are truncated on the left.

        Args:
            batch: batch with ``prompts``.
            max_new_tokens: maximum number of tokens in an answer.
            stop_ids: tokens that end an answer.
        """
        max_prompt = max(1, self.backbone.config.block_size - max_new_tokens)
        prompts = [prompt[-max_prompt:] for prompt in batch["prompts"]]
        answers: list[Answer] = []
        for start in range(0, len(prompts), EVAL_CHUNK_ROWS):
            decoder, rows = self.text_decoder(prompts[start : start + EVAL_CHUNK_ROWS])
            answers += generate_batched(decoder, self.head, rows, max_new_tokens=max_new_tokens, stop_ids=stop_ids)
        return answers

    def on_fit_start(self) -> None:
        """Refuse data without prompts for ``prefix`` attention, which only generation would use.

        Raises:
            InputError: the data module trains all text of a conversation, and the attention is ``prefix``.
        """
        trains_all = getattr(self.trainer.datamodule, "train_on", None) == "all"  # type: ignore[attr-defined]
        if trains_all and self.backbone.config.attention == "prefix":
            raise InputError(
                "data.train_on=all trains prompts like answers, so that model.backbone.attention=prefix would be "
                "causal in training, but not in generation. Leave out data.train_on, or set the attention to causal"
            )

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Return a record for each prompt or, in batches without prompts, for each row with labels.

        A prompt's record has its ``answer``, as ``answer_records`` describes. A row's record has ``nll`` (sum, in
        nats), ``num_tokens`` and ``num_bytes``.
        """
        if "prompts" in batch:
            return answer_records(self, batch)
        return loss_records(self.head, self._hidden_states(batch), batch)

    def _hidden_states(self, batch: Mapping[str, Any]) -> Tensor:
        documents, prompts = batch.get("document_ids"), batch.get("prefix_mask")
        hidden_BTC: Tensor = self.backbone(batch["input_ids"], document_ids=documents, prefix_mask=prompts)
        return hidden_BTC
