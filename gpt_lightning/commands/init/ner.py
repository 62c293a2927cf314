"""Words with tags, or texts with spans: findings for token classification."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from gpt_lightning.commands.init.columns import Columns
from gpt_lightning.commands.init.findings import Findings, count, counts, lengths, parse
from gpt_lightning.data import SequenceTagging
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.errors import InputError
from gpt_lightning.tasks import TokenClassification

ROLES: Final = ("tokens", "tags", "text", "spans")


def find(rows: Sequence[Row], columns: Columns) -> Findings:
    """Return the findings for rows of words and tags, or of a text and its spans.

    Raises:
        InputError: the columns are not recognized, no row is valid, or there are no entities.
    """
    named = _columns(columns)
    examples, arguments = parse(partial(SequenceTagging, **named), rows)
    types = Counter(tag[2:] for example in examples for tag in example.tags if tag.startswith("B-"))
    if not types:
        raise InputError(
            f"{rows[0].where}: none of the {len(examples):,} rows has an entity, so there is nothing to learn. Check "
            f"the column {named.get('spans_column') or named['tags_column']!r}"
        )
    texts = [example.text for example in examples]
    entities = f"{count(types.total(), 'entity', 'entities')} of {counts(types, 'type')}"
    return Findings(
        task=TokenClassification,
        module=SequenceTagging,
        arguments={**named, **arguments},
        texts=texts,
        num_labels=len(types),
        summary=f"{count(len(examples), 'row')} with {entities} {lengths(texts)}",
        monitor="val/entity_f1",
        min_block_size=128,
    )


def _columns(columns: Columns) -> dict[str, Any]:
    """Return the arguments of the data module for the columns of words and tags, or else of texts and spans."""
    tokens, tags = columns.find("tokens"), columns.find("tags")
    text, spans = columns.find("text"), columns.find("spans")
    if text and spans and ("spans" in columns.flags or not (tokens and tags)):
        return {"text_column": text, "spans_column": spans}
    if not (tokens and tags):
        raise columns.unrecognized_error("tokens", "tags")
    if any(isinstance(tag, int) for value in columns.values(tags)[:1] if isinstance(value, list) for tag in value):
        raise InputError(
            f"{columns.rows[0].where}: the tags in {tags!r} are numbers, and the file has no names for them. Replace "
            "them with names such as B-PER, or start from -c ner_wnut17 and name them in order with "
            "--data.labels=[O,B-PER]"
        )
    return {"tokens_column": tokens, "tags_column": tags}
