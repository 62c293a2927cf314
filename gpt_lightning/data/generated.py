"""Limits of the texts that a model generates in an evaluation."""

from gpt_lightning.errors import InputError
from gpt_lightning.ranges import check_count

_MAX_NEW_TOKENS = 128


def generation_length(generate_examples: int, max_new_tokens: int | None, block_size: int) -> tuple[int, int]:
    """Return the number of examples, and the maximum length of a generated text.

    The generated text and a prompt must fit ``block_size``.

    Args:
        generate_examples: number of examples of an evaluation; 0 generates none.
        max_new_tokens: maximum number of tokens; None takes half of ``block_size``, at most 128.
        block_size: maximum number of tokens of prompt and answer.

    Raises:
        InputError: a value is out of range.
    """
    check_count("--data.generate_examples", generate_examples, least=0)
    if max_new_tokens is None:
        return generate_examples, max(1, min(_MAX_NEW_TOKENS, block_size // 2))
    check_count("--data.max_new_tokens", max_new_tokens)
    if max_new_tokens >= block_size:
        raise InputError(
            f"--data.max_new_tokens={max_new_tokens} leaves no room for a prompt in block_size={block_size}. Lower it, "
            "or raise --model.backbone.block_size"
        )
    return generate_examples, max_new_tokens
