"""Decisions of the language models: the next token, or given tokens.

B rows, T tokens, S source tokens, C channels, P predicted tokens, V vocabulary.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from gpt_lightning.evaluation.explain.decision import Decision, Rows, at_places
from gpt_lightning.tasks import CausalLM, Seq2SeqLM, Task
from gpt_lightning.tokenizers.tokenizer import Tokenizer


class TokenDecision(Decision):
    """Tokens that a language model predicts. The score is the sum of their log-probabilities.

    Args:
        task: the model.
        tokenizer: tokenizer of the model.
        ids: token ids of the input.
        target_ids: ids of the explained tokens.
        places: positions whose outputs predict them.
        protected: positions of the tokens that are never removed.
        subject: text before the token in a longer target.
    """

    kind, unit = "token", "log-probability in nats"

    def __init__(
        self,
        task: Task,
        tokenizer: Tokenizer,
        ids: Sequence[int],
        target_ids: Sequence[int],
        places: Sequence[int],
        *,
        protected: Sequence[int] = (),
        subject: str = "",
    ) -> None:
        self.tokenizer = tokenizer
        super().__init__(task, ids, self._name(target_ids), places, protected=protected, subject=subject)
        self.target_ids = torch.tensor(target_ids, device=task.device)

    @abstractmethod
    def hidden_states(self, rows: Rows) -> Tensor:
        """Return the hidden states that predict the tokens, (B, P, C)."""

    def logits(self, rows: Rows) -> Tensor:
        """Return the logits of the predicted tokens, (B, P, V)."""
        logits_BPV: Tensor = self.model.head(self.hidden_states(rows))
        return logits_BPV.float()

    def scores(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the sum of the log-probabilities of the tokens."""
        index = self.target_ids.expand(logits.shape[:2]).unsqueeze(2)
        return logits.log_softmax(2).gather(2, index).sum((1, 2))

    def outcomes(self, logits: Tensor, rows: Rows) -> list[str]:
        """Return the target if each of its tokens is the most probable one, else the first token that differs."""
        best_BP = logits.argmax(2)
        names = []
        for best, is_equal in zip(best_BP, best_BP == self.target_ids, strict=True):
            first = int(is_equal.long().argmin())
            names.append(self.target if bool(is_equal.all()) else self._name([int(best[first])]))
        return names

    def probabilities(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the probability of all tokens."""
        return self.scores(logits, rows).exp()

    def _name(self, ids: Sequence[int]) -> str:
        """Return the text of ids, or their tokens if they have no text of their own."""
        text = self.tokenizer.decode(ids)
        return text if text and "\ufffd" not in text else "".join(map(self.tokenizer.token, ids))


class NextTokenDecision(TokenDecision):
    """Tokens after a prompt that a ``CausalLM`` predicts."""

    def __init__(
        self, task: CausalLM, tokenizer: Tokenizer, prompt: Sequence[int], target_ids: Sequence[int]
    ) -> None:
        ids = [*prompt, *target_ids[:-1]]
        places = range(len(prompt) - 1, len(ids))
        super().__init__(task, tokenizer, ids, target_ids, places, protected=range(len(prompt), len(ids)))
        self.task = task

    def place(self, kept: Sequence[int], place: int) -> int:
        """Return the place of an output, counted from the end, because the last token of the prompt may be removed."""
        return len(kept) - len(self.ids) + place

    def hidden_states(self, rows: Rows) -> Tensor:
        """Return the hidden states that predict the tokens, (B, P, C)."""
        order_T = torch.arange(rows.input_ids.size(1), device=rows.input_ids.device)
        hidden_BTC = self.task.backbone(
            rows.input_ids, attention_mask=rows.attention_mask, prefix_mask=order_T <= rows.places[:, :1]
        )
        return at_places(hidden_BTC, rows.places)


class TargetTokenDecision(TokenDecision):
    """Token of a target text that a ``Seq2SeqLM`` predicts from the source and the target before it.

    Args:
        task: the model.
        tokenizer: tokenizer of the model.
        source: token ids of the source.
        start_ids: token ids before the target.
        target_ids: token ids of the target up to the explained token.
    """

    kind: ClassVar[str] = "token"

    def __init__(
        self,
        task: Seq2SeqLM,
        tokenizer: Tokenizer,
        source: Sequence[int],
        start_ids: Sequence[int],
        target_ids: Sequence[int],
    ) -> None:
        before = tokenizer.decode(target_ids[:-1])
        super().__init__(task, tokenizer, source, target_ids[-1:], (), subject=before)
        self.task = task
        self.decoder_ids = torch.tensor([*start_ids, *target_ids[:-1]], device=task.device)

    def hidden_states(self, rows: Rows) -> Tensor:
        """Return the hidden state that predicts the token, (B, 1, C)."""
        hidden_BTC: Tensor = self.task.backbone(
            self.decoder_ids.expand(len(rows.input_ids), -1),
            source_ids=rows.input_ids,
            source_mask=rows.attention_mask,
        )
        return hidden_BTC[:, -1:]
