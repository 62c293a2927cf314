"""Error for a model whose output holds NaN or infinity, which no prediction may hide."""

from collections.abc import Sequence

from torch import Tensor

from gpt_lightning.errors import RunError


def require_finite(scores: Tensor, row_ids: Sequence[object]) -> None:
    """Check that the scores of a batch are finite.

    Args:
        scores: scores of all rows of a batch.
        row_ids: ids of the rows, for the message.

    Raises:
        RunError: a score is not finite.
    """
    if not scores.isfinite().all():
        raise non_finite_output(row_ids[0] if len(row_ids) else None)


def non_finite_output(row_id: object) -> RunError:
    """Return the error for output that is not finite, at or after the row ``row_id`` if it is known."""
    where = "" if row_id is None else f" near row {row_id!r}"
    return RunError(
        f"the output of the model is not finite (NaN or infinity){where}. Its weights are damaged or too large: use an "
        "earlier checkpoint, or compute in full precision with --trainer.precision=32-true"
    )
