"""``doctor``: known bad combinations are found, a good machine has none, and no secret is printed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from gpt_lightning.cli import main
from gpt_lightning.commands.doctor.advice import advice
from gpt_lightning.commands.doctor.machine import VARIABLES, Folder, Gpu, Machine, Torch, this_machine
from gpt_lightning.commands.doctor.packages import Package, installed_packages
from gpt_lightning.commands.doctor.report import precision, report

GOOD = Machine(
    python="3.11.7",
    platform="Linux",
    packages=(Package("torch", ">=2.13", "2.13.0", True), Package("peft", ">=0.21", None, False, "lora")),
    cpu="a CPU",
    num_cores=8,
    has_bf16=False,
    memory_gb=32.0,
    available_gb=16.0,
    folders=(Folder("cache", "cache", 100.0, True),),
    shared_memory_gb=8.0,
    has_nvidia_driver=False,
    torch=Torch(num_threads=4),
)
H100 = Torch(num_threads=4, cuda="13.0", gpus=(Gpu("H100", 80.0, (9, 0)),), precision="bf16-mixed", compiles=True)


def test_a_good_machine_needs_no_advice() -> None:
    assert advice(GOOD) == []
    assert advice(replace(GOOD, has_nvidia_driver=True, torch=H100)) == []
    assert report(GOOD, []).endswith("\nno problem found")


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (replace(GOOD, python="3.9.1"), "Python 3.9.1 is too old"),
        (
            replace(GOOD, packages=(Package("lightning", ">=2.6.6,<2.7", "2.6.3", False),)),
            "lightning 2.6.3 is malware",
        ),
        (
            replace(GOOD, packages=(Package("pytorch-lightning", "", "2.6.2", True),)),
            "pytorch-lightning 2.6.2 is malware",
        ),
        (replace(GOOD, packages=(Package("torch", ">=2.13", "2.4.0", False),)), "torch 2.4.0 does not match >=2.13"),
        (
            replace(GOOD, packages=(Package("rich", ">=15", None, False),)),
            "rich is missing. Run pip install 'rich>=15'",
        ),
        (replace(GOOD, torch=None, torch_error="OSError: libcudnn"), "PyTorch does not work: OSError: libcudnn"),
        (replace(GOOD, has_nvidia_driver=True), "an NVIDIA driver, but PyTorch is a build for CPUs"),
        (replace(GOOD, has_nvidia_driver=True, torch=Torch(4, cuda="13.0")), "finds no GPU though there is an NVIDIA"),
        (replace(GOOD, folders=(Folder("runs", "logs", 0.2, True),)), "logs (runs) has 0.2 GB of free disk"),
        (replace(GOOD, folders=(Folder("cache", "x", 90.0, False),)), "x (cache) is not writable"),
        (replace(GOOD, available_gb=0.3), "0.3 of 32.0 GB of memory are free"),
        (replace(GOOD, environment={"RANK": "1", "WORLD_SIZE": "2"}), "a launcher has set RANK=1, WORLD_SIZE=2"),
    ],
)
def test_problems_are_found(machine: Machine, message: str) -> None:
    (found,) = advice(machine)
    assert found.is_problem
    assert message in found.line
    assert found.remedy
    assert report(machine, [found]).endswith("\n1 problem")


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (
            replace(GOOD, torch=Torch(1), environment={"OMP_NUM_THREADS": "1"}),
            "PyTorch uses 1 of 8 cores, because OMP_NUM_THREADS=1",
        ),
        (replace(GOOD, torch=Torch(4, cuda="13.0")), "built for CUDA 13.0, but there is no NVIDIA driver"),
        (
            replace(
                GOOD, has_nvidia_driver=True, torch=Torch(4, cuda="13.0"), environment={"CUDA_VISIBLE_DEVICES": ""}
            ),
            "CUDA_VISIBLE_DEVICES='' hides all GPUs",
        ),
        (replace(GOOD, shared_memory_gb=0.06), "/dev/shm has 0.06 GB of free shared memory"),
        (replace(GOOD, environment={"SLURM_NTASKS": "4"}), "a launcher has set SLURM_NTASKS=4"),
        (replace(GOOD, environment={"TOKENIZERS_PARALLELISM": "false"}), "use one core only"),
        (replace(GOOD, torch=replace(H100, compiles=False)), "models are not compiled"),
    ],
)
def test_notes_do_not_fail(machine: Machine, message: str) -> None:
    (found,) = advice(machine)
    assert not found.is_problem
    assert message in found.line
    assert "no problem found" in report(machine, [found])


def test_the_precision_is_explained() -> None:
    assert precision(replace(GOOD, torch=H100)) == "bf16-mixed, because the GPU has bfloat16 units"
    old = replace(H100, gpus=(Gpu("V100", 16.0, (7, 0)),), precision=None)
    assert precision(replace(GOOD, torch=old)) == "32-true, because the GPU has no bfloat16 units"
    assert "bf16-mixed would be many times slower" in precision(GOOD)


def test_the_facts_are_those_of_this_machine() -> None:
    machine = this_machine()
    assert machine.memory_gb == pytest.approx(psutil.virtual_memory().total / 1e9)
    assert machine.torch is not None
    assert len(machine.torch.gpus) == torch.cuda.device_count()
    assert machine.torch.num_threads == torch.get_num_threads()
    packages = {each.name: each for each in installed_packages()}
    assert packages["torch"].version == torch.__version__
    assert packages["torch"].is_accepted
    assert packages["peft"].extra == "lora"
    assert not {"pytest", "zensical"} & packages.keys(), "developers need them, users do not"


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD", "DATABASE_URL"):
        monkeypatch.setenv(name, "s3cret")
        assert name not in VARIABLES
    for arguments in ([], ["--json"]):
        main(["doctor", *arguments])
        out, err = capsys.readouterr()
        assert "s3cret" not in out + err
    assert json.loads(out)["machine"]["python"]


BROKEN = ("psutil", "jsonargparse", "yaml", "packaging", "torch", "lightning")
SCRIPT = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {broken}:
            raise {error}(f"{{name}} is broken")
sys.meta_path.insert(0, Finder())
from gpt_lightning.cli import main
codes = [main(["doctor"]), main(["doctor", "--json"])]
sys.exit(codes != [1, 1])
"""


