"""Configurations with changed keys, values, syntax and bytes."""

from random import Random
from typing import Any, Final

import yaml

from tests.reliability.fuzz.inputs import Content, Input
from tests.reliability.fuzz.nasty import change, damage
from tests.reliability.fuzz.world import RUNS, World

SYNTAX: Final = [
    "trainer:\n\tmax_steps: 2\n",
    "a: &a [*a]\n",
    "- 1\n- 2\n",
    "x\n",
    "{",
    "[" * 2000,
    "a:\n" * 3000,
    "!!python/name:os.system\n",
    "a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n"
    "e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n",
    "trainer: {max_steps: 2, max_steps: 3}\n",
    "? [a, b]\n: 1\n",
    "1: 2\n",
    "null: 1\n",
    "<<: {trainer: {max_steps: 1}}\n",
    "trainer: {max_steps: 2}\n---\ntrainer: {max_steps: 3}\n",
    "date: 2020-99-99\n",
    "x: 1:2:3\n",
    "true: no\n",
    "%YAML 9.9\n---\n",
    "model: lm.yaml\n",
    "config: lm.yaml\n",
    "config: config.yaml\n",
    "subcommand: fit\n",
    "fit: {trainer: {max_steps: 2}}\n",
    "x: !!binary abc\n",
    "x: !!timestamp 1\n",
    "x: !!set {a}\n",
    "x: !!int 1x\n",
    "\x00",
    "x: \x1b[31m\n",
    "x: \ufeff\n",
    "trainer.max_steps: 2\n",
    "model: {class_path: CausalLM, init_args: null}\n",
    "model: CausalLM\n",
    "data: [LanguageModeling]\n",
]
"""Texts that replace a configuration, or follow it."""

EXTRAS: Final[list[dict[str, Any]]] = [
    {"trainer": {"callbacks": [{"class_path": "LearningRateMonitor", "init_args": {"logging_interval": "step"}}]}},
    {"trainer": {"callbacks": {"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss", "patience": 2}}}},
    {"trainer": {"logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "csv"}}, "precision": "bf16-mixed"}},
    {
        "trainer": {
            "accumulate_grad_batches": 2,
            "limit_val_batches": 1,
            "gradient_clip_val": 0.5,
            "max_time": "00:00:05:00",
        }
    },
    {"checkpoints": {"every_n_steps": 1, "keep": 2, "monitor": "val/loss", "mode": "min"}},
    {"seed_everything": 7, "resume": "auto", "compile": False, "activation_checkpointing": True},
    {"model": {"init_args": {"schedule": {"kind": "cosine", "warmup_steps": 1, "min_ratio": 0.1}}}},
    {"model": {"init_args": {"optimizer": {"name": "muon", "lr": 0.01, "weight_decay": 0.1, "betas": [0.9, 0.99]}}}},
    {"model": {"init_args": {"fine_tuning": {"lora": {"rank": 2}}}}},
    {"data": {"init_args": {"num_workers": 1, "seed": 3}}},
    {"data": {"init_args": {"block_size": 32, "text_column": "text"}}},
]
"""Sections that a configuration may get before it is changed."""


def draw(rng: Random, world: World) -> Input:
    """Return a run with a changed configuration."""
    name = rng.choice(RUNS)
    config = world.config(name) | {"experiment": "new"}
    command = ["fit", "-c", "config.yaml"]
    if rng.random() < 0.25:
        command = [
            rng.choice(("validate", "test", "predict")),
            "-c",
            "config.yaml",
            f"--ckpt_path=logs/{name}/version_0",
        ]
    if rng.random() < 0.05:
        return Input(("fit", "-c", "config.yaml"), {"config.yaml": dump(config)}, is_valid=True)
    for extra in rng.sample(EXTRAS, rng.randrange(3)):
        _merge(config, extra)
    return Input(tuple(command), {"config.yaml": _changed(rng, config)})


def _changed(rng: Random, config: Any) -> Content:
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(SYNTAX).encode()
    if kind < 0.2:
        return dump(config) + rng.choice(SYNTAX).encode()
    if kind < 0.35:
        return damage(rng, dump(config))
    return dump(change(rng, config))


def dump(config: Any) -> bytes:
    """Return a value as YAML."""
    return str(yaml.dump(config)).encode(errors="surrogatepass")


def _merge(config: dict[str, Any], extra: dict[str, Any]) -> None:
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _merge(config[key], value)
        else:
            config[key] = value
