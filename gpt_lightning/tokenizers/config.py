"""Special tokens and chat template of a tokenizer: ``tokenizer_config.json`` and ``chat_template.jinja``."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.bounded_files import read_json_object, read_text

TEMPLATE_FILE = "chat_template.jinja"
"""File of the chat template in newer Hugging Face folders. It takes precedence, as in transformers."""
MAX_TEMPLATE_BYTES = 2**20
"""Size limit of a chat template; the largest published ones have a tenth of it."""


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Special tokens and chat template; all None for the tokenizers that this package trains.

    Attributes:
        bos_token: token that begins a text.
        eos_token: token that ends a text.
        pad_token: token that pads batches.
        unk_token: token that replaces text outside the vocabulary.
        sep_token: token that separates texts.
        cls_token: token that stands for a whole text.
        mask_token: token that replaces masked text.
        chat_template: Jinja template that renders messages as the text format of the model's training. Loading does
            not run it.
        truncation_side: side of a long text whose tokens are left out, ``right`` or ``left``.
    """

    bos_token: str | None = None
    eos_token: str | None = None
    pad_token: str | None = None
    unk_token: str | None = None
    sep_token: str | None = None
    cls_token: str | None = None
    mask_token: str | None = None
    chat_template: str | None = None
    truncation_side: str | None = None

    @classmethod
    def load(cls, tokenizer_json: Path) -> Self:
        """Load the configuration files in the folder of ``tokenizer_json``; missing files leave all fields None.

        Raises:
            InputError: a file is damaged.
        """
        path, template = _config_path(tokenizer_json), tokenizer_json.with_name(TEMPLATE_FILE)
        remedy = "Download it again"
        values = read_json_object(path, remedy) if path.exists() else {}
        if template.exists() and tokenizer_json.name == "tokenizer.json":
            values = {**values, "chat_template": read_text(template, remedy, MAX_TEMPLATE_BYTES)}
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a configuration from the contents of a ``tokenizer_config.json``; other keys are ignored."""
        return cls(**{field.name: _string(values.get(field.name)) for field in fields(cls)})

    def save(self, tokenizer_json: Path) -> None:
        """Write the configuration file of ``tokenizer_json`` atomically; write none if all fields are None."""
        if values := self.to_dict():
            with atomic_write(_config_path(tokenizer_json)) as file:
                file.write(json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n")

    def to_dict(self) -> dict[str, str]:
        """Return the fields that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def _config_path(tokenizer_json: Path) -> Path:
    return tokenizer_json.with_name(f"{tokenizer_json.stem}_config.json")


def _string(value: Any) -> str | None:
    """Return a field as a string: a token may be a mapping with ``content``, a template a list of named templates."""
    if isinstance(value, list):
        templates = [each for each in value if isinstance(each, dict)]
        value = next((each.get("template") for each in templates if each.get("name") == "default"), None)
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None
