"""Chats have the token ids and loss masks of transformers, and special tokens in users' texts stay ordinary text."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import bytes_tokenizer, load_tokenizer, train_bpe
from gpt_lightning.tokenizers.chat_encoding import Chat, ChatTemplate, EncodedChat, TemplateError
from gpt_lightning.tokenizers.chat_template import chat_text
from gpt_lightning.tokenizers.chat_tokenizer import chat_tokenizer
from gpt_lightning.tokenizers.config import TokenizerConfig
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from tests.tokenizers.published import CHATML, FAMILIES, TEXT, write_tokenizer

CHATS = [
    [{"role": "user", "content": "Where is the cat?"}, {"role": "assistant", "content": "the mat."}],
    [
        {"role": "user", "content": " Where is the café? "},
        {"role": "assistant", "content": "\n\n  Here!\n"},
        {"role": "user", "content": "日本 👍 didn't 123"},
        {"role": "assistant", "content": "The dog sat."},
    ],
]
TAGGED = (
    "{%- for m in messages -%}\n  {{- '<|im_start|>' + m.role + '\n' -}}\n  {%- if m.role == 'assistant' %}\n"
    "{% generation %}\n{{- m.content + '<|im_end|>' -}}\n{% endgeneration %}\n{%- else %}{{ m.content + '<|im_end|>' }}"
    "{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def answers(messages: list[dict[str, str]]) -> list[int]:
    return [index for index, each in enumerate(messages) if each["role"] == "assistant"]


def encode(tokenizer: Tokenizer, *chats: list[dict[str, str]]) -> list[EncodedChat]:
    """Return the encoded chats, all of whose answers are trained."""
    found = ChatTemplate(tokenizer).encode([Chat(each, answers(each), "rows:1") for each in chats])
    assert all(isinstance(each, EncodedChat) for each in found), found
    return [each for each in found if isinstance(each, EncodedChat)]


def with_template(tokenizer: Tokenizer, template: str) -> Tokenizer:
    return chat_tokenizer(tokenizer, template)


@pytest.fixture(scope="module", params=[name for name, (_, config) in FAMILIES.items() if "chat_template" in config])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a published tokenizer with a chat template."""
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"), request.param)


def test_ids_are_those_of_transformers(folder: Path) -> None:
    ours, reference = chat_tokenizer(load_tokenizer(str(folder)), None), AutoTokenizer.from_pretrained(folder)
    for messages, encoded in zip(CHATS[:1], encode(ours, *CHATS[:1]), strict=True):
        expected = reference.apply_chat_template(messages, return_dict=False)
        assert encoded.ids.tolist() == expected
        prompt = reference.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
        assert encoded.ids[: len(prompt)].tolist() == prompt
        assert not encoded.is_trained[: len(prompt)].any()
        assert ours.decode(encoded.ids[encoded.is_trained]).strip() == "the mat."


@pytest.mark.parametrize("content", ["Where is it?", "Where is it?\n", "Where is it? ", "Where is it?\n\n  "])
@pytest.mark.parametrize("ending", ["\n", "\n\n", " "])
def test_prompts_that_end_with_blanks(content: str, ending: str) -> None:
    """GPT-2's pattern splits blanks before an answer otherwise than at the end of a prompt."""
    template = (
        "{% for m in messages %}{{ m.content + '" + ending.replace("\n", "\\n") + "' if m.role == 'user' "
        "else m.content + eos_token }}{% endfor %}"
    )
    inner = Inner(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    inner.train_from_iterator([f"Where is it?{blanks}" for blanks in ("\n\n", " \n", "\n\n  ", "  ")] * 20, trainer)
    tokenizer = with_template(Tokenizer(inner), template)
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "The dog sat."}]
    (encoded,) = encode(tokenizer, messages)
    (prompt,) = ChatTemplate(tokenizer).prompts([Chat(messages[:1], (), "")])
    assert not isinstance(prompt, InputError)
    assert encoded.ids[~encoded.is_trained].tolist()[: len(prompt)] == prompt.tolist()
    assert int(np.flatnonzero(encoded.is_trained)[0]) == len(prompt)


def test_answers_begin_where_prompts_end(folder: Path) -> None:
    """An answer that starts with whitespace does not change the tokens of its prompt."""
    ours = chat_tokenizer(load_tokenizer(str(folder)), None)
    template = ChatTemplate(ours)
    for messages, encoded in zip(CHATS, encode(ours, *CHATS), strict=True):
        (prompt,) = template.prompts([Chat(messages[:-1], (), "")])
        assert not isinstance(prompt, InputError)
        start = int(np.flatnonzero(~encoded.is_trained)[-1]) + 1 if not encoded.is_trained[-1] else None
        runs = np.flatnonzero(encoded.is_trained & ~np.r_[False, encoded.is_trained[:-1]])
        assert encoded.ids[: runs[-1]].tolist() == prompt.tolist(), start


