"""Chat templates that fail, never end or need much memory."""

import json
from random import Random
from typing import Final

from tests.reliability.fuzz.inputs import Content, Input
from tests.reliability.fuzz.nasty import VALUES, as_json, damage
from tests.reliability.fuzz.world import TEMPLATE, World

TEMPLATES: Final = [
    "{{ 1 / 0 }}",
    "{{ 1 // 0 }}",
    "{{ 2 ** 10 ** 10 }}",
    "{{ 'x' * 10 ** 10 }}",
    "{{ messages[9].role }}",
    "{{ undefined.x.y }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for a in range(10 ** 9) %}{% endfor %}",
    "{% include 'x' %}",
    "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3,
    "{{ raise_exception('no \x1b[31m') }}",
    "{{ raise_exception() }}",
    "{% break %}",
    "{{",
    "{% if %}",
    "{{ messages|tojson(indent=10**9) }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.append(1) }}",
    "{{ strftime_now(5) }}",
    "{{ strftime_now('%Q' * 10 ** 6) }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ '{:>9999999999}'.format(1) }}",
    "{{ messages|map('upper')|list }}",
    "{{ messages|sort }}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "",
    "x",
    "\x00",
    "[" * 5000,
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% if x %}" * 3000,
    "{{ cycler() }}",
    "{{ lipsum(n=10**9) }}",
    "{{ messages|batch(0)|list }}",
    "{{ 'x'|center(10**11) }}",
    "{{ 'x'|indent(10**11) }}",
    "{{ 'a b'|wordwrap(0) }}",
    "{{ 1|round(10**9) }}",
    "{{ messages|slice(10**9)|list }}",
    "{{ messages[-1].content[:-50] }}",
    "{% call f() %}{% endcall %}",
    "{% filter nothing %}{% endfilter %}",
    "{{ caller() }}",
    "{{ self.x() }}",
]


def draw(rng: Random, world: World) -> Input:
    """Return an evaluation of a chat model with another template."""
    command = ["lm-eval", "model", "--tasks=beer", "--include_path=tasks", "--limit=1", "--apply_chat_template"]
    command += ["--num_fewshot=0"] if rng.random() < 0.2 else []
    if rng.random() < 0.05:
        return Input(tuple(command), is_valid=True)
    config = json.loads(world.read("model/tokenizer_config.json"))
    return Input(tuple(command), _files(rng, config))


def _files(rng: Random, config: dict[str, object]) -> dict[str, Content]:
    kind = rng.random()
    if kind < 0.1:
        return {"model/tokenizer_config.json": as_json(config | {"chat_template": rng.choice(VALUES)})}
    if kind < 0.2:
        named: list[dict[str, object]] = [
            {"name": rng.choice(("default", "tool", 5, None)), "template": rng.choice([*TEMPLATES, None, []])}
        ]
        return {"model/tokenizer_config.json": as_json(config | {"chat_template": named})}
    if kind < 0.35:
        return {"model/chat_template.jinja": damage(rng, TEMPLATE.encode())}
    template = rng.choice(TEMPLATES)
    template = template if rng.random() < 0.6 else TEMPLATE + template
    if kind < 0.5:
        return {"model/chat_template.jinja": template.encode()}
    return {"model/tokenizer_config.json": as_json(config | {"chat_template": template})}
