"""Decisions of the language models: the token after a prompt, and the tokens of a target.

B rows, T tokens, S source tokens, C channels, P predicted tokens, V vocabulary.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from gpt_lightning.data.prompts import Prompt
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.candidates import TokenTexts
from gpt_lightning.evaluation.explain.decision import (
    Decision,
    Found,
    Reading,
    RowDecisions,
    Rows,
    at_places,
    example_of,
    window_ids,
)
from gpt_lightning.evaluation.explain.model_input import (
    LAYOUT,
    EncodedText,
    InputToken,
    ModelInput,
    decoded_input,
    encode,
    make_input,
    truncated_input,
)
from gpt_lightning.tasks import CausalLM, Seq2SeqLM, Task
from gpt_lightning.tasks.finite import require_finite
from gpt_lightning.tokenizers.tokenizer import Tokenizer

MAX_TARGET_TOKENS: Final = 8
"""Number of target tokens of an encoder-decoder that are explained, each by itself."""


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
        self._texts = TokenTexts(tokenizer)
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
        return "".join(map(self._texts, ids))


class NextTokenDecision(TokenDecision):
    """Tokens after a prompt that a ``CausalLM`` predicts."""

    def __init__(self, task: CausalLM, tokenizer: Tokenizer, prompt: Sequence[int], target_ids: Sequence[int]) -> None:
        ids = [*prompt, *target_ids[:-1]]
        places = range(len(prompt) - 1, len(ids))
        super().__init__(task, tokenizer, ids, target_ids, places, protected=range(len(prompt), len(ids)))
        self.task, self.prompt_ids = task, list(prompt)

    def is_possible(self, kept: Sequence[int]) -> bool:
        """Return whether a token of the prompt is left, whose output predicts the first token."""
        return min(kept, default=len(self.ids)) < len(self.prompt_ids)

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


@torch.no_grad()
def next_tokens(task: CausalLM, tokenizer: Tokenizer, prompt: Prompt, row_id: str, target: str | None) -> RowDecisions:
    """Return the decision about the token after a prompt, or about a given continuation.

    Args:
        task: the model.
        tokenizer: tokenizer of the model.
        prompt: text or chat.
        row_id: id of the prompt.
        target: continuation to explain, which starts with a blank if it is a new word; None explains the most probable
            next token.

    Raises:
        InputError: the prompt is empty, or longer than the context of the model; or the continuation is empty.
    """
    model_input = _prompt_input(tokenizer, prompt)
    ids, block_size = model_input.ids, task.backbone.config.block_size
    if not model_input.text_positions:
        raise InputError("the text is empty, so there is nothing to explain. Give a text")
    continued = [] if target is None else tokenizer.encode_batch([target], are_continuations=True)[0].tolist()
    if target is not None and not continued:
        raise InputError("the target is empty. Give the text that follows")
    if len(ids) + max(len(continued) - 1, 0) > block_size:
        raise InputError(
            f"the text has {len(ids) + max(len(continued) - 1, 0)} tokens, more than the context of the model, "
            f"{block_size} tokens. Shorten it"
        )
    decision = NextTokenDecision(task, tokenizer, ids, continued or [0])
    if not continued:
        rows = decision.rows([range(len(ids))])
        logits = decision.logits(rows)
        require_finite(logits, [row_id])
        decision = NextTokenDecision(task, tokenizer, ids, [int(logits.argmax())])
    texts = TokenTexts(tokenizer)
    after = [InputToken(index, texts(index), LAYOUT) for index in continued[:-1]]
    whole = ModelInput([*model_input.tokens, *after], model_input.words)
    is_text = isinstance(prompt.content, str)
    shown = prompt.content if is_text else "".join(token.text for token in model_input.tokens)
    return RowDecisions(row_id, {"text": str(shown)}, [Found(decision, whole)])


def _prompt_input(tokenizer: Tokenizer, prompt: Prompt) -> ModelInput:
    """Return the input of a prompt; special tokens in it belong to no text."""
    if not isinstance(prompt.content, str):
        return decoded_input(tokenizer, prompt.encode(tokenizer, is_chat=False, is_raw=False), "text")
    encoding = tokenizer.published_encoding(prompt.content)
    places = [place for place, sequence in enumerate(encoding.sequence_ids) if sequence is not None]
    if not places:
        return make_input(tokenizer, [], encoding.ids)
    ids, offsets = torch.tensor(encoding.ids), torch.tensor(encoding.offsets)
    text = EncodedText("text", prompt.content, ids[places].numpy(), offsets[places].numpy())
    sources: list[tuple[int, int] | int] = list(encoding.ids)
    for number, place in enumerate(places):
        if encoding.ids[place] not in tokenizer.special_ids:
            sources[place] = 0, number
    found = make_input(tokenizer, [text], sources)
    return ModelInput(found.tokens, found.words)  # special tokens are not cut


def source_decisions(task: Seq2SeqLM, batch: Mapping[str, Any], reading: Reading) -> Iterator[RowDecisions]:
    """Yield the decisions about each source of a batch: the first tokens of its target.

    Raises:
        InputError: the given target is empty, or the start of targets is unknown.
    """
    tokenizer, starts = reading.tokenizer, task.start_ids()
    count = min(MAX_TARGET_TOKENS, task.backbone.config.block_size - len(starts))
    given = None if reading.target is None else tokenizer.encode(reading.target)[:count]
    if given == []:
        raise InputError("the target is empty. Give a target text")
    for row, name in enumerate(batch.get("ids", map(str, range(len(batch["input_ids"]))))):
        ids = window_ids(batch, row)
        model_input = _source_input(task, ids, name, reading)
        target = given or _generate(task, tokenizer, ids, count)
        found = [
            Found(TargetTokenDecision(task, tokenizer, ids, starts, target[:length]), model_input)
            for length in range(1, len(target) + 1)
        ]
        text = "".join(token.text for token in model_input.tokens if token.part != LAYOUT)
        yield RowDecisions(name, {"source": text}, found)


def _source_input(task: Seq2SeqLM, ids: list[int], name: str, reading: Reading) -> ModelInput:
    """Return the input of a source, with its text if the data module has it."""
    example = example_of(reading.module, name)
    if hasattr(example, "source"):
        text = encode(reading.tokenizer, "source", example.source)
        found = truncated_input(reading.tokenizer, reading.layout, [text], task.backbone.config.block_size)
        if found.ids == ids:
            return found
    return decoded_input(reading.tokenizer, ids, "source")


def _generate(task: Seq2SeqLM, tokenizer: Tokenizer, source: Sequence[int], count: int) -> list[int]:
    """Return the first greedy tokens of the target, with the token that ends it."""
    ids = torch.tensor([source], device=task.device)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids, dtype=torch.bool)}
    (answer,) = task.generate_answers(batch, max_new_tokens=count, stop_ids=sorted(tokenizer.end_ids))
    return [*answer.ids, *([] if answer.stop_id is None else [answer.stop_id])][:count]
