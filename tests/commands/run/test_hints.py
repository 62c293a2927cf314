"""Messages about mistyped options, configurations and paths, and commands that would do no work."""

from pathlib import Path

import pytest

from gpt_lightning.commands.hints import _OURS, unknown_key
from gpt_lightning.commands.run.subcommand_parsers import subcommand_parsers
from tests.commands.run.test_cli import CONFIG, Run, fit, run
from tests.reliability.conftest import tally

__all__ = ["run"]


def test_every_suggestion_is_a_key() -> None:
    known = set(subcommand_parsers()["fit"].known_keys())
    assert set(_OURS) <= known
    for key, names in _OURS.items():
        for name in names:
            assert unknown_key(name, known).endswith(f"did you mean {key!r}?"), name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trainer.max-steps=3"], "unknown key 'trainer.max-steps'; did you mean 'trainer.max_steps'?"),
        (["--learning_rate=3"], "did you mean 'model.optimizer.lr'?"),
        (["--bf16"], "did you mean 'trainer.precision'?"),
        (
            ["--model", "CausalLLM"],
            "did you mean 'CausalLM'? The classes are CausalLM, QuestionAnswering, Seq2SeqLM",
        ),
        (
            ["--data=Language"],
            "Language is not a class that is allowed here. The classes are InstructionTuning, L",
        ),
        (["--trainer.callbacks=EarlyStoping"], "did you mean 'EarlyStopping'?"),
        (["--data.train", "a.txt", "b.txt"], "b.txt: not an option, and options take one value. Quote a text"),
        (["--data.train"], "--data.train has no value. Give one, as in --data.train=VALUE"),
        (["--model.optimizer.lr", "--compile=false"], "--model.optimizer.lr has no value"),
        (
            ["--checkpoints=-1"],
            "checkpoints is -1, but it is a group of keys. Give a YAML file that exists, or set its",
        ),
        (["--model.lora=x"], "model.lora is x, but it is a group of keys. Give a YAML file that exists, or set its"),
        (["more.yaml"], "more.yaml: a configuration needs an option. Write -c more.yaml"),
        (["trainer.max_steps=3"], "an option starts with two dashes. Write --trainer.max_steps=3"),
        (["-c", "tab.yaml"], "tab.yaml:2: not YAML: indented with a tab. Use spaces"),
        (["-c", "control.yaml"], "control.yaml:2: not YAML: it has control characters"),
        (["-c", "unknown.yaml"], "unknown.yaml:5: unknown key 'n_layers'; did you mean 'model.backbone.n_layer'?"),
        (["--hlep"], "did you mean 'help'?"),
        (["--trainer.logger=tensorboard"], "tensorboard is not a class. The classes are CSVLogger, TensorBoardLogger"),
        (
            ["--trainer.strategy.class_path=DDPStrategy", "--trainer.strategy.ddp_comm_hook.class_path=Timer"],
            "no class.",
        ),
        (["-c", "."], "--config: . is a folder. Give a file, such as config.yaml"),
        (["-c", "include.yaml"], "include.yaml:1: a configuration cannot include another file"),
        (["--trainer.max_time=00:00:00:00"], "the run stopped at step 0 (trainer.max_time is over)"),
        (["--ckpt_path="], "the path of the model is empty"),
        (["--log_dir=s3://bucket/logs"], "--log_dir=s3://bucket/logs is the address of a server"),
        (["--log_dir=$NOT_SET/logs"], "--log_dir=$NOT_SET/logs: the environment variable $NOT_SET is not set"),
        (
            ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=x", "--trainer.callbacks.mode=up"],
            "cannot create lightning.pytorch.callbacks.EarlyStopping: `mode` can be min, max, got up\n",
        ),
        (["-c", "type.yaml"], "type.yaml:2: invalid value for trainer.max_steps: expected int, got six"),
        (["-c", "deep.yaml"], "deep.yaml:5: invalid value for model.backbone.n_layer: expected int, got six"),
        (["--data.batch_size=x"], "invalid value for data.batch_size: expected int, got x"),
        (["--model.backbone.block_size=0"], "gpt-lightning fit: block_size=0 must be at least 1"),
    ],
)
def test_hints(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "tab.yaml").write_text("trainer:\n\tmax_steps: 3\n")
    (tmp_path / "control.yaml").write_text("trainer:\n  max_steps: \x01\n")
    (tmp_path / "unknown.yaml").write_text(
        "model:\n  class_path: CausalLM\n  init_args:\n    backbone:\n      n_layers: 3\n"
    )
    (tmp_path / "type.yaml").write_text("trainer:\n  max_steps: six\n")
    (tmp_path / "deep.yaml").write_text(
        "model:\n  class_path: CausalLM\n  init_args:\n    backbone:\n      n_layer: six\n"
    )
    (tmp_path / "include.yaml").write_text("config: type.yaml\n")
    code, _, err = run("fit", "-c", "config.yaml", *arguments)
    assert message in err
    tally("R19", code == 2)


def test_without_any_option(run: Run) -> None:
    code, _, err = run("fit")
    assert (code, "Give a configuration with -c FILE" in err) == (2, True)


@pytest.mark.parametrize("name", ["a: b.txt", "# a.txt", "{a}.txt", "- a.txt", "caf\udce9.txt", "null.txt", "'a'.txt"])
def test_paths_that_yaml_would_read_as_something_else(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes((tmp_path / "text.txt").read_bytes())
    fit(run, f"--data.train={name}", "--data.validation", name, "--trainer.max_steps=1")


def test_templates_that_yaml_would_read_as_a_mapping(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"en": "red", "fr": "rouge"}\n{"en": "blue", "fr": "bleu"}\n')
    shape = ("--model.backbone.n_layer=1", "--model.backbone.n_head=2", "--model.backbone.n_embd=16")
    flags = ("--model=CausalLM", "--data=InstructionTuning", *shape, "--data.cache_dir=cache", "--data.target=fr")
    data = ("--data.train=pairs.jsonl", "--data.tokenizer=bytes", "--trainer.max_steps=1", "--data.batch_size=1")
    code, _, err = run("fit", *flags, *data, "--data.template", "French: {en}")
    assert code == 0, err
    assert "template: 'French: {en}'" in next(tmp_path.glob("logs/*/*/config.yaml")).read_text()


def test_wrong_paths_of_checkpoints_and_rows(run: Run) -> None:
    fit(run)
    for path in ("logs/beer", "logs", "logs/beer/version_3"):
        code, _, err = run("test", "-c", "config.yaml", f"--ckpt_path={path}")
        assert (code, "logs/beer/version_0" in err) == (2, True), err
    model = ("predict", "--model", "logs/beer/version_0")
    code, _, err = run(*model, "--input=missing.txt")
    assert (code, "--input: missing.txt does not exist" in err) == (2, True)
    code, _, err = run(*model)
    assert (code, "Add --input FILE" in err) == (2, True)


def test_null_and_values_in_place_of_groups(run: Run) -> None:
    for part, message in {
        "model: {init_args: {backbone: null}}": "model.backbone is null, but it is a group of keys",
        "model: {init_args: {optimizer: [1]}}": "model.optimizer is [1], but it is a group of keys",
        "data: {init_args: {num_workers: null}}": "data.num_workers is null, but it needs a value",
        "checkpoints: -1": "checkpoints is -1, but it is a group of keys",
        "experiment: null": "experiment is null, but it needs a value",
    }.items():
        code, _, err = run("fit", "-c", "config.yaml", f"--config={{{part}}}")
        assert message in err
        tally("R19", code == 2)
    assert "class_path: CausalLM" in CONFIG
