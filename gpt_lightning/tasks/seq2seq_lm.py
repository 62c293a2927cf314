"""Sequence-to-sequence language modeling with an encoder-decoder."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from gpt_lightning.batch import Seq2SeqBatch
from gpt_lightning.errors import InputError
from gpt_lightning.metrics import GenerationMetrics, LanguageModelingMetrics
from gpt_lightning.metrics.row_scores import GENERATED
from gpt_lightning.metrics.row_statistics import RowStatistics
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.models.generation.answer import Answer
from gpt_lightning.models.generation.batched import generate_batched, pad_rows
from gpt_lightning.models.generation.decoder import TextDecoder
from gpt_lightning.models.generation.source_decoder import SourceDecoder
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.heads import SEQ2SEQ_LM, HuggingFaceHead
from gpt_lightning.tasks.answers import answer_records, evaluate_answers, record_rows
from gpt_lightning.tasks.base import EVAL_CHUNK_ROWS, Stage, Task
from gpt_lightning.tasks.output_layer import loss_records, output_layer
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from gpt_lightning.unpack import Unpack

# B batch, S source tokens, T target tokens, C channels, V vocabulary


class Seq2SeqLM(Task):
    """Prediction of a target text from a source text, such as its translation (Vaswani et al. 2017, arXiv:1706.03762).

    ``backbone`` describes both sides: ``n_encoder_layer`` blocks of the encoder and ``n_layer`` of the decoder. With
    ``init_from``, a pretrained language model fills both sides, and cross-attention starts from random weights.

    Args:
        label_smoothing: share of the target distribution that is uniform over the vocabulary in training (Vaswani et
            al. 2017, 5.4, with 0.1). Validation and test losses are without it.
        decoder_start_ids: token ids before the first token of a generated target; null takes the end-of-text token of
            the data module's tokenizer. On the command line, they come from the data module.
        **settings: arguments of ``Task``.
    """

    batch: ClassVar[type] = Seq2SeqBatch
    huggingface_head: ClassVar[HuggingFaceHead | None] = SEQ2SEQ_LM
    backbone_class: ClassVar[type[GPT]] = EncoderDecoder
    attentions: ClassVar[tuple[str, ...]] = ("causal",)
    takes_from_data: ClassVar[Mapping[str, str]] = {**Task.takes_from_data, "decoder_start_ids": "decoder_start_ids"}

    def __init__(
        self,
        label_smoothing: float = 0.0,
        decoder_start_ids: list[int] | None = None,
        **settings: Unpack[TaskSettings],
    ) -> None:
        if not 0.0 <= label_smoothing < 1.0:
            raise InputError(f"model.label_smoothing={label_smoothing} must lie in [0, 1)")
        super().__init__(**settings)
        num_ids = self.backbone.token_embedding.num_embeddings
        if decoder_start_ids is not None and not (
            decoder_start_ids and all(0 <= each < num_ids for each in decoder_start_ids)
        ):
            raise InputError(
                f"model.decoder_start_ids={decoder_start_ids} must be a list of token ids from 0 to {num_ids - 1}"
            )
        if label_smoothing and self.backbone.config.logit_softcap is not None:
            raise InputError(
                "model.label_smoothing and model.backbone.logit_softcap cannot be combined. Leave out one of them"
            )
        if self.frozen_sha256 and self.backbone.is_cross_attention_new:
            raise InputError(
                f"model.lora.r trains adapters on a frozen model, but the cross-attention of {self.init_from} would be "
                "random, because it has no encoder. Set model.lora.r=0, or start from an encoder-decoder"
            )
        self.label_smoothing = label_smoothing
        self.decoder_start_ids = decoder_start_ids
        self.head = output_layer(self)
        self.train_metrics = LanguageModelingMetrics()
        self.val_metrics = GenerationMetrics()
        self.test_metrics = GenerationMetrics()
        self.test_rows = RowStatistics(GENERATED)

    backbone: EncoderDecoder

    def setup(self, stage: str) -> None:
        """Let targets start with the end-of-text token if the data module names no other tokens."""
        super().setup(stage)
        tokenizer = getattr(self.trainer.datamodule, "tokenizer", None)  # type: ignore[attr-defined]
        if self.decoder_start_ids is None and isinstance(tokenizer, Tokenizer):
            self.decoder_start_ids = self.hparams["decoder_start_ids"] = [tokenizer.end_of_text_id]

    def continue_head(self, source: str) -> Mapping[str, Any]:
        """Do nothing, because the constructor has already loaded an untied output layer."""
        return {}

    def forward(self, input_ids: Tensor, attention_mask: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Return the logits of the targets, (B, T, V).

        Args:
            input_ids: (B, S) int64, the sources.
            attention_mask: (B, S) bool; False for padding.
            decoder_input_ids: (B, T) int64, the start token and the targets without their last token.
        """
        logits_BTV: Tensor = self.head(
            self.backbone(decoder_input_ids, source_ids=input_ids, source_mask=attention_mask)
        )
        return logits_BTV

    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Return the mean cross-entropy of the labeled target tokens in nats. In evaluation, also compare targets."""
        hidden_BTC, num_labels = self._hidden_states(batch), self.weight(batch)
        smoothing = self.label_smoothing if stage == "train" else 0.0
        # A micro-batch without labels has loss 0, not 0 / 0.
        if stage == "test":
            nll_BT: Tensor = self.head(hidden_BTC, batch["labels"], reduction="none")
            loss = nll_BT.sum() / num_labels.clamp(min=1)
            record_rows(self, batch, nll_BT, evaluate_answers(self, batch, stage))
        else:
            loss = self.head(hidden_BTC, batch["labels"], label_smoothing=smoothing) / num_labels.clamp(min=1)
        if stage == "val":
            evaluate_answers(self, batch, stage)
        self.metrics(stage).update(loss, num_labels, batch["num_bytes"])
        return loss

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Return a record for each source with its generated target, as ``answer_records`` describes.

        If no data module describes how to generate targets, a record instead has the ``nll`` of the target (sum, in
        nats), ``num_tokens`` and ``num_bytes``.
        """
        if self.answer_data is not None:
            return answer_records(self, batch)
        return loss_records(self.head, self._hidden_states(batch), batch)

    def generate_answers(
        self, batch: Mapping[str, Any], *, max_new_tokens: int, stop_ids: Sequence[int]
    ) -> list[Answer]:
        """Return the greedy target of the first sources of ``batch``, in order, without the token that ended it.

        Args:
            batch: batch with ``references`` for the first sources. Without references, all sources are used.
            max_new_tokens: maximum number of tokens in a target, which must also fit ``block_size``.
            stop_ids: tokens that end a target.
        """
        rows = len(batch.get("references") or batch.get("ids", batch["input_ids"]))
        starts = self.decoder_start_ids or batch["decoder_input_ids"][0, :1].tolist()
        count = min(max_new_tokens, self.backbone.config.block_size - len(starts))
        answers: list[Answer] = []
        for start in range(0, rows, EVAL_CHUNK_ROWS):
            chunk = slice(start, min(rows, start + EVAL_CHUNK_ROWS))
            decoder = SourceDecoder(self.backbone, batch["input_ids"][chunk], batch["attention_mask"][chunk])
            prompts = [starts] * (chunk.stop - start)
            answers += generate_batched(decoder, self.head, prompts, max_new_tokens=count, stop_ids=stop_ids)
        return answers

    @torch.inference_mode()
    def text_decoder(self, prompts: Sequence[Sequence[int]]) -> tuple[TextDecoder, Sequence[Sequence[int]]]:
        """Return the encoded sources for the generation loops, and the ids that start each target.

        Args:
            prompts: token ids of each source.

        Raises:
            InputError: a source is longer than ``block_size``, or the start of targets is unknown.
        """
        start_ids = self.start_ids()
        ids_BS, lengths_B = pad_rows(prompts, self.device)
        mask_BS = torch.arange(ids_BS.size(1), device=self.device) < lengths_B.unsqueeze(1)
        is_padded = bool((lengths_B != ids_BS.size(1)).any())
        decoder = SourceDecoder(self.backbone, ids_BS, mask_BS if is_padded else None)
        return decoder, [start_ids] * len(prompts)

    def start_ids(self) -> list[int]:
        """Return the token ids before the first token of a target.

        Raises:
            InputError: they are unknown.
        """
        if self.decoder_start_ids is None:
            raise InputError(
                "model.decoder_start_ids is unknown, because the model has not been trained with a tokenizer. Set it "
                "to the token ids that start a target"
            )
        return self.decoder_start_ids

    def _hidden_states(self, batch: Mapping[str, Any]) -> Tensor:
        source = {"source_ids": batch["input_ids"], "source_mask": batch["attention_mask"]}
        hidden_BTC: Tensor = self.backbone(batch["decoder_input_ids"], **source)
        return hidden_BTC
