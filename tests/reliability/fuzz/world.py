"""Folder of small valid files: data, configurations, a run of each task, model folders, a tokenizer and a task file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.evaluation.lm_eval.task_file import TASK
from tests.heads import TAGS, TOPICS
from tests.reliability.fuzz.runner import Server
from tests.runs import write_text

HEADS: Final = ("topics", "tags", "qa")
GENERATORS: Final = ("lm", "chat", "translation")
RUNS: Final = (*GENERATORS, *HEADS)
"""Tasks; each has a file NAME.yaml and the run logs/NAME/version_0."""

TEMPLATE: Final = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)

_LLAMA: Final = {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False}
_CLASSES: Final = {
    "lm": ("CausalLM", "LanguageModeling"),
    "topics": ("SequenceClassification", "TextClassification"),
    "tags": ("TokenClassification", "SequenceTagging"),
    "qa": ("QuestionAnswering", "ReadingComprehension"),
    "chat": ("CausalLM", "InstructionTuning"),
    "translation": ("Seq2SeqLM", "TextToText"),
}
_BACKBONES: Final[dict[str, dict[str, Any]]] = {"lm": _LLAMA, "translation": {"n_encoder_layer": 1}}
_DATA: Final[dict[str, dict[str, Any]]] = {
    "lm": {"tokenizer": "tokenizer.json"},
    "chat": {"chat_template": "plain", "generate_examples": 1, "max_new_tokens": 3},
    "translation": {"template": "{en}", "target": "fr", "generate_examples": 1, "max_new_tokens": 3},
}
_COMMANDS: Final = (
    ("tokenizer", "train", "--train=text.txt", "--vocab_size=280"),
    *(("fit", "-c", f"{name}.yaml") for name in RUNS),
    ("export", "logs/lm/version_0", "model"),
    ("export", "logs/topics/version_0", "head"),
    ("test", "-c", "topics.yaml", "--ckpt_path=logs/topics/version_0"),
)


@dataclass(frozen=True)
class World:
    """Folder of valid files, which inputs copy."""

    folder: Path

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return (self.folder / name).read_bytes()

    def config(self, name: str) -> Any:
        """Return the configuration ``NAME.yaml`` as nested values."""
        return yaml.safe_load(self.read(f"{name}.yaml"))

    def files(self, pattern: str) -> list[str]:
        """Return the names of the files that match a glob pattern, sorted."""
        found = (path for path in self.folder.glob(pattern) if path.is_file())
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def checkpoint(self, name: str) -> str:
        """Return the name of the last checkpoint of a run."""
        return self.files(f"logs/{name}/version_0/checkpoints/*.ckpt")[-1]


def build(server: Server, folder: Path) -> World:
    """Write the files and train the runs in the new ``folder``."""
    folder.mkdir(parents=True)
    write_text(folder, repeats=12)
    for name, rows in ROWS.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in RUNS:
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(_config(name)))
    (folder / "rows").mkdir()
    (folder / "rows/second.txt").write_text("topics.jsonl:2\n")
    (folder / "tasks").mkdir()
    (folder / "tasks/beer.yaml").write_text(TASK.format(name="beer", data="choices.jsonl", more=""))
    for command in _COMMANDS:
        outcome = server.run_in(folder, command)
        assert outcome.code == 0, (command, outcome.out, outcome.err)
    config = folder / "model/tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": TEMPLATE}))
    return World(folder)


ROWS: Final[dict[str, list[dict[str, Any]]]] = {
    "topics": [{"id": f"t{number}", "text": text, "label": label} for number, (text, label) in enumerate(TOPICS)],
    "tags": [{"id": f"w{number}", "tokens": words, "tags": tags} for number, (words, tags) in enumerate(TAGS)],
    "qa": [
        {
            "id": f"q{number}",
            "question": f"Who has {number} bottles?",
            "context": f"{name} has {number} bottles of beer on the wall.",
            "answers": {"text": [name], "answer_start": [0]},
        }
        for number, name in enumerate(("Anna", "Bob", "Carol", "Dora"))
    ],
    "chat": [
        {
            "id": f"c{number}",
            "messages": [
                {"role": "user", "content": f"{number} bottles?"},
                {"role": "assistant", "content": f"{number + 1} bottles."},
            ],
        }
        for number in range(4)
    ],
    "translation": [
        {"id": f"p{number}", "en": f"{number} bottles", "fr": f"{number} bouteilles"} for number in range(4)
    ],
    "pairs": [
        {"sent_more": f"{name} has no beer.", "sent_less": f"{name} has beer.", "bias_type": "age"}
        for name in ("Anna", "Bob", "Carol", "Dora")
    ],
    "choices": [
        {"question": f"{number} bottles of", "choices": [" beer", " rain"], "answer": number % 2} for number in range(4)
    ],
}
"""Dataset -> its rows."""


def _config(name: str) -> dict[str, Any]:
    """Return a configuration of two steps with one validation."""
    model, data = _CLASSES[name]
    backbone = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 64, "dropout": 0.1}
    source = "text.txt" if name == "lm" else f"{name}.jsonl"
    return {
        "experiment": name,
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": 2,
            "log_every_n_steps": 1,
            "val_check_interval": 2,
            "check_val_every_n_epoch": None,
        },
        "model": {
            "class_path": model,
            "init_args": {
                "backbone": backbone | _BACKBONES.get(name, {}),
                "optimizer": {"lr": 0.01},
                "schedule": {"kind": "constant"},
            },
        },
        "data": {
            "class_path": data,
            "init_args": {
                **dict.fromkeys(("train", "validation", "test"), source),
                "tokenizer": "bytes",
                "batch_size": 2,
                "cache_dir": "cache",
                **_DATA.get(name, {}),
            },
        },
        "samples": {"max_new_tokens": 2},
    }
