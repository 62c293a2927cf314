"""Token ids of whole chats in the format of a chat template, and which of them are trained."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.errors import InputError
from gpt_lightning.sandbox.render import NOW
from gpt_lightning.sandbox.templates import RenderError, render_all
from gpt_lightning.tokenizers.chat_template import (
    has_generation_tags,
    mark_generation,
    template_variables,
    without_generation_tags,
)
from gpt_lightning.tokenizers.guarded import SPAN_END, SPAN_START, GuardedTokenizer
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_REMEDY: Final = "Choose another one with --data.chat_template, such as chatml or a .jinja file"


class TemplateError(InputError):
    """Error for a chat template that cannot be trained on, whatever the row."""


@dataclass(frozen=True, slots=True)
class Chat:
    """Messages, and which of them are trained.

    Attributes:
        messages: messages with ``role`` and ``content``, at least one.
        trained: indices of the messages whose text is trained; None trains all text, including that of the template.
        where: location for messages, such as ``path:line``.
    """

    messages: Sequence[Mapping[str, str]]
    trained: Sequence[int] | None
    where: str


class EncodedChat(NamedTuple):
    """Token ids of a chat, (n,) int64, and which of them are trained, (n,) bool."""

    ids: NDArray[np.int64]
    is_trained: NDArray[np.bool_]


class _Span(NamedTuple):
    start: int
    stop: int


class ChatTemplate:
    """Chat template of a tokenizer.

    Generation tags mark where an answer begins. In templates without such tags, it begins where the rendering of all
    earlier messages ends. It ends with the token that stops generation.

    Args:
        tokenizer: tokenizer with a chat template.
        now: time that the template reads as the current one, in seconds since 1970; None is the current time.
    """

    def __init__(self, tokenizer: Tokenizer, now: float | None = None) -> None:
        assert tokenizer.config.chat_template is not None
        self._config, self._template = tokenizer.config, tokenizer.config.chat_template
        self._time = {} if now is None else {NOW: now}
        self._guarded = GuardedTokenizer(tokenizer)
        self._end = re.compile("|".join(re.escape(tokenizer.token(index)) for index in tokenizer.end_ids))

    def encode(self, chats: Sequence[Chat]) -> list[EncodedChat | InputError]:
        """Return the ids of each chat, or an error in place of one that cannot be encoded.

        Raises:
            TemplateError: a prompt is no prefix of the chat, or an answer ends without a token that stops generation.
        """
        by_tags = has_generation_tags(self._template) and all(map(_trains_answers_only, chats))
        rendered = self._render(chats, by_tags=by_tags)
        found = [self._parts(chat, texts, by_tags=by_tags) for chat, texts in zip(chats, rendered, strict=True)]
        valid = [each for each in found if not isinstance(each, InputError)]
        encoded = iter(self._guarded.encode([[text for text, _ in parts] for parts in valid]))
        results: list[EncodedChat | InputError] = []
        for chat, parts in zip(chats, found, strict=True):
            if isinstance(parts, InputError):
                results.append(parts)
            elif isinstance(ids := next(encoded), InputError):
                results.append(InputError(f"{chat.where}: {ids}"))
            else:
                flags = [np.full(len(part), is_trained) for part, (_, is_trained) in zip(ids, parts, strict=True)]
                results.append(EncodedChat(np.concatenate(ids), np.concatenate(flags)))
        return results

    def prompts(self, chats: Sequence[Chat]) -> list[NDArray[np.int64] | InputError]:
        """Return the ids of the prompt for an answer to each chat, or an error in its place."""
        requests = [(messages, len(messages), True) for messages in self._messages(chats)]
        texts = self._rendered(self._plain, requests)
        encoded = iter(self._guarded.encode([[text] for text in texts if isinstance(text, str)]))
        results: list[NDArray[np.int64] | InputError] = []
        for chat, text in zip(chats, texts, strict=True):
            if isinstance(text, RenderError):
                results.append(_rejected(chat, text))
            elif isinstance(ids := next(encoded), InputError):
                results.append(InputError(f"{chat.where}: {ids}"))
            else:
                results.append(ids[0])
        return results

    @property
    def _plain(self) -> str:
        return without_generation_tags(self._template)

    def _messages(self, chats: Sequence[Chat]) -> list[list[dict[str, str]]]:
        """Return the messages of each chat, with marks in the special tokens that users' texts contain."""
        guard = self._guarded.guard
        return [[{name: guard(text) for name, text in each.items()} for each in chat.messages] for chat in chats]

    def _rendered(
        self, template: str, requests: Sequence[tuple[list[dict[str, str]], int, bool]]
    ) -> list[str | RenderError]:
        """Return the text of the first messages of chats.

        Args:
            template: the template.
            requests: messages, how many of them are rendered, and whether the start of an answer follows.
        """
        variables = [
            template_variables(self._config, messages[:count], add_generation_prompt=is_prompt) | self._time
            for messages, count, is_prompt in requests
        ]
        return render_all("chat", template, variables)

    def _render(self, chats: Sequence[Chat], *, by_tags: bool) -> Iterator[dict[tuple[int, bool], str | RenderError]]:
        """Yield the renderings that are needed to find the answers of each chat.

        A key is how many messages are rendered, and whether the start of an answer follows.
        """
        all_messages = self._messages(chats)
        keys = [[(len(chat.messages), False)] if by_tags else _needed_keys(chat) for chat in chats]
        requests = [(messages, *key) for messages, needed in zip(all_messages, keys, strict=True) for key in needed]
        template = mark_generation(self._template, SPAN_START, SPAN_END) if by_tags else self._plain
        texts = iter(self._rendered(template, requests))
        for needed in keys:
            yield {key: next(texts) for key in needed}

    def _parts(
        self, chat: Chat, texts: Mapping[tuple[int, bool], str | RenderError], *, by_tags: bool
    ) -> list[tuple[str, bool]] | InputError:
        """Return the parts of the rendered text, and whether each is trained."""
        failed = next((each for each in texts.values() if isinstance(each, RenderError)), None)
        if failed is not None:
            return _rejected(chat, failed)
        full = str(texts[len(chat.messages), False])
        if chat.trained is None:
            return [(full.replace(SPAN_START, "").replace(SPAN_END, ""), True)]
        if by_tags:
            full, spans = _marked_spans(chat, full)
        else:
            spans = [_span(chat, index, texts, full) for index in chat.trained]
        parts, position = [], 0
        for index, (start, stop) in zip(chat.trained, spans, strict=True):
            if chat.messages[index]["role"] == "assistant":
                stop = start + self._answer_length(chat, full[start:stop])
            parts += [(full[position:start], False), (full[start:stop], True)]
            position = stop
        return [*parts, (full[position:], False)]

    def _answer_length(self, chat: Chat, answer: str) -> int:
        """Return the length of an answer up to and including the token that stops generation."""
        ends = [match.end() for match in self._end.finditer(answer)]
        if ends:
            return ends[-1]
        raise TemplateError(
            f"{chat.where}: the chat template ends an answer with {self._guarded.clean(answer)[-30:]!r}, without a "
            "token that ends generation, so the model would never learn to stop. Put that token (or, with generation "
            f"tags, the tag after it) where the answer ends. {_REMEDY}"
        )


