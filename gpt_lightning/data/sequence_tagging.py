"""Data module for token classification, such as named entity recognition."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from gpt_lightning.batch import IGNORE_INDEX, TokenClassificationBatch
from gpt_lightning.data.base import CutRow, Split
from gpt_lightning.data.labeled import Labeled
from gpt_lightning.data.labels import LabelReader, SavedLabels, label_reader, read_labels
from gpt_lightning.data.length_batching import InMemoryRows, digest, mask, pad
from gpt_lightning.data.settings import LabeledSettings
from gpt_lightning.data.sources.conll import ConllRow
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.data.sources.source import filled_text, row_id, row_value
from gpt_lightning.data.spans import Align, Words, check_alignment, read_spans, spans_to_tags
from gpt_lightning.data.tag_schemes import SCHEMES, FileScheme, check_tags, find_scheme
from gpt_lightning.data.tag_windows import TagWindow, tag_windows
from gpt_lightning.data.tags import convert_tags, merge_tags, scheme_of, tag_names
from gpt_lightning.data.word_joining import raw_texts
from gpt_lightning.data.word_rules import ChosenRules, WordRule, choose_rules, split_by_rules
from gpt_lightning.data.word_swaps.swaps import Swap
from gpt_lightning.data.word_tokens import WordTokens, assign_tokens, encode_separately
from gpt_lightning.errors import InputError
from gpt_lightning.ranges import check_count
from gpt_lightning.unpack import Unpack


@dataclass(frozen=True, slots=True)
class TaggedText:
    """Text with the (start, stop) characters of its words and their tags, which are empty for ``predict``."""

    id: str
    text: str
    words: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    where: str
    has_given_words: bool = True
    """True if the row gave the words; False if its text was split."""
    raw_text: str | None = None
    """Text column of a row that gave the words."""


class SequenceTagging(Labeled[TaggedText]):
    """Words with one tag each, such as named entities or slots.

    Rows contain either words and tags, or a text and its spans. Words and tags are columns of JSONL, Parquet or hub
    rows, or CoNLL files (``.conll``) with one word per line, and a blank line between texts. Each word is tokenized
    separately and labeled at one of its tokens, which keeps words and tags aligned.

    Tags may have the schemes IOB1, IOB2 (BIO), BIOES or BILOU. The scheme of each file is detected.

    Args:
        tokens_column: column with the list of words.
        tags_column: column with the list of tags, one per word.
        text_column: column with the text, for rows without words and rows with spans.
        spans_column: column with a list of ``{"start", "end", "label"}`` in characters; an optional ``"text"`` must
            equal that part of the text. Set it if the rows have spans; by default, they have words and tags.
        conll_columns: numbers of the columns of CoNLL files with the word and with its tag. Columns are counted from 0,
            and negative numbers from the last column, -1.
        align: ``strict`` refuses spans that begin or end inside of a word or with whitespace; ``expand`` tags all words
            that a span overlaps.
        labels: all tags in the order of their numbers: a list, or a file with a JSON list or one tag per line. By
            default, O and the tags of the sorted types in the training rows. Set it if the rows contain numbers instead
            of tags.
        model_labels: tags of the checkpoint, as JSON. ``test``, ``predict`` and resumed runs set it.
        scheme: tagging scheme of the model. Rows in all schemes are converted to it. If ``labels`` are set or come from
            a checkpoint, their scheme is used instead.
        word_rules: rules by which texts without words are split: ``clitics`` (do n't), ``apostrophes`` (N'Djamena),
            ``hyphens``, ``periods`` (3.14), ``symbols`` (AT&T), ``abbreviations`` (U.S.), ``mentions`` (@name, #tag),
            ``urls``, ``runs`` (...), ``whitespace``. An empty list splits at every punctuation character. By default,
            the rules that best reproduce the words of the training rows; a checkpoint has those of its training.
        pooling: token of each word that is labeled, the ``first`` or the ``last``. It follows the model's
            (``model.pooling``): set it there.
        stride: minimum number of tokens that neighboring windows of a long text share. Each word is evaluated once, in
            the window with the most context around it. More overlap gives more context and takes longer.
    """

    batch: ClassVar[type] = TokenClassificationBatch
    hold_out_attribute: ClassVar[str] = "text"
    supports_copies: ClassVar[bool] = True
    new_in_each_run: ClassVar[frozenset[str]] = Labeled.new_in_each_run | {"labels", "model_labels"}
    takes_from_model: ClassVar[Mapping[str, str]] = {**Labeled.takes_from_model, "pooling": "pooling"}

    def __init__(
        self,
        tokens_column: str = "tokens",
        tags_column: str = "tags",
        text_column: str = "text",
        spans_column: str | None = None,
        conll_columns: tuple[int, int] = (0, -1),
        align: Align = "strict",
        labels: str | list[str] | None = None,
        model_labels: str | None = None,
        scheme: Literal["BIO", "BIOES"] = "BIO",
        word_rules: list[WordRule] | None = None,
        pooling: Literal["first", "last"] = "first",
        stride: int = 32,
        **settings: Unpack[LabeledSettings],
    ) -> None:
        super().__init__(**settings)
        check_count("--data.stride", stride, least=0)
        self.tokens_column = tokens_column
        self.tags_column = tags_column
        self.text_column = text_column
        self.spans_column = spans_column
        self.conll_columns = conll_columns
        self.align = align
        self.given_labels = labels
        self.given_word_rules = word_rules
        self.saved_labels = None if model_labels is None else SavedLabels.from_json(model_labels)
        known = self.saved_labels.names if self.saved_labels is not None else labels and read_labels(labels)
        self.scheme = scheme_of(known) if known else scheme
        self.pooling = pooling
        self.stride = stride

    @cached_property
    def labels(self) -> list[str]:
        """Tags in the order of their numbers."""
        if self.saved_labels is not None:
            return self.saved_labels.names
        if self.given_labels is not None:
            return list(read_labels(self.given_labels))
        types = {tag[2:] for example in self.source_examples("train") for tag in example.tags if tag != "O"}
        return tag_names(sorted(types), self.scheme)

    @cached_property
    def word_rules(self) -> list[WordRule]:
        """Rules by which texts without words are split."""
        return self._chosen_rules.rules if self.given_word_rules is None else self.given_word_rules

    @cached_property
    def _chosen_rules(self) -> ChosenRules:
        """Rules that best reproduce the words of the training rows; none if the rows have texts without words."""
        if not self.sources["train"] or self.spans_column is not None:
            return ChosenRules([], 0, [])
        examples = [example for example in self.source_examples("train") if example.has_given_words]
        words = [[example.text[start:stop] for start, stop in example.words] for example in examples]
        return choose_rules(raw_texts(words, [example.raw_text for example in examples]))

    def training_texts(self) -> Iterator[str]:
        """Yield the training texts."""
        return (example.text for example in self.examples("train"))

    def label_counts(self) -> tuple[Counter[str], int]:
        """Return how many words of the training rows have each tag, and their number."""
        counts = Counter(tag for example in self.examples("train") for tag in example.tags)
        return counts, counts.total()

    # --- Rows

    def parse_rows(self, rows: Iterator[Row], split: Split, has_labels: bool) -> Iterator[TaggedText | InputError]:
        """Yield the text and the words of each row and, with ``has_labels``, their tags."""
        reader = label_reader(self, collects=not has_labels or split == "train")
        rows = (row.choose(self.conll_columns, has_labels) if isinstance(row, ConllRow) else row for row in rows)
        schemes: Mapping[str, FileScheme] = {}
        if has_labels and self.spans_column is None:
            rows, schemes = self._with_schemes(rows, reader)
        for number, row in enumerate(rows):
            try:
                text, words = self._words(row, split)
                scheme = schemes.get(_file(row), SCHEMES[0])
                tags = self._tags(row, text, words, reader, scheme) if has_labels else ()
                has_words = not self._is_text(row)
                raw_text = row.fields.get(self.text_column) if has_words and split == "train" else None
                name = row_id(row, self.id_column, number)
                yield TaggedText(
                    name, text, words, tags, row.where, has_words, raw_text if isinstance(raw_text, str) else None
                )
            except InputError as error:
                yield error

    def swapped(self, example: TaggedText, swap: Swap) -> TaggedText:
        """Return a text with swapped words, which have the tags of the original words."""
        new = swap(example.text)
        words = tuple(new.moved(start, stop) for start, stop in example.words)
        return replace(example, text=new.text, words=words, raw_text=None)

    def _with_schemes(self, rows: Iterable[Row], reader: LabelReader) -> tuple[Iterator[Row], dict[str, FileScheme]]:
        """Return all rows, and the tagging scheme of each file."""
        kept, tags = [], defaultdict[str, list[Sequence[Any]]](list)
        for row in rows:
            kept.append(row)
            with suppress(InputError):
                values = row_value(row, self.tags_column, "--data.tags_column")
                if isinstance(values, list):
                    tags[_file(row)].append(self._named_tags(values, reader, row.where))
        return iter(kept), {file: find_scheme(texts) for file, texts in tags.items()}

    def _is_text(self, row: Row) -> bool:
        """Return whether a row has a text without words."""
        return self.spans_column is not None or (
            self.tokens_column not in row.fields and self.text_column in row.fields
        )

    def _words(self, row: Row, split: Split) -> tuple[str, tuple[tuple[int, int], ...]]:
        """Return the text of a row and the (start, stop) character offsets of its words."""
        if self._is_text(row):
            text = filled_text(row, self.text_column)
            # The rules are chosen after the training rows are read.
            rules = self.given_word_rules or [] if split == "train" else self.word_rules
            return text, tuple(split_by_rules(text, rules))
        tokens = row_value(row, self.tokens_column, "--data.tokens_column")
        if not isinstance(tokens, list) or not tokens:
            raise InputError(
                f"{row.where}: column {self.tokens_column!r} is {short_repr(tokens)}, not a list of words; fix this row"
            )
        words, start = [], 0
        for number, token in enumerate(tokens):
            if not isinstance(token, str) or not token or token.isspace():
                raise InputError(
                    f"{row.where}: word {number + 1} (index {number}) is {short_repr(token)}, not a non-blank string; "
                    "fix or remove this row"
                )
            words.append((start, start + len(token)))
            start += len(token) + 1
        return " ".join(tokens), tuple(words)

    def _tags(self, row: Row, text: str, words: Words, reader: LabelReader, scheme: FileScheme) -> tuple[str, ...]:
        if self.spans_column is not None:
            values = row_value(row, self.spans_column, "--data.spans_column")
            if not isinstance(values, list):
                raise InputError(
                    f"{row.where}: column {self.spans_column!r} is {short_repr(values)}, not a list of spans; fix it"
                )
            spans = read_spans(values, text, words, row.where)
            if self.align == "strict":
                check_alignment(spans, text, words, row.where)
            tags = spans_to_tags(spans, text, words, self.scheme, row.where)
        else:
            values = row_value(row, self.tags_column, "--data.tags_column")
            if not isinstance(values, list) or len(values) != len(words):
                found = f"{len(values)} tags" if isinstance(values, list) else short_repr(values)
                raise InputError(f"{row.where}: {len(words)} words, but {found}; give each word one tag")
            values = self._named_tags(values, reader, row.where)
            check_tags(values, scheme, row.where)
            tags = convert_tags(values, self.scheme)
        return tuple(reader.read(tag, row.where, self.tags_column) for tag in tags)

    def _named_tags(self, values: list[Any], reader: LabelReader, where: str) -> list[Any]:
        """Return the names of tags that may be numbers."""
        if any(isinstance(value, int) for value in values):
            return [self._tag_by_number(value, reader, where) for value in values]
        return values

    def _tag_by_number(self, value: Any, reader: LabelReader, where: str) -> str:
        """Return the tag with a number."""
        if self.given_labels is None:
            raise InputError(
                f"{where}: the tags are numbers; name them in the order of the numbers with "
                "--data.labels=[O,B-PER,I-PER]"
            )
        return reader.read(value, where, self.tags_column)

    # --- Batches

    def open_split(self, split: Split) -> InMemoryRows:
        """Return the windows of the texts of a split.

        In training each window is a row. In evaluation all windows of a text are one row.
        """
        examples = self.examples(split)
        if split == "train" and self.given_word_rules is None and (warning := self._chosen_rules.warning()):
            self.report(split, warning)
        examples, tokens = self._encode(examples)
        encoded = self._windows(split, examples, tokens)
        is_training = split == "train"
        units = (
            [[(number, window)] for number, windows in enumerate(encoded) for window in windows]
            if is_training
            else [[(number, window) for window in windows] for number, windows in enumerate(encoded)]
        )
        end_of_text = self.tokenizer.end_of_text_id
        padding = TagWindow(np.array([end_of_text]), np.array([IGNORE_INDEX]), np.array([False]))

        def collate(rows: list[int], num_padding: int) -> TokenClassificationBatch:
            indices = [index for index, row in enumerate(rows) for _ in units[row]]
            windows = [window for row in rows for _, window in units[row]] + [padding] * num_padding
            batch = TokenClassificationBatch(
                input_ids=pad([window.input_ids for window in windows], end_of_text),
                attention_mask=mask([len(window.input_ids) for window in windows]),
                labels=pad([window.labels for window in windows], IGNORE_INDEX),
                scored=pad([window.scored for window in windows], False),
                examples=torch.tensor(indices + [-1] * num_padding),
                ids=[examples[units[row][0][0]].id for row in rows],
            )
            if not is_training:
                chosen = [examples[row] for row in rows]
                batch["texts"] = [example.text for example in chosen]
                batch["words"] = [list(example.words) for example in chosen]
            return batch

        lengths = [sum(len(window.input_ids) for _, window in unit) for unit in units]
        arrays = (array for unit in units for _, window in unit for array in (window.input_ids, window.labels))
        ids = [(examples[unit[0][0]].id,) for unit in units]
        return InMemoryRows(len(units), self.epoch_order(split, lengths), collate, digest(arrays), ids)

    def _encode(self, examples: list[TaggedText]) -> tuple[list[TaggedText], list[list[WordTokens]]]:
        """Return the texts and the tokens of each of their words.

        Texts are encoded as a whole, as in pretraining, so a token may belong to several words. If the text was split
        here, and no span begins or ends inside of these words, they become one word. Otherwise, each word of the text
        is encoded by itself.
        """
        texts, tokens = list(examples), [list[WordTokens]() for _ in examples]
        separate = list(range(len(examples)))
        if self.layout.version > 1:
            encoded = self.tokenizer.encode_with_offsets([example.text for example in examples])
            for number, (example, (ids, offsets)) in enumerate(zip(examples, encoded, strict=True)):
                groups = assign_tokens(ids, offsets, example.words)
                if groups is not None and (merged := self._merge_words(example, groups)) is not None:
                    texts[number], tokens[number] = merged, groups
            separate = [number for number in separate if not tokens[number]]
        remaining = encode_separately(
            self.tokenizer, [(texts[number].text, texts[number].words) for number in separate]
        )
        for number, groups in zip(separate, remaining, strict=True):
            tokens[number] = groups
        return texts, tokens

    def _merge_words(self, example: TaggedText, groups: list[WordTokens]) -> TaggedText | None:
        """Return a text with one word per group; None if its words or tags must stay separate."""
        if len(groups) == len(example.words):
            return example
        if example.has_given_words:
            return None
        tags = merge_tags(example.tags, [group.first for group in groups], self.scheme) if example.tags else []
        if tags is None or not set(tags) <= set(self.labels):
            return None
        words = tuple((example.words[group.first][0], example.words[group.stop - 1][1]) for group in groups)
        return replace(example, words=words, tags=tuple(tags))

    def _windows(
        self, split: Split, examples: list[TaggedText], tokens: list[list[WordTokens]]
    ) -> list[list[TagWindow]]:
        """Return the windows of each text. Words that are longer than a window are cut."""
        room = self.layout.copy_size(self.block_size)
        ids = {name: number for number, name in enumerate(self.labels)}
        windows, self.cut_rows[split] = [], []
        for example, groups in zip(examples, tokens, strict=True):
            words = [group.ids[: max(room, 0)] for group in groups]
            num_tokens = sum(len(group.ids) for group in groups)
            if num_cut := num_tokens - sum(map(len, words)):
                self.cut_rows[split].append(CutRow(example.where, num_tokens, num_cut))
            labels = np.array([ids[tag] for tag in example.tags] or [IGNORE_INDEX] * len(words))
            places = np.array([self._place(group, len(word)) for group, word in zip(groups, words, strict=True)])
            windows.append(tag_windows(words, places, labels, self.layout, self.block_size, self.stride))
        return windows

    def _place(self, group: WordTokens, length: int) -> int:
        """Return the index of the labeled token among the ``length`` remaining tokens of a word.

        Tokens of the whitespace before the word are skipped, because transformers' pipelines assign them to no word.
        """
        if self.pooling == "last":
            return length - 1
        return min(group.num_blank, length - 1) if self.layout.version > 1 else 0


def _file(row: Row) -> str:
    """Return the file or hub dataset of a row."""
    return row.where.rpartition(":")[0]
