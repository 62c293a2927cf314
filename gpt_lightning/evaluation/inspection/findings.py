"""Findings of an inspection: problems, which make training wrong, and notes about what may be unintended."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gpt_lightning.data.sources.bad_rows import cause
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.inspection.inspection import InspectedSplit, Inspection
from gpt_lightning.evaluation.inspection.token_rows import NO_ANSWER, OUTSIDE

_MUCH_UNKNOWN: Final = 0.01
_MUCH_PADDING: Final = 0.5
_MAX_NAMES: Final = 5


@dataclass(frozen=True)
class Finding:
    """Something in the data that a person should look at."""

    is_problem: bool
    """True for a problem, which makes training wrong; False for a note."""
    where: str
    """Split, and the location of a row if there is one."""
    what: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The finding in one line."""
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{'problem' if self.is_problem else 'note'}: {self.where}: {self.what}{remedy}"


def findings(inspection: Inspection) -> list[Finding]:
    """Return what is wrong or unusual, problems first."""
    found = [each for split in inspection.splits.values() for each in _split_findings(inspection, split)]
    if (train := inspection.splits.get("train")) and not train.unreadable:
        found += [*_missing_labels(inspection, train), *_overlaps(inspection, train)]
    return sorted(found, key=lambda each: not each.is_problem)


def _split_findings(inspection: Inspection, split: InspectedSplit) -> Iterator[Finding]:
    yield from _invalid_rows(split, is_problem=inspection.stops_at_bad_rows)
    if split.unreadable is not None:
        if not split.invalid_rows:
            yield Finding(True, split.name, split.unreadable)
        return
    yield from _targets(split)
    yield from _cut_rows(split)
    yield from _answers(split)
    yield from _repeats(split)
    if split.name == "train":
        yield from _equal_labels(split, has_word_labels=inspection.has_word_labels)
    found = split.statistics
    if found.unknown_share > _MUCH_UNKNOWN:
        share = f"{found.unknown_share:.1%} of the tokens are unknown to the tokenizer"
        yield Finding(False, split.name, share, "Choose a tokenizer that was trained on such text, or bpe:SIZE")
    if found.padding_share > _MUCH_PADDING and split.name == "train":
        share = f"{found.padding_share:.0%} of each batch is padding, on average"
        yield Finding(False, split.name, share, "Lower --data.batch_size, or shorten the longest rows")


def _invalid_rows(split: InspectedSplit, *, is_problem: bool) -> Iterator[Finding]:
    """Yield one finding for each cause."""
    groups: dict[str, list[InputError]] = defaultdict(list)
    for error in split.invalid_rows:
        groups[cause(error)].append(error)
    for errors in sorted(groups.values(), key=len, reverse=True):
        where, _, reason = str(errors[0]).partition(": ")
        others = f" (and {counted(len(errors) - 1, 'more row')} like it)" if len(errors) > 1 else ""
        skipped = "" if is_problem else ". Such rows are skipped (--data.on_bad_row=skip)"
        yield Finding(is_problem, f"{split.name}: {where}", f"invalid row{others}: {reason}{skipped}")


def _targets(split: InspectedSplit) -> Iterator[Finding]:
    found = split.statistics
    if not found.num_targets:
        yield Finding(True, split.name, "no token or row is trained", "Check the columns of labels or answers")
    if found.num_wrong_labels:
        wrong = f"{found.num_wrong_labels:,} labels of next-token prediction are not the next token"
        yield Finding(True, split.name, wrong, "Shift labels by one in the data module")


def _cut_rows(split: InspectedSplit) -> Iterator[Finding]:
    cut, total = split.cut_rows, max(len(split.locations), len(split.cut_rows))
    if not cut:
        return
    longest = max(cut, key=lambda row: row.num_cut)
    tokens = sum(row.num_cut for row in cut)
    what = (
        f"{'every row' if len(cut) == total else f'{len(cut):,} of {total:,} rows'} will be cut and lose {tokens:,} "
        f"tokens; this one loses {longest.num_cut:,} of {longest.num_tokens:,}"
    )
    remedy = f"Raise {longest.option}, or shorten these rows"
    yield Finding(len(cut) == total, f"{split.name}: {longest.where}", what, remedy)