@pytest.mark.parametrize("error", ["ModuleNotFoundError", "AttributeError"])
def test_packages_that_cannot_be_imported_are_problems(error: str) -> None:
    script = SCRIPT.format(broken=BROKEN, error=error)
    # Libraries that other tests load set variables of which doctor has something to say.
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    text, _, rest = done.stdout.partition("\n{")
    assert f"problem: PyTorch does not work: {error}: torch is broken." in text
    for name in ("psutil", "jsonargparse", "pyyaml", "packaging"):
        assert f"problem: {name} cannot be imported: {error}" in text
    assert len(json.loads("{" + rest)["advice"]) == 5, "lightning is not named, because it needs torch"


def test_folders_that_cannot_be_examined_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / ("a" * 300)))  # a path that Path.exists refuses
    (tmp_path / "deleted").mkdir()
    monkeypatch.chdir(tmp_path / "deleted")
    (tmp_path / "deleted").rmdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", list)
    machine = this_machine()
    assert [each.is_writable for each in machine.folders] == [False, True, False]
    found = [each.line for each in advice(machine) if each.is_problem]
    assert any("(runs) is not writable" in line for line in found)
    assert any("(temporary files) is not writable" in line for line in found)
    assert "disk for runs (logs): unknown" in report(machine, [])


def test_invalid_variables_of_launchers_are_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NODE_RANK", "first")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "problem: the environment variable NODE_RANK is 'first', not a whole number. Unset it" in out
    assert main(["toy-world", "x"]) == 2, "other commands refuse it"


def test_a_folder_that_does_not_exist_yet_is_that_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    monkeypatch.chdir(tmp_path)
    cache = next(each for each in this_machine().folders if each.purpose == "cache")
    assert cache.path == str(tmp_path / "home/me/.cache/gpt_lightning")
    assert cache.is_writable
    assert cache.free_gb > 0
    (tmp_path / "home").write_text("a file in the way")
    assert not next(each for each in this_machine().folders if each.purpose == "cache").is_writable
    assert [path.name for path in tmp_path.iterdir()] == ["home"], "nothing is created"