def test_mask_of_generation_tags(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path, "qwen")
    reference = AutoTokenizer.from_pretrained(folder)
    tagged = with_template(load_tokenizer(str(folder)), TAGGED)
    for messages, encoded in zip(CHATS[:1], encode(tagged, *CHATS[:1]), strict=True):
        expected = reference.apply_chat_template(
            messages, chat_template=TAGGED, return_assistant_tokens_mask=True, return_dict=True
        )
        assert encoded.ids.tolist() == expected["input_ids"]
        assert encoded.is_trained.astype(int).tolist() == expected["assistant_masks"]


def test_both_ways_to_find_answers_agree(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(write_tokenizer(tmp_path, "qwen")))
    for by_tags, by_prefixes in zip(
        encode(with_template(tokenizer, TAGGED), *CHATS), encode(with_template(tokenizer, CHATML), *CHATS), strict=True
    ):
        assert by_tags.ids.tolist() == by_prefixes.ids.tolist()
        assert by_tags.is_trained.tolist() == by_prefixes.is_trained.tolist()


FORGED = ["<|im_end|>", "<|im_start|>", "</s>", "<s>", "<|eot_id|>", "<|begin_of_text|>", "<unk>", "<|endoftext|>"]
MADE: dict[str, Any] = {"bytes": bytes_tokenizer, "bpe": lambda: train_bpe([TEXT], 300)}


@pytest.mark.parametrize("name", [*MADE, *(name for name in FAMILIES if name not in ("wordpiece", "unigram"))])
@pytest.mark.parametrize("template", [None, "chatml", "plain"])
def test_users_forge_no_special_token(name: str, template: str | None, tmp_path: Path) -> None:
    """The special ids of a chat are the same whatever its texts contain, and no text is lost."""
    made = MADE[name]() if name in MADE else load_tokenizer(str(write_tokenizer(tmp_path, name)))
    tokenizer = chat_tokenizer(made, template)
    special = {each["id"] for each in tokenizer.state()["added_tokens"] if each["special"]} - {tokenizer.unknown_id}

    def special_ids(text: str) -> list[int]:
        (encoded,) = encode(
            tokenizer, [{"role": "user", "content": text}, {"role": "assistant", "content": f"{text}b"}]
        )
        if name != "mistral" and not {"\ufdd0", "\ufdd1", "\ufdd2"} & set(text):  # its decoder keeps bytes
            assert tokenizer.decode(encoded.ids).count(text.strip()) >= 2, "no text is lost"
        return [index for index in encoded.ids.tolist() if index in special]

    expected = special_ids("a")
    texts = [f"{before}{token}{after}" for token in FORGED for before in ("", "a ") for after in ("", " a")]
    texts += ["".join(pair) for pair in itertools.product(FORGED[:3], FORGED[:3])]
    texts += [
        "<|im_<|im_end|>end|>",
        "im_end|>",
        "a <|im_",
        ">",
        "<|im_\ufdd0end|>",
        "\ufdd1<|im_end|>\ufdd1",
        "\ufdd2",
    ]
    for text in texts:
        assert special_ids(text) == expected, text


def test_halves_of_special_tokens_at_borders_stay_text(tmp_path: Path) -> None:
    """A template that writes half of a special token next to a user's text does not complete it."""
    tokenizer = load_tokenizer(str(write_tokenizer(tmp_path, "qwen")))
    template = CHATML.replace("m.content", "'<|im_' + m.content + 'end|>'")
    (encoded,) = encode(with_template(tokenizer, template), CHATS[0])
    (forged,) = encode(
        with_template(tokenizer, template),
        [{"role": "user", "content": "end|> <|im_"}, {"role": "assistant", "content": "the mat."}],
    )
    end = tokenizer.token_id("<|im_end|>", -1)
    assert (encoded.ids == end).sum() == (forged.ids == end).sum() == 2


@pytest.mark.parametrize("name", ["llama2", "llama3", "mistral", "gemma", "qwen", "gpt2"])
@pytest.mark.parametrize("template", [None, "chatml", "plain"])
def test_one_beginning_token_at_most(name: str, template: str | None, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(write_tokenizer(tmp_path, name)))
    begin = tokenizer.config.bos_token
    (encoded,) = encode(chat_tokenizer(tokenizer, template), CHATS[0])
    count = 0 if begin is None else int((encoded.ids == tokenizer.begin_of_text_id).sum())
    expected = 0 if begin is None else 1
    if begin == tokenizer.config.eos_token and template == "plain":
        expected += 1  # the answer ends with the same token
    assert count == expected
    assert begin is None or encoded.ids[0] == tokenizer.begin_of_text_id


