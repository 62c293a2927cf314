"""Data module for pairs of texts, such as sentences and their translations, for an encoder-decoder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX, Seq2SeqBatch
from gpt_lightning.data.base import CutRow, Split
from gpt_lightning.data.conversations import RowReader
from gpt_lightning.data.generated import generation_length
from gpt_lightning.data.labeled import Labeled, NoValidRowError
from gpt_lightning.data.length_batching import GeneratedFirstOrder, InMemoryRows, Order, digest, mask, pad
from gpt_lightning.data.settings import LabeledSettings
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.errors import InputError
from gpt_lightning.unpack import Unpack


@dataclass(frozen=True, slots=True)
class TextPair:
    """Source text and its correct targets. Training uses the first target. In prediction, there are none."""

    id: str
    source: str
    targets: tuple[str, ...]
    where: str


class _EncodedPair(NamedTuple):
    """Token ids of a source, (n,), and of a target with its end token, (m,), both int64."""

    id: str
    where: str
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    num_cut: int
    """Tokens at the end of the source that are left out."""


class TextToText(Labeled[TextPair]):
    """Pairs of texts for an encoder-decoder: translation, summarization and other tasks from text to text.

    A row has a column ``prompt`` and ``completion``, or ``instruction``, ``input`` and ``output``. With ``template``
    and ``target``, the source and the target are made from any columns. A target may be a list of correct texts:
    training uses the first, evaluation compares with all of them.

    Args:
        template: source with the names of columns in braces, such as ``{en}`` or ``summarize: {document}``. Sources
            longer than ``block_size`` are truncated.
        target: column with the target.
        generate_examples: pairs of each evaluation for whose source the model generates a target, which is compared
            with the row's. They are spread over the rows. 0 generates none.
        max_new_tokens: maximum length of a generated target in tokens. null takes half of ``block_size``, at most 128.
        decoder_start_ids: token ids before the first token of a target. null takes those of the tokenizer's
            ``generation_config.json``, or else the end-of-text token. A checkpoint sets it.
    """

    batch: ClassVar[type] = Seq2SeqBatch
    hold_out_attribute: ClassVar[str] = "source"

    def __init__(
        self,
        template: str | None = None,
        target: str | None = None,
        generate_examples: int = 50,
        max_new_tokens: int | None = None,
        decoder_start_ids: list[int] | None = None,
        **settings: Unpack[LabeledSettings],
    ) -> None:
        super().__init__(**settings)
        self.template, self.target = template, target
        self._reader(has_answers=True)  # refuses invalid arguments
        self.generate_examples, self.max_new_tokens = generation_length(
            generate_examples, max_new_tokens, self.block_size
        )
        self.given_start_ids = decoder_start_ids

    @property
    def decoder_start_ids(self) -> list[int]:
        """Token ids before the first token of a target."""
        if self.given_start_ids is not None:
            return self.given_start_ids
        start = self.tokenizer.configured_ids("decoder_start_token_id")
        forced = self.tokenizer.configured_ids("forced_bos_token_id")
        return [*start, *forced] if start else [self.tokenizer.end_of_text_id]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids of the tokens that end a generated target."""
        return tuple(sorted(self.tokenizer.end_ids))

    def content(self, example: TextPair) -> object:
        """Return the source and its targets."""
        return example.source, example.targets

    def training_texts(self) -> Iterator[str]:
        """Yield the sources and targets of the training pairs."""
        return (text for example in self.examples("train") for text in (example.source, *example.targets))

    def parse_rows(self, rows: Iterator[Row], split: Split, has_labels: bool) -> Iterator[TextPair | InputError]:
        """Yield the pair of each row; without ``has_labels``, it may have no target."""
        for found in self._reader(has_answers=has_labels).read(rows):
            if isinstance(found, InputError):
                yield found
            else:
                yield TextPair(found.id, found.messages[0]["content"], found.references, found.where)

    def _reader(self, *, has_answers: bool) -> RowReader:
        return RowReader(self.id_column, None, self.template, self.target, has_answers=has_answers)

    def open_split(self, split: Split) -> InMemoryRows:
        """Return the encoded pairs of a split."""
        examples = self.examples(split)
        found = self.keep_encodable(split, self._encode(examples), len(examples))
        if not found:
            raise NoValidRowError(split, f"no target fits block_size={self.block_size}; raise it")
        self.cut_rows[split] = [
            CutRow(each.where, len(each.source) + each.num_cut, each.num_cut) for each in found if each.num_cut
        ]
        self._report_size(split, found)
        order: Order = self.epoch_order(split, [max(len(each.source), len(each.target)) for each in found])
        references: dict[str, tuple[str, ...]] = {}
        if split != "train" and self.stage != "predict":
            order = GeneratedFirstOrder(order, self.generate_examples)
            by_id = {each.id: each.targets for each in examples}
            references = {found[number].id: by_id[found[number].id] for number in order.generated}
        arrays = (array for each in found for array in (each.source, each.target))

        def collate(rows: list[int], num_padding: int) -> Seq2SeqBatch:
            chosen = [found[row] for row in rows]
            batch = self._tensors(chosen, num_padding)
            if split != "train" and self.stage != "predict":
                batch["references"] = [list(references[each.id]) for each in chosen if each.id in references]
            return batch

        ids = [(each.id,) for each in found]
        return InMemoryRows(len(found), order, collate, digest([np.array(self.decoder_start_ids), *arrays]), ids)

    def _encode(self, examples: Sequence[TextPair]) -> Iterator[_EncodedPair | InputError]:
        """Yield each pair, or an error if its target is too long. In prediction, targets are empty."""
        end, num_starts = self.tokenizer.end_of_text_id, len(self.decoder_start_ids)
        room = self._room()
        sources = self.tokenizer.encode_batch([each.source for each in examples])
        references = [() if self.stage == "predict" else each.targets for each in examples]
        targets = self.tokenizer.encode_batch([(each or ("",))[0] for each in references])
        for example, source, found, ids in zip(examples, sources, references, targets, strict=True):
            target = np.append(ids, end) if found else ids
            if len(target) + num_starts - 1 > self.block_size:
                yield InputError(
                    f"{example.where}: its target has {len(target)} tokens, more than fit block_size={self.block_size};"
                    " raise --model.backbone.block_size, or remove this row"
                )
            else:
                source_ids = self.layout.input_ids([source], self.block_size)
                yield _EncodedPair(example.id, example.where, source_ids, target, max(0, len(source) - room))

    def _room(self) -> int:
        """Return the maximum number of tokens of a source.

        Raises:
            InputError: ``block_size`` leaves no room for a source.
        """
        room = self.block_size - self.layout.num_added()
        if room <= 0:
            raise InputError(f"block_size={self.block_size} leaves no room for a source. Raise it")
        return room

    def _tensors(self, pairs: Sequence[_EncodedPair], num_padding: int) -> Seq2SeqBatch:
        """Return a batch without references."""
        padding = self.tokenizer.end_of_text_id
        starts = np.array(self.decoder_start_ids)
        sources = [each.source for each in pairs] + [np.array([padding])] * num_padding
        inputs = [np.append(starts, each.target[:-1]) for each in pairs] + [starts] * num_padding
        ignored = np.full(len(starts) - 1, IGNORE_INDEX)
        labels = [np.append(ignored, each.target) for each in pairs] + [ignored] * num_padding
        decoder_input_ids = pad(inputs, padding)
        # Rows without a target, as in prediction and padding, have start tokens but no labels.
        filled = [
            np.append(label, np.full(len(each) - len(label), IGNORE_INDEX))
            for label, each in zip(labels, inputs, strict=True)
        ]
        padded = pad(filled, IGNORE_INDEX)
        is_label = padded != IGNORE_INDEX
        token_bytes = torch.from_numpy(self.tokenizer.token_bytes)
        return Seq2SeqBatch(
            input_ids=pad(sources, padding),
            attention_mask=mask([len(source) for source in sources]),
            decoder_input_ids=decoder_input_ids,
            labels=padded,
            num_bytes=token_bytes[padded.where(is_label, 0)].where(is_label, 0).sum(1),
            ids=[each.id for each in pairs],
        )

    def _report_size(self, split: Split, found: Sequence[_EncodedPair]) -> None:
        """Print how many rows and tokens of a split are trained, cut and dropped."""
        trained, sources = sum(len(each.target) for each in found), sum(len(each.source) for each in found)
        self.report(
            split,
            f"{len(found):,} rows, {trained:,} trained tokens ({trained / (trained + sources):.1%} of "
            f"{trained + sources:,}), {len(self.cut_rows[split]):,} rows cut, {self.num_dropped(split):,} rows dropped",
        )
