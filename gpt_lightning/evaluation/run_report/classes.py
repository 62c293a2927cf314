"""Tables and charts of the classes that a task predicts."""

from collections.abc import Iterator, Sequence
from typing import Final

from markupsafe import Markup

from gpt_lightning.pages.charts import heat_map, line_chart, reliability_diagram
from gpt_lightning.pages.tables import table

MAX_CLASSES: Final = 30
"""Classes of a confusion matrix whose names are readable."""


def class_parts(
    stage: str, names: Sequence[str], per_class: Sequence[Sequence[float]], confusion: Sequence[Sequence[float]]
) -> Iterator[Markup | str]:
    """Yield a table of scores per class and the confusion matrix, as far as they fit the classes.

    Args:
        stage: word for the split, such as ``validation``.
        names: names of the K classes.
        per_class: precision, recall, F1 and support of each class, shape (K, 4).
        confusion: rows of true and columns of predicted classes, shape (K, K).
    """
    if names and len(per_class) == len(names) and len(per_class[0]) == 4:
        yield f"Scores of each class on the {stage} data:"
        rows = [(name, *scores) for name, scores in zip(names, per_class, strict=True)]
        yield table(["class", "precision", "recall", "F1", "support"], rows)
    if names and len(confusion) == len(names) and len(confusion[0]) == len(names):
        kept = _most_confused(confusion)
        title = f"Confusion matrix of the {stage} data: rows are true, columns are predicted classes"
        if len(kept) < len(names):
            title += f" (the {len(kept)} of {len(names)} classes with the most errors)"
        shown = [names[index] for index in kept]
        counts = [[confusion[row][column] for column in kept] for row in kept]
        yield heat_map(counts, title=title, row_labels=shown, column_labels=shown)


def probability_charts(
    reliability: Sequence[Sequence[float]], precision_recall: Sequence[Sequence[float]]
) -> Iterator[Markup]:
    """Yield the reliability diagram and the precision-recall curve of the validation data, as far as there are any.

    Args:
        reliability: mean confidence, accuracy and number of predictions of each bin, shape (bins, 3).
        precision_recall: recall and precision, shape (points, 2).
    """
    if reliability and len(reliability[0]) == 3:
        confidences, accuracies, counts = zip(*reliability, strict=True)
        sizes = [int(count) if 0 < count < 2**53 else 0 for count in counts]
        yield reliability_diagram(confidences, accuracies, sizes, title="Reliability of the validation data")
    if precision_recall and len(precision_recall[0]) == 2:
        points = [(recall, precision) for recall, precision in precision_recall]
        title = "Precision and recall of the validation data, micro-averaged over classes"
        yield line_chart({"validation": points}, title=title, x_label="recall", y_label="precision")


def _most_confused(confusion: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of at most ``MAX_CLASSES`` classes, in order: those in the most errors."""
    size = range(len(confusion))
    errors = [sum(confusion[i]) + sum(row[i] for row in confusion) - 2 * confusion[i][i] for i in size]
    return sorted(sorted(size, key=lambda index: (-errors[index], index))[:MAX_CLASSES])
