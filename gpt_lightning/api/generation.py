"""Settings and prompts of text generation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from gpt_lightning.api.inputs import list_of_texts
from gpt_lightning.data.prompts import MESSAGES_EXAMPLE, are_messages
from gpt_lightning.data.sources.row_formats import short_repr, without_surrogates
from gpt_lightning.errors import InputError
from gpt_lightning.models.generation.decoding import Decoding, choose_decoding
from gpt_lightning.tasks import CausalLM, Seq2SeqLM, Task
from gpt_lightning.tasks.export_tokenizer import layout_of
from gpt_lightning.tokenizers.generation_config import decoding_defaults
from gpt_lightning.tokenizers.prompt import Message, chat_prompt, text_prompt
from gpt_lightning.tokenizers.tokenizer import Tokenizer


class GenerationSettings(TypedDict, total=False):
    """Types of the arguments of ``Model.generate``, which are those of ``Model.stream``."""

    max_new_tokens: int | None
    min_new_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    num_beams: int | None
    length_penalty: float | None
    repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    seed: int
    stop: Sequence[str]
    raw: bool


def decoding_of(tokenizer: Tokenizer, settings: Mapping[str, Any]) -> Decoding:
    """Return the decoding settings. A setting that is None or missing takes the model's own value.

    Raises:
        InputError: a value is out of range.
    """
    stop = tuple(list_of_texts(settings.get("stop", ()), "stop strings"))
    return choose_decoding({**settings, "stop": stop}, decoding_defaults(tokenizer.generation_config))[0]


def prompt_ids(task: Task, tokenizer: Tokenizer, prompt: str | Sequence[Message], *, is_raw: bool) -> list[int]:
    """Return the token ids of a prompt.

    Args:
        task: task that generates text.
        tokenizer: tokenizer of the task.
        prompt: a text, or the messages of a chat.
        is_raw: add no special tokens.

    Raises:
        InputError: the task does not read this kind of prompt, or it is neither a text nor messages.
    """
    layout = layout_of(task, tokenizer)
    if isinstance(prompt, str):
        ids = text_prompt(tokenizer, without_surrogates(prompt), is_raw=is_raw, layout=layout)
        if layout is not None and not prompt:
            raise InputError("an encoder-decoder needs a source text, but the prompt is empty")
        return ids
    if layout is not None:
        raise InputError("an encoder-decoder reads a source text, not a chat. Give a text")
    if not are_messages(prompt):
        raise InputError(
            f"the prompt is {short_repr(prompt)}. Give a text, or a list of messages such as {MESSAGES_EXAMPLE}"
        )
    if is_raw:
        raise InputError("messages need the chat template. Leave raw out, or give a text")
    return chat_prompt(tokenizer, without_surrogates([dict(message) for message in prompt]))


def generative_task(task: Task, path: Path) -> CausalLM | Seq2SeqLM:
    """Return the task if it generates text.

    Raises:
        InputError: it does not; the message names the ``path`` that the task was loaded from.
    """
    return task if isinstance(task, Seq2SeqLM) else language_model(task, path, "or a Seq2SeqLM generates text")


def language_model(task: Task, path: Path, ability: str) -> CausalLM:
    """Return the task if it is a language model.

    Args:
        task: the task.
        path: path that it was loaded from, for the message.
        ability: verb and object that complete "only a CausalLM ...".

    Raises:
        InputError: it is another task.
    """
    if not isinstance(task, CausalLM):
        raise InputError(
            f"{path} holds a {type(task).__name__}, but only a CausalLM {ability}. "
            "Use predict, or load a language model"
        )
    return task
