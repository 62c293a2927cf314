"""Task files of lm-evaluation-harness with changed fields, templates, filters and rows."""

from random import Random
from typing import Any, Final

import yaml

from tests.reliability.fuzz.inputs import Content, Input
from tests.reliability.fuzz.kinds.chat_templates import TEMPLATES
from tests.reliability.fuzz.kinds.configs import SYNTAX, dump
from tests.reliability.fuzz.kinds.data_files import jsonl
from tests.reliability.fuzz.kinds.tokenizers import PATTERNS
from tests.reliability.fuzz.nasty import change, damage
from tests.reliability.fuzz.world import ROWS, World

_GENERATE: Final[dict[str, Any]] = {
    "output_type": "generate_until",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
_FIELDS: Final = (
    "doc_to_text",
    "doc_to_target",
    "doc_to_choice",
    "description",
    "target_delimiter",
    "fewshot_delimiter",
)


def draw(rng: Random, world: World) -> Input:
    """Return an evaluation on a changed task."""
    command = ["lm-eval", "model", "--tasks=beer", "--include_path=tasks", "--limit=2"]
    if rng.random() < 0.05:
        return Input(tuple(command), is_valid=True)
    if rng.random() < 0.15:
        return Input(tuple(command), {"choices.jsonl": _rows(rng)})
    command += rng.choice(([], [], ["--num_fewshot=1"], ["--apply_chat_template"], ["--output=results.json"]))
    task = yaml.safe_load(world.read("tasks/beer.yaml"))
    return Input(tuple(command), {"tasks/beer.yaml": _changed(rng, task)})


def _rows(rng: Random) -> Content:
    content = jsonl(change(rng, ROWS["choices"]))
    return damage(rng, content) if rng.random() < 0.4 else content


def _changed(rng: Random, task: dict[str, Any]) -> Content:
    task |= _GENERATE if rng.random() < 0.4 else {}
    kind = rng.random()
    if kind < 0.1:
        return dump(task) + rng.choice(SYNTAX).encode()
    if kind < 0.2:
        return damage(rng, dump(task))
    if kind < 0.45:
        return dump(task | {rng.choice(_FIELDS): rng.choice(TEMPLATES)})
    if kind < 0.6:
        steps = [
            {"function": rng.choice(("regex", "take_first", "remove_whitespace", "none", "map"))} for _ in range(2)
        ]
        steps[0] |= {"function": "regex", "regex_pattern": rng.choice(PATTERNS)} if rng.random() < 0.7 else {}
        return dump(task | _GENERATE | {"filter_list": [{"name": "x", "filter": steps}]})
    return dump(change(rng, task))
