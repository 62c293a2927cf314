"""Connection of the processes of a run: loopback, and launchers that are left alone."""

import os
from typing import Any

import lightning.pytorch as L
import pytest
import torch.distributed

from gpt_lightning.commands.run import ranks

VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "LOCAL_RANK", ranks.FOLDER):
        monkeypatch.setenv(name, "")  # so that the value from before the test is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(ranks, "start_rank", lambda _: pytest.fail("a process was started"))


def ddp(**arguments: Any) -> L.Trainer:
    return L.Trainer(accelerator="cpu", strategy="ddp", logger=False, enable_checkpointing=False, **arguments)


def test_interface_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    ranks.use_loopback()
    assert [os.environ[name] for name in VARIABLES] == ["eth0", "lo"]


def test_runs_on_several_machines_are_left_to_lightning() -> None:
    with ranks.connect_ranks(ddp(devices=2, num_nodes=2), "fit"):
        assert not torch.distributed.is_initialized()
    assert not any(name in os.environ for name in VARIABLES)


def test_processes_of_another_launcher_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    with ranks.connect_ranks(ddp(devices=2), "fit"):
        assert not torch.distributed.is_initialized()
    assert all(os.environ[name] == "lo" for name in VARIABLES)


def test_one_device_needs_no_strategy() -> None:
    assert ranks.needs_no_strategy(ddp(devices=1))
    assert not ranks.needs_no_strategy(ddp(devices=2))
    assert not ranks.needs_no_strategy(ddp(devices=1, num_nodes=2))
