"""Ids of the tokens that a tokenizer has in addition to that of the pretrained model."""

from gpt_lightning.checkpoints.read import find_checkpoint, read_checkpoint
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import load_tokenizer
from gpt_lightning.tokenizers.tokenizer import Tokenizer


def new_token_ids(init_from: str | None, vocab_size: int | None) -> range:
    """Return the ids of the tokens that were added to the tokenizer of a pretrained model.

    Args:
        init_from: the pretrained model, or None.
        vocab_size: number of ids of the current tokenizer; None if it is unknown.
    """
    if init_from is None or vocab_size is None:
        return range(0)
    path = find_checkpoint(init_from)
    try:
        if path.is_dir():
            tokenizer = load_tokenizer(str(path))
        elif "tokenizer" in (checkpoint := read_checkpoint(path)):
            tokenizer = Tokenizer.from_json(checkpoint["tokenizer"])
        else:
            return range(0)
    except InputError:  # the model was saved without a tokenizer
        return range(0)
    return range(tokenizer.vocab_size, max(vocab_size, tokenizer.vocab_size))
