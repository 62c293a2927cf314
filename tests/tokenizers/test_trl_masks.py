"""Token ids and loss masks of TRL's SFTTrainer, which are ours too, except where its answers cannot be generated."""

import json
from pathlib import Path

import pytest
import tokenizers

pytest.importorskip("trl")

from benchmarks.trl_masks import IGNORED, differences, of_this_package
from gpt_lightning.tokenizers.build import train_bpe
from tests.tokenizers.published import write_tokenizer

TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def chat(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(texts)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = write_tokenizer(tmp_path, "qwen")
    config = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": TEMPLATE}))
    return path


@pytest.mark.filterwarnings("ignore")
def test_ids_and_labels_are_those_of_trl(folder: Path) -> None:
    chats = [chat("The cat?", "On the mat."), chat(" a  b\n", "café 日本 👍", "didn't\n\n", "  \t12 345\n\n")[:2]]
    assert differences(folder, chats) == []


@pytest.mark.filterwarnings("ignore")
def test_where_ours_is_right(folder: Path) -> None:
    """An answer that starts with line ends is trained after the tokens that the prompt for it has.

    TRL encodes the line end of the prompt and the first one of the answer as one token, which no prompt has, and which
    the model cannot generate after a prompt.
    """
    inner = tokenizers.Tokenizer.from_str(train_bpe(["assistant\n\n\nOn the mat.\n\n\n" * 9], 300).to_json())
    inner.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    inner.save(str(folder / "tokenizer.json"))
    prompt = of_this_package(folder, [chat("The cat?", "x")])[0]
    ((_, own, other),) = differences(folder, [chat("The cat?", "\n\nOn the mat.")])
    first = next(index for index, label in enumerate(prompt[1]) if label != IGNORED)
    assert own[0][:first] == prompt[0][:first] != other[0][:first]
    assert own[1][:first] == [IGNORED] * first
