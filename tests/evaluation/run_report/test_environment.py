"""Circumstances of a run."""

import subprocess
from pathlib import Path

import pytest

from gpt_lightning.evaluation.run_report.environment import git_state


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a repository with one commit on the branch ``topic``."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "none"))
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=topic")
    (folder / "a.txt").write_text("one")
    git(folder, "add", "a.txt")
    git(folder, "-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--message=first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_and_branch_are_those_of_git(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert git_state(repository) == {"commit": commit, "branch": "topic"}
    git(repository, "checkout", "--quiet", "--detach")
    assert git_state(repository) == {"commit": commit, "branch": "none (detached HEAD)"}


def test_outside_a_repository_and_before_the_first_commit_there_is_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == {}
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == {}


def test_programs_in_the_configuration_of_a_repository_do_not_run(repository: Path) -> None:
    program = repository / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch {repository / 'has_run'}\ncat\n")
    program.chmod(0o755)
    for key in (
        *("filter.f.clean", "filter.f.smudge", "filter.f.process", "core.fsmonitor", "core.pager", "pager.rev-parse"),
        *("core.sshCommand", "core.editor", "diff.external", "gpg.program", "credential.helper", "core.askPass"),
    ):
        git(repository, "config", key, str(program))
    git(repository, "config", "alias.rev-parse", f"!{program}")
    git(repository, "config", "core.hooksPath", str(repository))
    (repository / ".git/info/attributes").write_text("* filter=f diff=f\n")
    (repository / "a.txt").write_text("two")
    assert git_state(repository)["branch"] == "topic"
    assert not (repository / "has_run").exists()
