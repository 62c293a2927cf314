"""Tests that run every shipped YAML."""

import json
import os
import re
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import yaml

from gpt_lightning.cli import main
from gpt_lightning.commands.run.cli import CLI
from gpt_lightning.models import GPT, GPTConfig
from gpt_lightning.models.config import PER_TASK
from gpt_lightning.tasks import CausalLM, Seq2SeqLM
from gpt_lightning.tokenizers.build import bytes_tokenizer
from gpt_lightning.toy_world.write import SPLITS, write
from tests.models.huggingface.families import save_reference

CONFIGS = Path(__file__).parents[1] / "configs"
WAYS = ["encoder", "decoder"]
"""Attention of a nano backbone for fine-tuning: bidirectional or causal."""
ROWS = {
    "TextClassification": "classification",
    "TextRegression": "liking",
    "SequenceTagging": "ner",
    "ReadingComprehension": "qa",
}
"""Data module -> folder of the toy world with rows for it."""


def data_module(path: Path) -> str:
    """Return the class path of the data module in a configuration."""
    return str(yaml.safe_load(path.read_text())["data"]["class_path"])


MODULES = {path.name: data_module(path) for path in sorted(CONFIGS.glob("*.yaml"))}
HUB_ONLY = "pretrain_fineweb_edu_gpt2_124m.yaml"
LANGUAGE_MODELS = [name for name, module in MODULES.items() if module == "LanguageModeling" and name != HUB_ONLY]
HEADS = {name: ROWS[module] for name, module in MODULES.items() if module in ROWS}
HEADS["toy_world_entailment.yaml"] = "entailment"
"""Configuration -> folder of the toy world with rows for it."""
TEXT_TO_TEXT = [name for name, module in MODULES.items() if module in ("InstructionTuning", "TextToText")]
TEXT_TO_TEXT.remove("transformer_base.yaml")  # it names no columns, and has tests of its own
"""Configurations that learn to write texts."""
ON_PUBLISHED = [name for name in [*HEADS, *TEXT_TO_TEXT] if name.startswith("smollm2_")]
"""Configurations that start from a published model in the working directory."""


