"""Conversations, instructions and pairs of texts: findings for instruction tuning."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from gpt_lightning.commands.init.choice import Choice
from gpt_lightning.commands.init.columns import Columns
from gpt_lightning.commands.init.findings import Findings, count, lengths, parse
from gpt_lightning.data import InstructionTuning
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.tasks import CausalLM

ROLES: Final = ("messages", "source", "target")
_TEMPLATE_TOKENS: Final = 32
"""Tokens reserved for the special tokens and the names of the roles."""
_PAIR_WHY: Final = "write the task in words before the braces if the model knows more than one"


def find(rows: Sequence[Row], columns: Columns) -> Findings:
    """Return the findings for rows with messages, with an instruction and its answer, or with two columns of text.

    Raises:
        InputError: the columns are not recognized, or no row is valid.
    """
    named: dict[str, Any] = {}
    if "messages" in columns.flags:
        named["messages_column"] = columns.flags["messages"]
    elif {"source", "target"} & set(columns.flags):
        source, target = columns.require("source", "target")
        named = {"template": f"{{{source}}}", "target": target}
    examples, arguments = parse(partial(InstructionTuning, **named), rows)
    texts = ["\n".join(message["content"] for message in example.messages) for example in examples]
    turns = sum(message["role"] == "assistant" for example in examples for message in example.messages)
    if "template" in named:
        named["template"] = Choice(named["template"], _PAIR_WHY)
    return Findings(
        task=CausalLM,
        module=InstructionTuning,
        arguments={**named, **arguments},
        texts=texts,
        extra_tokens=_TEMPLATE_TOKENS,
        summary=f"{count(len(examples), 'conversation')} with {count(turns, 'answer')}. {lengths(texts, 'They')}",
        monitor="val/loss",
        mode="min",
        attention="causal",
        min_block_size=64,
    )
