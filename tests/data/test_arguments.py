"""Every data module has the documented arguments, types and defaults, whichever class declares them."""

from typing import Any, Literal

import pytest
from jsonargparse import ArgumentParser

from gpt_lightning import data

Strings = str | list[str] | None

SHARED: dict[str, tuple[Any, Any]] = {
    "train": (Strings, None),
    "validation": (Strings, None),
    "test": (Strings, None),
    "tokenizer": (str, "bpe:4096"),
    "block_size": (int, 1024),
    "batch_size": (int, 16),
    "num_workers": (int, 0),
    "seed": (int | None, None),
    "cache_dir": (str, "~/.cache/gpt_lightning"),
}
LABELLED: dict[str, tuple[Any, Any]] = SHARED | {
    "id_column": (str, "id"),
    "on_bad_row": (Literal["stop", "skip"], "stop"),
}
ARGUMENTS: dict[str, dict[str, tuple[Any, Any]]] = {
    "LanguageModeling": SHARED
    | {
        "batch_size": (int, 8),
        "text_column": (str, "text"),
        "mask_documents": (bool, False),
    },
    "TextClassification": LABELLED
    | {
        "text_column": (str, "text"),
        "label_column": (str, "label"),
        "labels": (Strings, None),
        "multi_label": (bool, False),
    },
    "SequenceTagging": LABELLED
    | {
        "tokens_column": (str, "tokens"),
        "tags_column": (str, "tags"),
        "text_column": (str, "text"),
        "spans_column": (str | None, None),
        "labels": (Strings, None),
        "scheme": (Literal["BIO", "BIOES"], "BIO"),
        "pooling": (Literal["first", "last"], "first"),
        "stride": (int, 32),
    },
    "ReadingComprehension": LABELLED
    | {
        "question_column": (str, "question"),
        "context_column": (str, "context"),
        "answers_column": (str, "answers"),
        "max_question_tokens": (int, 64),
        "stride": (int, 64),
    },
}


def arguments_of(name: str) -> dict[str, Any]:
    """Return the parser's action for each argument of a data module."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(getattr(data, name), "data")
    prefix = "data."
    return {action.dest.removeprefix(prefix): action for action in parser._actions if action.dest.startswith(prefix)}


def test_the_table_has_every_data_module() -> None:
    assert set(ARGUMENTS) == set(data.__all__)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_types_and_defaults(name: str) -> None:
    found = {
        argument: (getattr(action, "_typehint", action.type), action.default)
        for argument, action in arguments_of(name).items()
    }
    assert found == ARGUMENTS[name]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument_has_help(name: str) -> None:
    without = [argument for argument, action in arguments_of(name).items() if not action.help]
    assert not without
