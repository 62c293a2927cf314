"""Comparison of token ids and loss masks of conversations with those of TRL's SFTTrainer (``assistant_only_loss``).

    python -m benchmarks.trl_masks SMOLLM2_FOLDER ROWS.jsonl ...

It needs ``pip install trl``. TRL needs generation tags in the chat template, and has templates with tags for some
models only. For SmolLM2 it has none, so the tags are added here. Ours reads the original template.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import torch
from datasets import Dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import load_tokenizer
from gpt_lightning.tokenizers.chat_encoding import Chat, ChatTemplate
from gpt_lightning.tokenizers.chat_tokenizer import chat_tokenizer

_TURN: Final = "message['content'] + '<|im_end|>' + '\n'}}"
_TAGGED: Final = (
    "''}}{% if message['role'] == 'assistant' %}{% generation %}{{message['content'] + '<|im_end|>'}}"
    "{% endgeneration %}{% else %}{{message['content'] + '<|im_end|>'}}{% endif %}{{'\n'}}"
)
IGNORED: Final = -100

Labeled = tuple[list[int], list[int]]
"""Token ids and labels of a conversation."""


def of_this_package(folder: Path, conversations: list[list[dict[str, str]]]) -> list[Labeled]:
    """Return the ids and the labels of each conversation with the template of a model folder."""
    template = ChatTemplate(chat_tokenizer(load_tokenizer(str(folder)), None))
    chats = [
        Chat(messages, [index for index, each in enumerate(messages) if each["role"] == "assistant"], str(number))
        for number, messages in enumerate(conversations)
    ]
    result = []
    for encoded in template.encode(chats):
        if isinstance(encoded, InputError):
            raise encoded
        labels = torch.from_numpy(encoded.ids).masked_fill(~torch.from_numpy(encoded.is_trained), IGNORED)
        result.append((encoded.ids.tolist(), labels.tolist()))
    return result


def with_tags(template: str) -> str:
    """Return SmolLM2's template with generation tags; other templates are unchanged."""
    return template.replace(_TURN, _TAGGED)


def of_trl(folder: Path, conversations: list[list[dict[str, str]]]) -> list[Labeled]:
    """Return the ids and the labels of each conversation in the dataset of TRL's SFTTrainer."""
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = with_tags(tokenizer.chat_template)
    shape = {"num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    with tempfile.TemporaryDirectory() as output:
        config = SFTConfig(
            output_dir=output,
            assistant_only_loss=True,
            max_length=None,
            report_to=[],
            bf16=False,
            use_cpu=True,
        )
        trainer = SFTTrainer(
            model=LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)),
            args=config,
            train_dataset=Dataset.from_list([{"messages": messages} for messages in conversations]),
            processing_class=tokenizer,
        )
        rows: Any = trainer.train_dataset
        return [(row["input_ids"], row["labels"]) for row in rows]


def differences(folder: Path, conversations: list[list[dict[str, str]]]) -> list[tuple[int, Labeled, Labeled]]:
    """Return the number, our and TRL's encoding of each conversation for which they differ."""
    pairs = zip(of_this_package(folder, conversations), of_trl(folder, conversations), strict=True)
    return [(number, own, other) for number, (own, other) in enumerate(pairs) if own != other]


def main() -> None:
    """Compare all rows of files, and print the rows that differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("rows", type=Path, nargs="+")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    for path in arguments.rows:
        conversations = [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]
        found = differences(arguments.model, conversations)
        print(f"{path}: {len(conversations) - len(found):,} of {len(conversations):,} rows are equal")
        for number, own, other in found[:10]:
            place = next(
                (index for index, pair in enumerate(zip(*own, *other, strict=False)) if pair[:2] != pair[2:]), 0
            )
            for name, (ids, labels) in (("ours", own), ("TRL", other)):
                window = slice(max(0, place - 3), place + 4)
                print(f"  row {number + 1}, {name}: {tokenizer.convert_ids_to_tokens(ids[window])} {labels[window]}")


if __name__ == "__main__":
    main()