def test_the_sweep_sees_every_configuration() -> None:
    assert len(LANGUAGE_MODELS) >= 5
    assert len(HEADS) >= 15
    assert len(TEXT_TO_TEXT) >= 10
    assert len(ON_PUBLISHED) == 7
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    for name in set(MODULES) - {*LANGUAGE_MODELS, *HEADS, *TEXT_TO_TEXT}:
        assert f"configs/{name}" in tests or name == HUB_ONLY, f"no test runs configs/{name}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small toy world, which the tests only read."""
    folder = tmp_path_factory.mktemp("toy") / "world"
    write(folder, counts={split: 100 if split.startswith("text") else 40 for split in SPLITS})
    return folder


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_configuration_runs(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train two steps on text of the toy world."""
    text = world / "text"
    monkeypatch.chdir(tmp_path)
    code = main(
        [
            *("fit", "-c", str(CONFIGS / name), "--trainer.max_steps=2", "--trainer.limit_val_batches=2"),
            *(
                "--trainer.accelerator=cpu",
                "--samples.max_new_tokens=3",
                "--data.cache_dir=cache",
                "--data.batch_size=2",
            ),
            *(f"--data.train={text / 'validation.jsonl'}", f"--data.validation={text / 'test.jsonl'}"),
        ]
    )
    os.environ.pop("PL_GLOBAL_SEED", None)
    out = capsys.readouterr().out
    assert code == 0
    assert "Stopped after 2 steps: trainer.max_steps=2 is reached\nbest: logs/" in out
    opening = (CONFIGS / name).read_text()
    assert f"gpt-lightning fit -c configs/{name}" in opening, (
        "the first comment of a YAML shows the command that runs it"
    )


@pytest.mark.parametrize("name", HEADS)
def test_head_is_trained_and_tested(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train two steps and test the best checkpoint on rows of the toy world, which flags name."""
    if name in ON_PUBLISHED:
        publish(tmp_path / "smollm2")
    rows = world / HEADS[name]
    monkeypatch.chdir(tmp_path)
    common = ("-c", str(CONFIGS / name), "--trainer.accelerator=cpu", "--data.cache_dir=cache", "--data.batch_size=2")
    few = ("--trainer.limit_val_batches=2", "--trainer.limit_test_batches=2")
    data = [f"--data.{split}={rows / split}.jsonl" for split in ("train", "validation", "test")]
    assert main(["fit", *common, *data, few[0], "--trainer.max_steps=2"]) == 0
    run = f"logs/{name.removesuffix('.yaml')}/version_0"
    assert main(["test", *common, data[2], few[1], f"--ckpt_path={run}"]) == 0
    os.environ.pop("PL_GLOBAL_SEED", None)
    out = capsys.readouterr().out
    assert f"Stopped after 2 steps: trainer.max_steps=2 is reached\nbest: {run}/checkpoints/step_2.ckpt" in out
    assert re.search(r"loss\W+\d", out.split("is reached\n")[1]), "the test's table"
    opening = (CONFIGS / name).read_text()
    assert f"gpt-lightning fit -c configs/{name}" in opening, (
        "the first comment of a YAML shows the command that runs it"
    )
    assert f"gpt-lightning test -c configs/{name}" in opening


@pytest.mark.parametrize("name", TEXT_TO_TEXT)
def test_texts_are_learned(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train two steps and test, on a few rows with the columns of the configuration."""
    if name in ON_PUBLISHED:
        publish(tmp_path / "smollm2")
    data = yaml.safe_load((CONFIGS / name).read_text())["data"]["init_args"]
    columns = re.findall(r"{(\w+)}", data.get("template", ""))
    row: dict[str, object] = dict.fromkeys(columns, "How are you?") | {data.get("target", ""): ["Fine.", "Ok."]}
    user, answer = ({"role": role, "content": "Fine, and you?"} for role in ("user", "assistant"))
    rows = [row if columns else {"messages": [user, answer] * 2}] * 8
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    monkeypatch.chdir(tmp_path)
    common = ("-c", str(CONFIGS / name), "--trainer.accelerator=cpu", "--data.cache_dir=cache", "--data.batch_size=2")
    few = ("--data.generate_examples=1", "--data.max_new_tokens=2", "--data.test=rows.jsonl")
    sources = ("--data.train=rows.jsonl", "--data.validation=rows.jsonl")
    assert main(["fit", *common, *few, *sources, "--trainer.max_steps=2"]) == 0
    run = f"logs/{name.removesuffix('.yaml')}/version_0"
    assert main(["test", *common, *few, f"--ckpt_path={run}"]) == 0
    os.environ.pop("PL_GLOBAL_SEED", None)
    out = capsys.readouterr().out
    assert f"Stopped after 2 steps: trainer.max_steps=2 is reached\nbest: {run}/checkpoints/step_2.ckpt" in out
    assert re.search(r"loss\W+\d", out.split("is reached\n")[1]), "the test's table"
    opening = (CONFIGS / name).read_text()
    for command in ("fit", "test"):
        assert f"gpt-lightning {command} -c configs/{name}" in opening


def publish(folder: Path) -> None:
    """Write a tiny model of SmolLM2's family in Hugging Face's format."""
    save_reference(folder, "smollm2", vocab_size=257, max_position_embeddings=512)
    bytes_tokenizer().save(folder / "tokenizer.json")


def test_gpt2_124m_on_fineweb_edu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file parses, and the model has GPT-2's number of parameters; training needs the network and a GPU."""
    monkeypatch.setattr(CLI, "instantiate_classes", Mock())
    monkeypatch.setattr(CLI, "_run_subcommand", Mock())
    cli = CLI(["fit", "-c", str(CONFIGS / HUB_ONLY)])
    os.environ.pop("PL_GLOBAL_SEED", None)
    model = cli.config["fit"].model
    assert model.class_path == "gpt_lightning.CausalLM"
    shape = GPTConfig(**{key: value for key, value in vars(model.init_args.backbone).items() if key[0] != "_"})
    with torch.device("meta"):
        task = CausalLM(backbone=shape)
    assert sum(parameter.numel() for parameter in task.parameters()) == 124_439_808
    trainer = cli.config["fit"].trainer
    tokens = trainer.devices * cli.config["fit"].data.init_args.batch_size * shape.block_size
    assert tokens * trainer.accumulate_grad_batches * trainer.max_steps == pytest.approx(10e9, rel=1e-3)


TRANSFORMER_BASE = CONFIGS / "transformer_base.yaml"


def test_transformer_base_has_the_size_of_its_paper() -> None:
    """Compare the number of parameters with the published 65 million, and with their sum by hand."""
    backbone = yaml.safe_load(TRANSFORMER_BASE.read_text())["model"]["init_args"]["backbone"]
    with torch.device("meta"):
        task = Seq2SeqLM(backbone=GPTConfig(vocab_size=37_000, **backbone))
    parameters = sum(parameter.numel() for parameter in task.parameters())
    attention, mlp, norm = 4 * (512 * 512 + 512), 2 * 512 * 2048 + 2048 + 512, 2 * 512
    expected = 37_000 * 512 + 6 * (attention + mlp + 2 * norm) + 6 * (2 * attention + mlp + 3 * norm)
    assert parameters == expected == 63_082_496
    assert parameters == pytest.approx(65e6, rel=0.03)


def test_transformer_base_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train two steps of configs/transformer_base.yaml, with fewer and narrower layers."""
    rows = [{"en": f"{number} bottles", "de": f"{number} Flaschen"} for number in range(12)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    sizes = {"n_layer": 1, "n_encoder_layer": 1, "n_head": 2, "n_embd": 16, "n_inner": 16}
    code = main(
        [
            *("fit", "-c", str(TRANSFORMER_BASE), "--data.train=pairs.jsonl", "--data.validation=pairs.jsonl"),
            *("--data.template={en}", "--data.target=de", "--data.tokenizer=bytes", "--data.max_new_tokens=3"),
            *("--data.cache_dir=cache", "--trainer.max_steps=2", "--trainer.accelerator=cpu"),
            *("--trainer.val_check_interval=2", "--trainer.limit_val_batches=1"),
            *(f"--model.backbone.{name}={value}" for name, value in sizes.items()),
        ]
    )
    os.environ.pop("PL_GLOBAL_SEED", None)
    assert code == 0
    out = capsys.readouterr().out
    assert "Stopped after 2 steps: trainer.max_steps=2 is reached\nbest: logs/" in out
    assert "chrf" in out.lower()


@pytest.mark.parametrize("path", sorted((CONFIGS / "backbone").glob("*.yaml")), ids=lambda path: path.stem)
def test_backbone_has_the_size_in_its_name(path: Path) -> None:
    shape = GPTConfig(vocab_size=50_257, **yaml.safe_load(path.read_text()))
    with torch.device("meta"):
        parameters = GPT(shape).num_parameters()
    low, high = {"nano": (7e6, 8e6), "small": (29e6, 31e6), "124m": (123e6, 125e6)}[path.stem.split("_")[1]]
    assert low < parameters < high


def test_there_are_three_shapes_in_three_sizes() -> None:
    names = {path.stem for path in (CONFIGS / "backbone").glob("*.yaml")}
    expected = {f"{shape}_{size}" for shape in ("gpt2", "llama", "qwen3") for size in ("nano", "small", "124m")}
    assert names == {*expected, *(f"{shape}_nano_{way}" for shape in ("llama", "qwen3") for way in WAYS)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", ["llama_nano", "qwen3_nano"])
def test_fine_tuning_shapes_differ_in_task_fields_only(shape: str, way: str) -> None:
    tuned, pretrained = (
        yaml.safe_load((CONFIGS / "backbone" / f"{each}.yaml").read_text()) for each in (f"{shape}_{way}", shape)
    )
    assert {key: value for key, value in tuned.items() if key not in PER_TASK} == pretrained
