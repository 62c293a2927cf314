"""Decision of a model about one input: the output that is explained, and its score.

B rows, T tokens, P places of outputs, L classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from gpt_lightning.data.base import DataModule
from gpt_lightning.data.labeled import Labeled
from gpt_lightning.errors import InputError, unknown_name
from gpt_lightning.evaluation.explain.model_input import ModelInput
from gpt_lightning.tasks import Task
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.tokenizer import Tokenizer


class Rows(NamedTuple):
    """Copies of one input, each with some of its tokens."""

    input_ids: Tensor
    """(B, T) int64, padded on the right."""
    attention_mask: Tensor
    """(B, T) bool; False for padding."""
    positions: Tensor
    """(B, T) int64: position of each token in the complete input; 0 for padding."""
    places: Tensor
    """(B, P) int64: places of the explained outputs in each row."""


class Decision(ABC):
    """Decision of a model about one input.

    Attributes:
        ids: token ids of the complete input.
        target: name of the explained output, such as a label.
        places: positions of the tokens whose outputs decide; empty if the whole text has one output.
        protected: positions of the tokens that the decision is about, which erasure never removes.
        subject: part of the text that the decision is about; empty if that is the whole text.
    """

    kind: ClassVar[str]
    """Word for the output, such as ``label``."""
    unit: ClassVar[str] = "log-odds"
    """Unit of the score."""

    def __init__(
        self,
        task: Task,
        ids: Sequence[int],
        target: str,
        places: Sequence[int] = (),
        *,
        protected: Sequence[int] = (),
        subject: str = "",
    ) -> None:
        self.model: Task = task
        self.ids, self.target, self.places, self.subject = list(ids), target, list(places), subject
        self.protected = frozenset(protected)

    @abstractmethod
    def logits(self, rows: Rows) -> Tensor:
        """Return the outputs that decide, (B, ...) float32."""

    @abstractmethod
    def scores(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the score of the target in each row, (B,)."""

    @abstractmethod
    def outcomes(self, logits: Tensor, rows: Rows) -> list[str]:
        """Return the name of the decision in each row: ``target`` if the model still decides for the target."""

    @abstractmethod
    def probabilities(self, logits: Tensor, rows: Rows) -> Tensor | None:
        """Return the probability of the target in each row, (B,); None if it has none."""

    def rank(self, score: float) -> float:
        """Return a number that is lower, the further a score is from deciding for the target."""
        return score

    def rows(self, kept: Sequence[Sequence[int]]) -> Rows:
        """Return copies of the input with only some of its tokens.

        Args:
            kept: positions of the tokens of each row, in order, for which ``is_possible`` is True.
        """
        assert all(map(self.is_possible, kept))
        device, width = self.model.device, max(map(len, kept))
        positions = torch.tensor([[*row, *[0] * (width - len(row))] for row in kept], device=device)
        lengths = torch.tensor([len(row) for row in kept], device=device)
        places = torch.tensor([[self.place(row, place) for place in self.places] for row in kept], device=device)
        return Rows(
            torch.tensor(self.ids, device=device)[positions],
            torch.arange(width, device=device) < lengths.unsqueeze(1),
            positions,
            places.long(),
        )

    def is_possible(self, kept: Sequence[int]) -> bool:
        """Return whether the model can decide with only some of its tokens, at least one.

        Args:
            kept: positions of the tokens.
        """
        return len(kept) > 0

    def place(self, kept: Sequence[int], place: int) -> int:
        """Return the place of an output in a row.

        Args:
            kept: positions of the tokens of the row.
            place: place of the output in the complete input.
        """
        return list(kept).index(place)


def log_odds(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the log-odds of each target: its logit minus the log-sum-exp of all other logits.

    Args:
        logits: (..., L).
        targets: (...) int64.
    """
    index = targets.unsqueeze(-1)
    others = logits.scatter(-1, index, -torch.inf).logsumexp(-1)
    return logits.gather(-1, index).squeeze(-1) - others


def at_places(values: Tensor, places: Tensor) -> Tensor:
    """Return the vectors of a (B, T, ...) tensor at (B, P) places: (B, P, ...)."""
    rows = torch.arange(len(values), device=values.device).unsqueeze(1)
    return values[rows, places]


class Found(NamedTuple):
    """Decision about a row, with its input."""

    decision: Decision
    input: ModelInput


class RowDecisions(NamedTuple):
    """All decisions about one row, and its texts by name."""

    id: str
    texts: dict[str, str]
    found: list[Found]


class Reading(NamedTuple):
    """Means to read the rows of a head."""

    tokenizer: Tokenizer
    module: DataModule
    """Data module of the rows, after ``setup("predict")``."""
    layout: InputLayout
    """Complete layout of the model's inputs."""
    target: str | None
    """Output to explain in place of the prediction; None explains the prediction."""


def example_of(module: DataModule, name: str) -> Any:
    """Return the parsed row with an id, or None if the data module does not keep its rows."""
    examples = module.examples("test") if isinstance(module, Labeled) else []
    return next((each for each in examples if str(each.id) == name), None)


def window_ids(batch: Mapping[str, Any], window: int) -> list[int]:
    """Return the token ids of a row of ``input_ids`` without padding."""
    ids: list[int] = batch["input_ids"][window][batch["attention_mask"][window].bool()].tolist()
    return ids


def choose(name: str, names: Sequence[str], noun: str) -> int:
    """Return the index of ``name`` in ``names``.

    Raises:
        InputError: it is not there; the message names the nearest one.
    """
    if name in names:
        return names.index(name)
    raise InputError(unknown_name(noun, name, names))
