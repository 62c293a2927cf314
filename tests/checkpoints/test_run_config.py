"""Arguments that a test takes from the ``config.yaml`` of a run."""

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningDataModule

from gpt_lightning.checkpoints.run_config import remembered_settings, training_sources
from gpt_lightning.data import TextClassification


def test_all_arguments_that_choose_rows_are_taken(tmp_path: Path) -> None:
    choice = {
        "train": "train.jsonl",
        "validation_fraction": 0.2,
        "without": ["a.jsonl", "b.jsonl"],
        "counterfactual_swaps": "gender",
        "on_bad_row": "skip",
    }

    def found(**arguments: Any) -> dict[str, Any]:
        content = {"data": {"class_path": "TextClassification", "init_args": arguments}}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        return dict(training_sources(tmp_path))

    assert found(**choice, batch_size=4, test="test.jsonl", validation=None) == choice
    assert found(train="hub:name", validation=0.1, validation_fraction=0.1) == {"validation": 0.1}


def test_all_that_says_how_rows_are_read_is_remembered(tmp_path: Path) -> None:
    settings = {
        **{"template": "French: {en}", "target": "fr", "max_new_tokens": 300, "mask_documents": True, "stride": 3},
        **{"text_columns": ["a", "b"], "conll_columns": [0, 3], "my_own_setting": 0.5},
    }
    others = {
        **{
            "train": "a.jsonl",
            "validation": 0.1,
            "test": None,
            "tokenizer": "bytes",
            "cache_dir": "x",
            "batch_size": 4,
        },
        **{"labels": ["a"], "layout": {"copies": 2}, "seed": 1, "on_bad_row": "skip", "word_rules": ["urls"]},
    }
    content = {"data": {"class_path": "TextToText", "init_args": settings | others}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    assert remembered_settings(tmp_path, TextClassification) == settings
    assert remembered_settings(tmp_path, LightningDataModule) == {
        name: settings[name] for name in ("text_columns", "conll_columns")
    }
