"""Rows for ``predict``, from files and from standard input."""

from random import Random

from tests.reliability.fuzz.inputs import Content, Input
from tests.reliability.fuzz.kinds.data_files import jsonl
from tests.reliability.fuzz.nasty import change, damage
from tests.reliability.fuzz.world import HEADS, ROWS, World


def draw(rng: Random, _: World) -> Input:
    """Return a prediction of changed rows."""
    name = rng.choice((*HEADS, "chat", "translation"))
    model = rng.choice(("head", "logs/topics/version_0")) if name == "topics" else f"logs/{name}/version_0"
    is_valid = rng.random() < 0.05
    content: Content = jsonl(ROWS[name] if is_valid else change(rng, ROWS[name]))
    if not is_valid and rng.random() < 0.4:
        assert isinstance(content, bytes)
        content = damage(rng, content)
    output = (
        () if is_valid or rng.random() < 0.7 else (f"--output={rng.choice(('odd/full', 'odd/pipe/x', 'odd', 'x/y'))}",)
    )
    if isinstance(content, bytes) and rng.random() < 0.3:
        return Input(("predict", f"--model={model}", "--input=-", *output), stdin=content, is_valid=is_valid)
    return Input(
        ("predict", f"--model={model}", "--input=rows.jsonl", *output), {"rows.jsonl": content}, is_valid=is_valid
    )
