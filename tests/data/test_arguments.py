"""Arguments of the data modules: names, types, defaults, help and links to the model."""

import inspect
from argparse import SUPPRESS
from collections.abc import Callable
from typing import Any, Literal, get_type_hints

import lightning.pytorch as L
import pytest
from jsonargparse import ArgumentParser

from gpt_lightning import data, tasks
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.labeled import Labeled
from gpt_lightning.data.settings import CommonSettings, DataSettings, LabeledSettings
from gpt_lightning.data.spans import Align
from gpt_lightning.data.word_rules import WordRule

Strings = str | list[str] | None

SHARED: dict[str, tuple[Any, Any]] = {
    "train": (Strings, None),
    "validation": (float | Strings, None),
    "test": (Strings, None),
    "validation_fraction": (float, 0.0),
    "without": (Strings, None),
    "delimiter": (str | None, None),
    "encoding": (str | None, None),
    "tokenizer": (str, "bpe:4096"),
    "block_size": (int, 1024),
    "batch_size": (int, 16),
    "num_workers": (int, 0),
    "seed": (int | None, None),
    "cache_dir": (str, "~/.cache/gpt_lightning"),
}
LABELED: dict[str, tuple[Any, Any]] = SHARED | {
    "id_column": (str, "id"),
    "on_bad_row": (Literal["stop", "skip"], "stop"),
    "layout": (None, SUPPRESS),
    "layout.prefix": (list[int] | None, None),
    "layout.separator": (list[int] | None, None),
    "layout.suffix": (list[int] | None, None),
    "layout.truncation_side": (Literal["right", "left"] | None, None),
    "layout.version": (Literal[1, 2], 2),
    "layout.copies": (Literal[1, 2], 1),
    "counterfactual_swaps": (str | None, None),
}
ARGUMENTS: dict[str, dict[str, tuple[Any, Any]]] = {
    "LanguageModeling": SHARED
    | {
        "batch_size": (int, 8),
        "text_column": (str, "text"),
        "document_separator": (str | None, None),
        "on_bad_row": (Literal["stop", "skip"], "stop"),
        "mask_documents": (bool, False),
    },
    "TextClassification": LABELED
    | {
        "text_column": (str, "text"),
        "text_columns": (list[str] | None, None),
        "label_column": (str, "label"),
        "label_columns": (list[str] | None, None),
        "labels": (Strings, None),
        "model_labels": (str | None, None),
        "multi_label": (bool, False),
    },
    "TextRegression": LABELED
    | {"text_column": (str, "text"), "text_columns": (list[str] | None, None), "label_column": (str, "label")},
    "SequenceTagging": LABELED
    | {
        "tokens_column": (str, "tokens"),
        "tags_column": (str, "tags"),
        "text_column": (str, "text"),
        "spans_column": (str | None, None),
        "conll_columns": (tuple[int, int], (0, -1)),
        "align": (Align, "strict"),
        "labels": (Strings, None),
        "model_labels": (str | None, None),
        "scheme": (Literal["BIO", "BIOES"], "BIO"),
        "word_rules": (list[WordRule] | None, None),
        "pooling": (Literal["first", "last"], "first"),
        "stride": (int, 32),
    },
    "ReadingComprehension": LABELED
    | {
        "question_column": (str, "question"),
        "context_column": (str, "context"),
        "answers_column": (str, "answers"),
        "normalize": (Literal["nfc", "nfkc"] | None, None),
        "max_question_tokens": (int, 64),
        "stride": (int, 64),
    },
}


LINKS = {
    "LanguageModeling": {"block_size": "backbone.block_size"},
    "TextClassification": {"block_size": "backbone.block_size", "multi_label": "multi_label"},
    "SequenceTagging": {"block_size": "backbone.block_size", "pooling": "pooling"},
    "ReadingComprehension": {"block_size": "backbone.block_size"},
}
"""Data module -> argument -> argument of the model that it follows."""


def arguments_of(owner: Any) -> dict[str, Any]:
    """Return the parser's action for each argument of a class."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(owner, "data")
    prefix = "data."
    return {action.dest.removeprefix(prefix): action for action in parser._actions if action.dest.startswith(prefix)}


@pytest.mark.parametrize("name", data.__all__)
def test_every_data_module_has_the_shared_arguments(name: str) -> None:
    assert set(SHARED) <= set(arguments_of(getattr(data, name)))
    assert set(ARGUMENTS) <= set(data.__all__)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_types_and_defaults(name: str) -> None:
    found = {
        argument: (getattr(action, "_typehint", action.type), action.default)
        for argument, action in arguments_of(getattr(data, name)).items()
    }
    assert found == ARGUMENTS[name]


@pytest.mark.parametrize("name", data.__all__)
def test_every_argument_has_help(name: str) -> None:
    missing = [argument for argument, action in arguments_of(getattr(data, name)).items() if not action.help]
    assert not missing


def own_types(constructor: Callable[..., None]) -> dict[str, Any]:
    """Return the types of the arguments that a constructor itself declares."""
    hints = get_type_hints(constructor)
    return {name: hints[name] for name in inspect.signature(constructor).parameters if name not in ("self", "settings")}


def test_settings_are_the_arguments_of_the_constructors() -> None:
    """Type checkers read the TypedDicts, jsonargparse reads the constructors."""
    shared = own_types(DataModule.__init__)
    assert get_type_hints(DataSettings) == shared
    assert get_type_hints(CommonSettings) == {name: hint for name, hint in shared.items() if name != "batch_size"}
    assert get_type_hints(LabeledSettings) == shared | own_types(Labeled.__init__)
    assert len(shared) == 13


@pytest.mark.parametrize("name", LINKS)
def test_links_to_the_model(name: str) -> None:
    module = getattr(data, name)
    assert module.takes_from_model == LINKS[name]
    actions = arguments_of(module)
    for argument in module.takes_from_model:
        assert "follows the model's" in actions[argument].help


@pytest.mark.parametrize("name", data.__all__)
def test_links_name_arguments_of_a_task_with_the_same_batch(name: str) -> None:
    """Other tasks may consume the batch, too: a link to an argument that they lack has no effect."""
    module = getattr(data, name)
    readers = [task for task in map(tasks.__dict__.get, tasks.__all__) if getattr(task, "batch", None) is module.batch]
    assert any(set(module.takes_from_model.values()) <= set(arguments_of(task)) for task in readers)


def test_a_data_module_saves_no_hyperparameters() -> None:
    """Checkpoints contain only the hyperparameters of the task."""
    module: L.LightningDataModule = data.TextClassification(batch_size=2)
    assert not module.hparams
