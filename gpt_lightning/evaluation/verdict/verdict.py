"""Verdict on a tested model: baselines, intervals, calibration, and overlap of test with training rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.labeled import Labeled
from gpt_lightning.data.language_modeling import LanguageModeling
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.verdict import tfidf
from gpt_lightning.evaluation.verdict.baselines import KNOWN, Baselines, Rows, baselines_for
from gpt_lightning.evaluation.verdict.calibration import reliability
from gpt_lightning.evaluation.verdict.comparison import TFIDF, TRIVIAL, Comparison, compare, sentences
from gpt_lightning.evaluation.verdict.learning_curve import learning_curve, parts_of
from gpt_lightning.evaluation.verdict.prediction_cache import PredictionCache
from gpt_lightning.evaluation.verdict.row_overlap import row_overlap
from gpt_lightning.evaluation.verdict.text_overlap import text_overlap
from gpt_lightning.metrics.row_statistics import Columns, RowStatistics
from gpt_lightning.output_files import replace_non_finite
from gpt_lightning.status import status

Mask = NDArray[np.bool_]

MAX_TRAIN_ROWS: Final = 20_000
"""Number of training rows that baselines are trained on; of more rows, a random sample is taken."""

NO_TRAINING_ROWS: Final = (
    "There is no comparison with baselines, because no training data is given. Add it with -c RUN/config.yaml or "
    "--data.train=FILE."
)

UNREADABLE_TRAINING_ROWS: Final = "There is no comparison with baselines, because the training data cannot be read."
OTHER_TRAINING_ROWS: Final = (
    "There is no comparison with baselines, because the training data is not that of the model, or is read with other "
    "settings. Add -c RUN/config.yaml, and start the test in the folder where the model was trained."
)
OTHER_TEST_ROWS: Final = (
    "There is no comparison with baselines, because the tested rows cannot be matched with the test data by their ids."
)
UNREADABLE_TRAINING_TEXT: Final = (
    "The tested text is not searched in the training text, because the training data cannot be read."
)


def make_verdict(
    data: DataModule | None,
    rows: RowStatistics,
    *,
    unigram: Columns | None = None,
    temperature: float | None = None,
    with_learning_curve: bool = False,
    why_not_train: str | None = None,
) -> dict[str, Any] | None:
    """Return the verdict as JSON values; None for a task that keeps no statistics of its rows.

    Args:
        data: the data module.
        rows: statistics of the tested rows.
        unigram: statistics of the same rows for a unigram model, for language models.
        temperature: temperature behind the column ``calibrated_confidence``, if it is there.
        with_learning_curve: extrapolate the learning curve of TF-IDF.
        why_not_train: note about training rows that cannot be used; None if they can.
    """
    columns, verdict = rows.columns(), _Verdict(rows)
    if why_not_train is not None:
        verdict.notes.append(why_not_train)
    if not columns:
        return None
    if isinstance(data, LanguageModeling):
        verdict.language_model(data, columns, unigram)
    elif isinstance(data, Labeled) and why_not_train is None:
        verdict.labeled(data, columns, with_learning_curve)
    else:
        verdict.compare(columns, {})
    if len(columns.get("confidence", ())):
        verdict.calibration(columns, temperature)
    if rows.num_left_out:
        verdict.notes.append(f"{rows.num_left_out:,} rows beyond the first {len(rows.ids):,} are left out.")
    return verdict.record()


@dataclass(frozen=True)
class _Training:
    """Training and validation examples for baselines.

    Attributes:
        all: all training examples, without counterfactual twins.
        fitted: those that baselines are trained on, with their twins.
        validation: examples that select the regularization.
    """

    all: Sequence[Any]
    fitted: Sequence[Any]
    validation: Sequence[Any]


class _Verdict:
    """Verdict in the making.

    Args:
        rows: statistics of the tested rows.
    """

    def __init__(self, rows: RowStatistics) -> None:
        self._rows = rows
        self._parts: dict[str, Any] = {}
        self.notes: list[str] = []

    def record(self) -> dict[str, Any] | None:
        """Return all parts as JSON values."""
        if not self._parts:
            return None
        found: dict[str, Any] = replace_non_finite({**self._parts, "notes": self.notes})
        return found

    def compare(self, columns: Columns, baselines: dict[str, tuple[str, Columns]]) -> Comparison | None:
        """Add the scores of the model and of baselines."""
        with status("Resampling the tested rows"):
            found = compare(self._rows.scores, columns, baselines)
        if found is not None:
            self._parts |= asdict(found) | {"sentences": sentences(found, self._rows.scores)}
        return found

    def calibration(self, columns: Columns, temperature: float | None) -> None:
        """Add the calibration error, and with a temperature that after scaling."""
        part: dict[str, Any] = asdict(reliability(columns["confidence"], columns["correct"]))
        if temperature is not None and "calibrated_confidence" in columns:
            after = reliability(columns["calibrated_confidence"], columns["correct"])
            part |= {"temperature": temperature, "after": asdict(after)}
        self._parts["calibration"] = part

    def language_model(self, data: LanguageModeling, columns: Columns, unigram: Columns | None) -> None:
        """Add the comparison with a unigram model, and the overlap of the tested text with the training text."""
        baselines = {} if unigram is None else {TRIVIAL: ("unigram model of the training text", unigram)}
        self.compare(columns, baselines)
        if unigram is None:
            return
        try:
            with status("Searching the tested text in the training text"):
                found = text_overlap(*((piece.text for piece in data.pieces(split)) for split in ("train", "test")))
        except InputError as error:  # a row beyond the part of the text that the unigram model reads
            data.report("train", f"not used for the verdict: {error}")
            self.notes.append(UNREADABLE_TRAINING_TEXT)
        else:
            self._parts["text_overlap"] = asdict(found)

    def labeled(self, data: Labeled[Any], columns: Columns, with_learning_curve: bool) -> None:
        """Add the comparison with baselines on the same rows, the overlap, and the learning curve."""
        rows = {name: row for row, name in enumerate(self._rows.ids)}
        # The order of the data, as that of the test depends on the batch size and on the number of devices.
        tested = [example for example in data.examples("test") if str(example.id) in rows]
        training = self._training(data)
        if training is not None and not all(isinstance(each, KNOWN) for each in (*training.all, *tested)):
            self.notes.append(f"There are no baselines for the rows of {type(data).__name__}.")
            training = None
        if training is not None and len(tested) != len(self._rows.ids):
            self.notes.append(OTHER_TEST_ROWS)
            training = None
        if training is None:
            self.compare(columns, {})
            return
        order = [rows[str(example.id)] for example in tested]
        columns = {name: values[order] for name, values in columns.items()}
        found = baselines_for(data, training.fitted)
        counted = next((score.counted for score in self._rows.scores if score.is_in(columns)), None)
        is_scored = np.zeros(len(tested), dtype=np.bool_) if counted is None else columns[counted] > 0
        test = [example for example, scored in zip(tested, is_scored, strict=True) if scored]
        fitted = {} if found is None or not test else self._fit(data, found, training, test, is_scored)
        comparison = self.compare(columns, fitted)
        self._parts["train_rows"] = len(training.all)
        self._parts["overlap"] = asdict(row_overlap(training.all, tested, PredictionCache(_folder(data))))
        if with_learning_curve and found is not None and comparison is not None:
            self._learning_curve(data, found, training, test, is_scored, comparison)

    def _training(self, data: Labeled[Any]) -> _Training | None:
        """Return the rows for baselines; None, and a note, if they are missing or cannot be read."""
        if not data.sources["train"]:
            self.notes.append(NO_TRAINING_ROWS)
            return None
        with status("Reading the training data"):
            train, with_twins = _training_examples(data)
            validation = readable_examples(data, "validation") if data.has_validation else []
        if not train:
            self.notes.append(UNREADABLE_TRAINING_ROWS)
            return None
        data.report("train", f"the verdict uses {len(train):,} rows of {data.sources['train']}")
        fitted: Sequence[Any] = sample(train, MAX_TRAIN_ROWS)
        if len(fitted) < len(train):
            self.notes.append(f"The baselines are trained on {len(fitted):,} of {len(train):,} training rows.")
        if not validation:  # every tenth training row selects the regularization
            validation = fitted[::10]
            fitted = [example for number, example in enumerate(fitted) if number % 10] or [*fitted]
        if len(with_twins) > len(train):  # a twin has the id of its example
            chosen = {str(example.id) for example in fitted}
            fitted = [example for example in with_twins if str(example.id) in chosen]
        return _Training(train, fitted, sample(validation, MAX_TRAIN_ROWS))

    def _fit(
        self, data: Labeled[Any], found: Baselines, training: _Training, test: Sequence[Any], is_scored: Mask
    ) -> dict[str, tuple[str, Columns]]:
        """Return the names and the statistics of the baselines."""
        rows = Rows(training.fitted, training.validation, test)
        fitted = {TRIVIAL: (found.trivial_name, _scatter(found.trivial(rows), is_scored))}
        if found.tfidf is None:
            return fitted
        if not tfidf.is_installed():
            self.notes.append(f"For the comparison with TF-IDF, install scikit-learn: {tfidf.INSTALL}")
            return fitted
        return fitted | {
            TFIDF: (found.tfidf_name, _scatter(found.tfidf(rows, PredictionCache(_folder(data))), is_scored))
        }

    def _learning_curve(
        self,
        data: Labeled[Any],
        found: Baselines,
        training: _Training,
        test: Sequence[Any],
        is_scored: Mask,
        comparison: Comparison,
    ) -> None:
        """Add the learning curve of TF-IDF."""
        score = next(each for each in self._rows.scores if each.name == comparison.metric)
        sizes = parts_of(len(training.fitted))
        has_errors = score.is_share or not score.higher_is_better
        if found.tfidf is None or TFIDF not in comparison.baselines or len(sizes) < 2 or not has_errors:
            self.notes.append("There is no learning curve, because it is that of TF-IDF, which these rows do not have.")
            return
        cache = PredictionCache(_folder(data))
        # Each part is drawn from the next one; all rows keep their order, so that their predictions are cached.
        subsets = [training.fitted]
        for size in reversed(sizes[:-1]):
            subsets.append(sample(subsets[-1], size))
        parts = [found.tfidf(Rows(subset, training.validation, test), cache) for subset in reversed(subsets)]
        curve = learning_curve(score, sizes, [_scatter(part, is_scored) for part in parts])
        self._parts["learning_curve"] = asdict(curve)


def readable_examples(data: Labeled[Any], split: Split) -> Sequence[Any]:
    """Return the examples of a split; none, and a printed line, if they cannot be read.

    The reason is only printed, as it may quote the file, which a stranger's configuration may name.
    """
    try:
        return data.examples(split)
    except InputError as error:
        data.report(split, f"not used for the verdict: {error}")
        return []


def _training_examples(data: Labeled[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the examples that the model was trained on, without and with counterfactual twins; none if unreadable.

    Masked examples are left out.
    """
    found = readable_examples(data, "train")
    try:
        masked = data.masked_ids() if found else set()
    except InputError as error:
        data.report("train", f"not used for the verdict: {error}")
        return [], []
    with_twins = [example for example in found if str(example.id) not in masked]
    if data.counterfactual_swaps is None:
        return with_twins, with_twins
    return [example for example in data.own_examples("train") if str(example.id) not in masked], with_twins


def sample(examples: Sequence[Any], most: int) -> Sequence[Any]:
    """Return at most ``most`` examples in their order, always the same ones."""
    if len(examples) <= most:
        return examples
    chosen = np.random.default_rng(0).choice(len(examples), most, replace=False)
    return [examples[number] for number in sorted(chosen)]


def _scatter(columns: Columns, is_scored: Mask) -> Columns:
    """Return the statistics of all rows, with 0 for those that are not scored."""
    found = {}
    for name, values in columns.items():
        found[name] = np.zeros(len(is_scored))
        found[name][is_scored] = values
    return found


def _folder(data: DataModule) -> Path:
    return data.cache_dir / "baselines"
