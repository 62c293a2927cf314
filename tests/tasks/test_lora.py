"""Tasks with LoRA adapters: trained parameters, content of checkpoints, and the base model."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.checkpoints.read import load_backbone, read_checkpoint
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.lora import LoRA
from gpt_lightning.optim import FineTuning, OptimizerConfig
from gpt_lightning.tasks import CausalLM, Task, TokenClassification
from gpt_lightning.tasks.restore import restore_task
from gpt_lightning.training.checkpoint_callback import check_room
from tests.runs import trainer
from tests.tasks.batches import TAGS

TIED = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])


def shape(**changes: Any) -> GPTConfig:
    return GPTConfig(**({"vocab_size": 40, "block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 16} | changes))


def save(task: Task, path: Path) -> str:
    fit = trainer(path.parent)
    fit.strategy.connect(task)
    fit.save_checkpoint(path, weights_only=True)
    return str(path)


def base(folder: Path, seed: int = 0, **changes: Any) -> str:
    """Save a random language model and return its path."""
    torch.manual_seed(seed)
    return save(CausalLM(backbone=shape(**changes)), folder / f"base{seed}.ckpt")


def tagger(folder: Path, **settings: Any) -> TokenClassification:
    optimizer = OptimizerConfig(lr=0.1, weight_decay=0.3)
    defaults: dict[str, Any] = {"lora": LoRA(r=2), "init_from": base(folder), "optimizer": optimizer}
    return TokenClassification(backbone=shape(), labels=TAGS, **(defaults | settings))


def ids() -> torch.Tensor:
    return torch.randint(40, (3, 9), generator=torch.Generator().manual_seed(1))


def trained(task: Task) -> set[str]:
    return {name for name, parameter in task.named_parameters() if parameter.requires_grad}


def randomize_trained(task: Task) -> None:
    torch.manual_seed(3)
    for parameter in task.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)


def test_optimizer_has_adapters_and_head_and_decays_matrices(tmp_path: Path) -> None:
    task = tagger(tmp_path)
    names = {id(parameter): name for name, parameter in task.named_parameters()}
    decaying, others = task.configure_optimizers().param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    found = [{names[id(parameter)] for parameter in group["params"]} for group in (decaying, others)]
    assert found[1] == {"head.bias"}
    assert len(found[0]) == 2 * 4 * 2 + 1
    assert all(".lora_A." in name or ".lora_B." in name or name == "head.weight" for name in found[0])
    assert found[0] | found[1] == trained(task)


def test_adapters_have_the_learning_rates_of_their_layers(tmp_path: Path) -> None:
    task = tagger(tmp_path, fine_tuning=FineTuning(layer_lr_decay=0.5, head_lr=0.3))
    ratios = {id(p): g["lr_ratio"] for g in task.configure_optimizers().param_groups for p in g["params"]}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            expected = 3.0 if name.startswith("head.") else 0.5 ** (2 - int(name.split(".")[2]))
            assert ratios[id(parameter)] == pytest.approx(expected), name


@TIED
def test_output_layer_of_a_language_model_is_frozen_and_not_saved(tmp_path: Path, tied: bool) -> None:
    path = base(tmp_path, tie_embeddings=tied)
    task = CausalLM(backbone=shape(tie_embeddings=tied), init_from=path, lora=LoRA(r=2))
    assert all(".lora_" in name for name in trained(task))
    assert task.flops_per_token() == task.backbone.flops_per_token() + 4 * 40 * 16
    assert set(task.frozen_sha256) == ({"backbone"} if tied else {"backbone", "head"})
    randomize_trained(task)
    checkpoint = read_checkpoint(Path(save(task, tmp_path / "adapted.ckpt")))
    assert set(checkpoint["state_dict"]) == trained(task)
    restored = restore_task(CausalLM, checkpoint)
    torch.testing.assert_close(restored.eval()(ids()), task.eval()(ids()), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(
        restored(ids()), CausalLM(backbone=shape(tie_embeddings=tied), init_from=path)(ids()), rtol=0.01
    )
    started = CausalLM(backbone=shape(tie_embeddings=tied), init_from=str(tmp_path / "adapted.ckpt"))
    torch.testing.assert_close(dict(started.state_dict()), dict(restored.state_dict()), rtol=0, atol=0)


@TIED
def test_different_base_weights_are_refused(tmp_path: Path, tied: bool) -> None:
    """Compare the weights of the backbone and of an untied output layer."""
    first, second = (base(tmp_path, seed, tie_embeddings=tied) for seed in (0, 1))
    task = CausalLM(backbone=shape(tie_embeddings=tied), init_from=first, lora=LoRA(r=2))
    checkpoint = read_checkpoint(Path(save(task, tmp_path / "adapted.ckpt")))
    if not tied:  # the same backbone with a different output layer
        content = torch.load(first, weights_only=True)
        content["state_dict"]["head.weight"] = content["state_dict"]["head.weight"] + 1.0
        torch.save(content, second)
    part = "backbone" if tied else "head"
    message = rf"base1\.ckpt: the adapters were trained .*: the sha256 of the {part}"
    checkpoint["hyper_parameters"]["init_from"] = second
    with pytest.raises(InputError, match=message):
        restore_task(CausalLM, checkpoint)
    other = CausalLM(backbone=shape(tie_embeddings=tied), init_from=second, lora=LoRA(r=2))
    fit = trainer(tmp_path)
    with pytest.raises(InputError, match=message + r".* with --model.init_from"):
        fit.test(other, [], ckpt_path=tmp_path / "adapted.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["init_from"] = first
    del checkpoint["frozen_sha256"]
    with pytest.raises(InputError, match=r"the checkpoint has None"):
        restore_task(CausalLM, checkpoint)


def test_resumed_task_equals_the_saved_one_bit_for_bit(tmp_path: Path) -> None:
    task = tagger(tmp_path)
    randomize_trained(task)
    path = save(task, tmp_path / "adapted.ckpt")
    restored = tagger(tmp_path, init_from=str(tmp_path / "base0.ckpt"))
    fit = trainer(tmp_path)
    fit.strategy.connect(restored)
    fit._checkpoint_connector._restore_modules_and_callbacks(path, weights_only=True)
    torch.testing.assert_close(dict(restored.state_dict()), dict(task.state_dict()), rtol=0, atol=0)
    assert restored.hparams == task.hparams


def test_frozen_weights_in_a_checkpoint_are_ignored(tmp_path: Path) -> None:
    """Never load frozen weights from the checkpoint, as their digest was not compared."""
    task = tagger(tmp_path)
    checkpoint = read_checkpoint(Path(save(task, tmp_path / "adapted.ckpt")))
    checkpoint["state_dict"]["backbone.norm.weight"] = torch.zeros(16)
    with pytest.raises(RuntimeError, match=r"backbone.norm.weight is not an adapter"):
        restore_task(TokenClassification, checkpoint)
    torch.save(checkpoint, tmp_path / "more.ckpt")
    fit = trainer(tmp_path)
    fit.strategy.connect(task)
    fit._checkpoint_connector._restore_modules_and_callbacks(str(tmp_path / "more.ckpt"), weights_only=True)
    assert task.state_dict()["backbone.norm.weight"].all()


def test_checkpoint_with_itself_as_base_is_refused(tmp_path: Path) -> None:
    path = save(tagger(tmp_path), tmp_path / "adapted.ckpt")
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["init_from"] = path
    torch.save(content, path)
    with pytest.raises(InputError, match=r"adapted.ckpt: its model.init_from refers back to itself"):
        load_backbone(tagger(tmp_path).backbone, path)


def test_required_disk_space_counts_trained_parameters_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, usage = tagger(tmp_path), shutil.disk_usage(tmp_path)
    size = 12 * sum(parameter.numel() for parameter in task.parameters() if parameter.requires_grad)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * size))
    check_room(tmp_path, task)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * size - 1))
    with pytest.raises(InputError, match="MB are free"):
        check_room(tmp_path, task)
