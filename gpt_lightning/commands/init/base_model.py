"""The pretrained model that a configuration starts from."""

from typing import Final, NamedTuple

import torch

from gpt_lightning.checkpoints.read import HUB, find_checkpoint, read_checkpoint
from gpt_lightning.commands.init.choice import Choice
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT, GPTConfig
from gpt_lightning.tokenizers.build import load_tokenizer
from gpt_lightning.tokenizers.tokenizer import Tokenizer

SMALL: Final = 20_000_000
LARGE: Final = 300_000_000
"""Parameters: AdamW needs 16 bytes for each that it trains."""


class BaseModel(NamedTuple):
    """A pretrained model."""

    path: str
    block_size: int
    num_parameters: int
    tokenizer: Tokenizer
    may_shorten: bool
    """A model folder may be used with shorter blocks; a run keeps its own."""

    @property
    def is_small(self) -> bool:
        """True for the size of models that a CPU pretrains; they take high learning rates."""
        return self.num_parameters < SMALL

    @property
    def is_large(self) -> bool:
        """True if LoRA adapters suit it better than training all weights."""
        return self.num_parameters >= LARGE

    def choice(self) -> Choice:
        """Return the value of ``init_from``."""
        return Choice(self.path, f"{self.num_parameters:,} parameters; shape and tokenizer are the model's")

    @classmethod
    def read(cls, model: str) -> "BaseModel":
        """Read a model folder, a run or a checkpoint; no weight is loaded into a model.

        Raises:
            InputError: it is none of these, it is damaged, or it would have to be downloaded.
        """
        if model.startswith(HUB):
            raise InputError(f"--model {model}: init does not download models. Download the model and give its folder")
        path = find_checkpoint(model)
        checkpoint = read_checkpoint(path)
        config = GPTConfig(**checkpoint["hyper_parameters"]["backbone"])
        if path.is_dir():
            tokenizer = load_tokenizer(str(path), key="--model")
        elif "tokenizer" in checkpoint:
            tokenizer = Tokenizer.from_json(checkpoint["tokenizer"])
        else:
            raise InputError(f"--model {model}: the checkpoint has no tokenizer. Give a model that has one")
        if config.vocab_size is None:
            config = GPTConfig(**{**checkpoint["hyper_parameters"]["backbone"], "vocab_size": tokenizer.vocab_size})
        with torch.device("meta"):
            num_parameters = GPT(config).num_parameters()
        return cls(model, config.block_size, num_parameters, tokenizer, path.is_dir())


def is_pretrained(base: BaseModel | None) -> bool:
    """Return whether training starts from a pretrained model that is not small."""
    return base is not None and not base.is_small