def test_answers_end_with_a_token_that_stops() -> None:
    """The end-of-turn token of the template is trained and ends generation, even if no configuration names it."""
    for made in (bytes_tokenizer(), train_bpe([TEXT], 300)):
        tokenizer = chat_tokenizer(made, None)
        (encoded,) = encode(tokenizer, CHATS[0])
        last = int(encoded.ids[encoded.is_trained][-1])
        assert tokenizer.token(last) == "<|im_end|>"
        assert last in tokenizer.end_ids
        assert chat_tokenizer(tokenizer, None) is tokenizer
        assert chat_tokenizer(tokenizer, "chatml").to_json() == tokenizer.to_json(), "the same settings change nothing"
        assert Tokenizer.from_json(tokenizer.to_json()).end_ids == tokenizer.end_ids


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (CHATML.replace("'<|im_end|>' + '\n'", "'\n'"), "'the mat.\\\\n', without a token that ends generation"),
        (
            "{% for m in messages %}{{ loop.length }}{{ m.content }}<|im_end|>{% endfor %}",
            "renders the messages before an answer differently once the answer follows",
        ),
        (TAGGED.replace("+ '<|im_end|>' -}}\n{% endgen", "-}}\n{% endgen"), "without a token that ends generation"),
        (TAGGED.replace("m.role == 'assistant'", "true"), "has 2 pairs of generation tags for 1 answers"),
    ],
)
def test_templates_that_cannot_be_trained_are_refused(template: str, reason: str, tmp_path: Path) -> None:
    tokenizer = with_template(load_tokenizer(str(write_tokenizer(tmp_path, "qwen"))), template)
    with pytest.raises(TemplateError, match=f"^rows:1: the chat template .*{reason}.*--data.chat_template"):
        encode(tokenizer, CHATS[0])


def test_a_template_that_raises_is_an_error_of_the_row(tmp_path: Path) -> None:
    template = CHATML + "{% if messages | length > 2 %}{{ raise_exception('only one turn') }}{% endif %}"
    tokenizer = with_template(load_tokenizer(str(write_tokenizer(tmp_path, "qwen"))), template)
    good, bad = ChatTemplate(tokenizer).encode([Chat(each, answers(each), "rows:7") for each in CHATS])
    assert isinstance(good, EncodedChat)
    assert isinstance(bad, InputError)
    assert str(bad) == "rows:7: the chat template rejects these messages: only one turn; fix or remove this row"


def test_messages_that_are_not_trained(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer(load_tokenizer(str(write_tokenizer(tmp_path, "qwen"))), None)
    template = ChatTemplate(tokenizer)
    for trained, expected in (((3,), "The dog sat."), ((0,), "user\n Where is the café? ")):
        (encoded,) = template.encode([Chat(CHATS[1], trained, "")])
        assert isinstance(encoded, EncodedChat)
        assert tokenizer.decode(encoded.ids[encoded.is_trained]).strip() == expected.strip()
    (encoded,) = template.encode([Chat(CHATS[1], None, "")])
    assert isinstance(encoded, EncodedChat)
    assert encoded.is_trained.all()


def test_a_missing_template_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data.chat_template=chatlm: there is no such file. Choose chatml, plain"):
        chat_tokenizer(bytes_tokenizer(), "chatlm")
    (tmp_path / "mine.jinja").write_text(CHATML)
    tokenizer = chat_tokenizer(bytes_tokenizer(), str(tmp_path / "mine.jinja"))
    assert tokenizer.config == TokenizerConfig(
        bos_token="<|endoftext|>", eos_token="<|endoftext|>", chat_template=CHATML
    )


def test_a_token_before_the_text_of_an_answer_does_not_end_it() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% else %}<|assistant|><|say|>"
        "{{ m.content }}<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    tokenizer = chat_tokenizer(bytes_tokenizer(), template)
    assert {tokenizer.token(index) for index in tokenizer.end_ids} == {"<|endoftext|>", "<|end|>"}
    (encoded,) = encode(tokenizer, CHATS[0][:2])
    trained = encoded.ids[encoded.is_trained].tolist()
    assert (trained[0], trained[-1]) == (tokenizer.special_id("<|say|>"), tokenizer.special_id("<|end|>"))


def test_markers_of_a_template_become_tokens_that_users_cannot_write() -> None:
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    tokenizer = chat_tokenizer(bytes_tokenizer(), template)
    markers = [tokenizer.special_id(f"<|{role}|>") for role in ("system", "user", "assistant")]
    assert None not in markers
    messages = [{"role": "user", "content": "<|assistant|>"}, {"role": "assistant", "content": "a"}]
    (encoded,) = encode(tokenizer, messages)
    assert [index for index in encoded.ids.tolist() if index in markers] == [markers[1], markers[2]]


def test_templates_read_all_special_tokens(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path, "qwen")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sep_token": "<|endoftext|>", "mask_token": "~"}))
    template = "{{ sep_token }}{{ mask_token }}{{ messages[0].content }}"
    reference = AutoTokenizer.from_pretrained(folder)
    expected = reference.apply_chat_template(CHATS[0], chat_template=template, tokenize=False)
    ours = with_template(load_tokenizer(str(folder)), template)
    assert chat_text(ours.config, CHATS[0][:1], add_generation_prompt=True) == expected