def _answers(split: InspectedSplit) -> Iterator[Finding]:
    spans = split.spans
    if spans is None:
        return
    if not spans.num_answers and split.name == "train":
        yield Finding(True, split.name, "no question has an answer", "Check --data.answers_column")
    if lost := spans.lost:
        what = f"{len(lost):,} of {spans.num_answers:,} answers are in no window, so {NO_ANSWER!r} is trained"
        yield Finding(True, f"{split.name}: {split.where(lost[0])}", what, "Raise --data.stride above their length")
    if changed := spans.changed:
        first = changed[0]
        what = (
            f"{len(changed):,} of {spans.num_answers:,} answers differ from the text of their tokens: "
            f"{short_repr(first.given)} became {short_repr(first.found)}"
        )
        remedy = "Choose a tokenizer that begins a token where the answers begin"
        yield Finding(2 * len(changed) > spans.num_answers, f"{split.name}: {split.where(first.id)}", what, remedy)


def _equal_labels(split: InspectedSplit, *, has_word_labels: bool) -> Iterator[Finding]:
    """Yield a finding if nothing can be learned, because all rows or words have the same label."""
    found = split.statistics
    if has_word_labels and found.num_targets > 1 and len(found.label_counts) == 1:
        (name,) = found.label_counts
        what = f"all {found.num_targets:,} labeled words have the tag {short_repr(name)}"
        yield Finding(True, split.name, what, "Check the column of tags or spans")
    labels = next(iter(found.distinct_labels), None)
    if not has_word_labels and len(found.distinct_labels) == 1 and labels is not None and split.spans is None:
        name = short_repr(", ".join(labels)) if labels else "no label"
        what = f"all {found.num_targets:,} rows have the same label: {name}"
        yield Finding(True, split.name, what, "Check --data.label_column, or add rows with other labels")


def _repeats(split: InspectedSplit) -> Iterator[Finding]:
    found = split.statistics
    if found.contradictions:
        first = found.contradictions[0]
        rows, other = counted(len(found.contradictions), "row"), split.where(first.first_id)
        what = f"{rows} with the text of an earlier row, such as {other}, but with a different label"
        yield Finding(False, f"{split.name}: {split.where(first.id)}", what, "Choose one label for equal texts")
    if found.repeats:
        first = found.repeats[0]
        share = len(found.repeats) / found.num_parts
        rows = counted(len(found.repeats), "row" if split.locations else "document")
        what = f"{rows} ({share:.1%}) equal to an earlier one, such as {split.where(first.first_id)}"
        yield Finding(False, f"{split.name}: {split.where(first.id)}", what, "Remove them if they are not intended")


def _missing_labels(inspection: Inspection, train: InspectedSplit) -> Iterator[Finding]:
    """Yield findings about labels that no training row has."""
    is_word = inspection.has_word_labels
    trained = {_type(name, is_word) for name in train.statistics.label_counts}
    absent = set()
    for split in inspection.splits.values():
        found = split.statistics
        missing = [name for name in found.label_counts if _type(name, is_word) not in trained]
        for name in missing if inspection.label_names else []:
            absent.add(_type(name, is_word))
            times = counted(found.label_counts[name], "time")
            what = f"the label {short_repr(name)} occurs {times} here, but never in train"
            remedy = "Add training rows with it, or remove these rows"
            yield Finding(True, f"{split.name}: {split.where(found.first_label_ids[name])}", what, remedy)
    names = {_type(name, is_word) for name in inspection.label_names}
    if unused := sorted(names - trained - absent - {OUTSIDE}):
        more = ", ..." * (len(unused) > _MAX_NAMES)
        what = f"no row has the label {', '.join(map(short_repr, unused[:_MAX_NAMES]))}{more}"
        yield Finding(False, "train", what, "Remove it from --data.labels if it is not needed")


def counted(number: int, name: str) -> str:
    """Return a number with the name of what is counted, such as ``1 row`` or ``2 rows``."""
    return f"{number:,} {name}{'s' * (number != 1)}"


def _type(label: str, is_word_label: bool) -> str:
    """Return the type of an entity tag such as ``B-PER``, and any other label unchanged."""
    return label[2:] if is_word_label and label[1:2] == "-" else label


def _overlaps(inspection: Inspection, train: InspectedSplit) -> Iterator[Finding]:
    """Yield findings about evaluation rows that are training rows, too."""
    for split in inspection.splits.values():
        own, others = split.statistics.first_ids, train.statistics.first_ids
        shared = [key for key in own if key in others] if split.name != "train" else []
        if not shared:
            continue
        every = len(shared) == len(own)
        number = "every row is" if every else f"{len(shared):,} of {len(own):,} distinct rows are"
        first = shared[0]
        what = f"{number} also in train, such as {train.where(others[first])}"
        remedy = f"Remove them from one of the two{', or hold rows out with --data.validation=0.1' if every else ''}"
        yield Finding(every, f"{split.name}: {split.where(own[first])}", what, remedy)