def _trains_answers_only(chat: Chat) -> bool:
    """Return whether generation tags mark all text that is trained; they mark answers only."""
    return chat.trained is None or all(chat.messages[index]["role"] == "assistant" for index in chat.trained)


def _needed_keys(chat: Chat) -> list[tuple[int, bool]]:
    """Return the keys of the renderings that end where a trained message starts or stops."""
    count = len(chat.messages)
    keys = [(count, False)]
    for index in chat.trained or ():
        keys += [(index, chat.messages[index]["role"] == "assistant"), (index + 1, False)]
    return list(dict.fromkeys(key for key in keys if key != (0, False)))


def _span(chat: Chat, index: int, texts: Mapping[tuple[int, bool], str | RenderError], full: str) -> _Span:
    """Return where a message is in the rendered text."""
    is_answer = chat.messages[index]["role"] == "assistant"
    before, after = str(texts.get((index, is_answer), "")), str(texts[index + 1, False])
    if full.startswith(before) and full.startswith(after) and len(before) < len(after):
        return _Span(len(before), len(after))
    raise TemplateError(
        f"{chat.where}: the chat template renders the messages before an answer differently once the answer follows, "
        f"so the model would be trained on other prompts than it is given later (message {index + 1} of "
        f"{len(chat.messages)}). Train only the last answers with --data.train_on=last, if only earlier ones change, "
        f"or choose another template with --data.chat_template, such as chatml or a .jinja file"
    )


def _marked_spans(chat: Chat, full: str) -> tuple[str, list[_Span]]:
    """Return the rendered text without marks, and where the trained answers are in it."""
    answers = [index for index, message in enumerate(chat.messages) if message["role"] == "assistant"]
    pieces = re.split(f"[{SPAN_START}{SPAN_END}]", full)
    borders = np.cumsum([len(piece) for piece in pieces])
    spans = {index: _Span(*borders[2 * n : 2 * n + 2].tolist()) for n, index in enumerate(answers)}
    if len(pieces) != 2 * len(answers) + 1 or chat.trained is None or not set(chat.trained) <= set(answers):
        raise TemplateError(
            f"{chat.where}: the chat template has {len(pieces) // 2} pairs of generation tags for {len(answers)} "
            f"answers. Put them around each answer and nothing else. {_REMEDY}"
        )
    return "".join(pieces), [spans[index] for index in chat.trained]


def _rejected(chat: Chat, error: RenderError) -> InputError:
    return InputError(f"{chat.where}: the chat template rejects these messages: {error}; fix or remove this row")
