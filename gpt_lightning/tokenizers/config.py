"""``tokenizer_config.json``: special tokens and the chat template."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.errors import InputError

TEMPLATE = "chat_template.jinja"
"""Where younger folders of Hugging Face's have the template; it wins, as it does there."""


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """What is known of a tokenizer beside its ids; nothing of a tokenizer that was made here.

    Attributes:
        bos_token: what begins a text.
        eos_token: what ends it.
        pad_token: what fills up batches.
        unk_token: what stands for text without an id.
        chat_template: Jinja: from messages to the text that the model was trained on. It is carried along, and never
            run by reading it.
    """

    bos_token: str | None = None
    eos_token: str | None = None
    pad_token: str | None = None
    unk_token: str | None = None
    chat_template: str | None = None

    @classmethod
    def beside(cls, tokenizer_json: Path) -> Self:
        """What stands beside ``tokenizer_json``; nothing where nothing does.

        Raises:
            InputError: it is damaged.
        """
        path, template = _beside(tokenizer_json), tokenizer_json.with_name(TEMPLATE)
        try:
            said = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            if template.is_file() and tokenizer_json.name == "tokenizer.json":
                said = {**said, "chat_template": template.read_text(encoding="utf-8")}
        except (OSError, ValueError, RecursionError, TypeError) as error:
            raise InputError(f"{path}: cannot be read as JSON ({str(error)[:200]}); fetch it again") from None
        if not isinstance(said, dict):
            raise InputError(f"{path}: holds no JSON object; fetch it again")
        return cls.of(said)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """What a ``tokenizer_config.json`` says, as far as we have a use for it."""
        known = {field.name: _text(said.get(field.name)) for field in fields(cls)}
        return cls(**known)

    def write_beside(self, tokenizer_json: Path) -> None:
        """Write what there is to say beside ``tokenizer_json``, whole or not at all."""
        if said := self.said():
            with atomic_write(_beside(tokenizer_json)) as file:
                file.write(json.dumps(said, indent=2, ensure_ascii=False).encode() + b"\n")

    def said(self) -> dict[str, str]:
        """What is not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def _beside(tokenizer_json: Path) -> Path:
    return tokenizer_json.with_name(f"{tokenizer_json.stem}_config.json")


def _text(value: Any) -> str | None:
    """A string; tokens are also mappings with their ``content``, templates lists of which one is the default."""
    if isinstance(value, list):
        named = [each for each in value if isinstance(each, dict)]
        value = next((each.get("template") for each in named if each.get("name") == "default"), None)
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None
