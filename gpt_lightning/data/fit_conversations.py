"""Encoding of conversations in at most a number of tokens: earlier turns are left out, the last answer is kept."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.data.conversations import Conversation
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.chat_encoding import Chat, ChatTemplate, EncodedChat

TrainOn = Literal["assistant", "last", "all"]

T = TypeVar("T", EncodedChat, NDArray[np.int64])


class FittedConversation(NamedTuple):
    """Token ids of a conversation.

    Attributes:
        id: id of its row.
        where: location of its row.
        ids: (n,) int64.
        is_trained: (n,) bool.
        num_turns: number of its messages without the system prompt.
        num_cut: number of tokens that it loses, because turns or tokens at its start are left out.
    """

    id: str
    where: str
    ids: NDArray[np.int64]
    is_trained: NDArray[np.bool_]
    num_turns: int
    num_cut: int


class FittedPrompt(NamedTuple):
    """Token ids of a prompt, (n,) int64, and the number of tokens that it loses at its start."""

    ids: NDArray[np.int64]
    num_cut: int


def fit_conversations(
    template: ChatTemplate, conversations: Sequence[Conversation], train_on: TrainOn, max_tokens: int
) -> Iterator[FittedConversation | InputError]:
    """Yield each conversation in at most ``max_tokens`` tokens, or an error if it would have no labels.

    First, turns at the start are left out. The system prompt stays, and a message of the user follows it. If the last
    turn alone is still too long, the first tokens of its prompt are cut.

    Args:
        template: chat template.
        conversations: the conversations.
        train_on: which text is trained: all answers, the last one, or all text.
        max_tokens: maximum number of tokens.
    """

    def encode(chosen: Sequence[Conversation]) -> list[EncodedChat | InputError]:
        return template.encode([Chat(each.messages, _trained_messages(each, train_on), each.where) for each in chosen])

    kept, encoded, lengths = _without_first_turns(
        encode, conversations, lambda chat: len(_without_tail(chat).ids), max_tokens
    )
    for original, conversation, chat, length in zip(conversations, kept, encoded, lengths, strict=True):
        if isinstance(chat, InputError):
            yield chat
            continue
        ids, is_trained = _without_tail(chat)
        start = max(0, len(ids) - max_tokens)
        if train_on != "all" and start and start >= _last_run(is_trained):
            yield InputError(
                f"{original.where}: its last answer and one token of the prompt have "
                f"{len(ids) - _last_run(is_trained) + 1} tokens, more than the {max_tokens} of block_size + 1; "
                "raise --model.backbone.block_size, or remove this row"
            )
        elif not is_trained[start + 1 :].any():
            is_cut = conversation is not original or start > 0
            reason = "cutting it to block_size left no label" if is_cut else "no label"
            yield InputError(
                f"{original.where}: {reason}, because its answers have train: false or come before all prompts; "
                f"{'raise --model.backbone.block_size, or ' if is_cut else ''}remove this row"
            )
        else:
            turns = sum(message["role"] != "system" for message in conversation.messages)
            num_cut = length - len(ids[start:])
            yield FittedConversation(original.id, original.where, ids[start:], is_trained[start:], turns, num_cut)


def fit_prompts(
    template: ChatTemplate, conversations: Sequence[Conversation], max_tokens: int
) -> list[FittedPrompt | InputError]:
    """Return the prompt for the last answer of each conversation in at most ``max_tokens`` tokens, or an error."""

    def encode(chosen: Sequence[Conversation]) -> list[NDArray[np.int64] | InputError]:
        return template.prompts([Chat(_before_answer(each), (), each.where) for each in chosen])

    _, prompts, lengths = _without_first_turns(encode, conversations, len, max_tokens)
    return [
        prompt if isinstance(prompt, InputError) else FittedPrompt(ids := prompt[-max_tokens:], length - len(ids))
        for prompt, length in zip(prompts, lengths, strict=True)
    ]


def _without_first_turns(
    encode: Callable[[Sequence[Conversation]], list[T | InputError]],
    conversations: Sequence[Conversation],
    length: Callable[[T], int],
    max_tokens: int,
) -> tuple[list[Conversation], list[T | InputError], list[int]]:
    """Encode conversations, and leave out first turns until they fit ``max_tokens``.

    Args:
        encode: function that encodes conversations.
        conversations: the conversations.
        length: function that returns the number of tokens of an encoded conversation.
        max_tokens: maximum number of tokens.

    Returns:
        The shortened conversations, their encodings, which may still be too long, and the numbers of tokens before.
    """
    kept, encoded = list(conversations), encode(conversations)
    lengths = [0 if isinstance(result, InputError) else length(result) for result in encoded]
    pending: Sequence[int] = range(len(kept))
    while pending := [
        number
        for number in pending
        if not isinstance(result := encoded[number], InputError)
        and length(result) > max_tokens
        and kept[number].without_first_turn() is not None
    ]:
        for number in pending:
            kept[number] = kept[number].without_first_turn() or kept[number]
        for number, result in zip(pending, encode([kept[number] for number in pending]), strict=True):
            encoded[number] = result
    return kept, encoded, lengths


def _trained_messages(conversation: Conversation, train_on: TrainOn) -> list[int] | None:
    """Return the indices of the trained messages; None for all text.

    Answers before the first message of a user or a tool are not trained, unless the conversation has none.
    """
    if train_on == "all" and all(conversation.is_trained):
        return None
    messages = list(enumerate(zip(conversation.messages, conversation.is_trained, strict=True)))
    if train_on == "all":
        return [index for index, (_, is_trained) in messages if is_trained]
    prompt = next((index for index, (each, _) in messages if each["role"] not in ("system", "assistant")), 0)
    found = [
        index for index, (each, is_trained) in messages if is_trained and index > prompt and each["role"] == "assistant"
    ]
    last = len(conversation.messages) - 1
    return found if train_on == "assistant" else [index for index in found if index == last]


def _before_answer(conversation: Conversation) -> Sequence[dict[str, str]]:
    messages = [dict(message) for message in conversation.messages]
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def _without_tail(chat: EncodedChat) -> EncodedChat:
    """Return a chat up to its last trained token, because no label depends on the tokens after it."""
    stop = int(np.flatnonzero(chat.is_trained)[-1]) + 1 if chat.is_trained.any() else len(chat.ids)
    return EncodedChat(chat.ids[:stop], chat.is_trained[:stop])


def _last_run(is_trained: NDArray[np.bool_]) -> int:
    """Return the position of the first token of the last answer; 0 without one."""
    starts = np.flatnonzero(is_trained & ~np.concatenate(([False], is_trained[:-1])))
    return int(starts[-1]) if len(starts) else 0
