"""Rendering of templates of unknown origin in a process with limits."""

import multiprocessing
import re
import time

import pytest

from gpt_lightning.sandbox import templates
from gpt_lightning.sandbox.templates import RenderError, render
from gpt_lightning.sandbox.time_limit import LimitError, time_limit
from tests.reliability.conftest import tally


def test_texts_are_rendered() -> None:
    assert render("chat", "{% for m in messages %}{{ m['role'] }} {% endfor %}", {"messages": [{"role": "ä"}]}) == "ä "
    assert render("task", "{{ a | regex_replace('b+', 'c') }}\n", {"a": "abba"}) == "aca\n"
    assert render("chat", "{{ missing }}", {}) == ""


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "it nests too deeply"),
        ("{{ 'a' * 10**10 }}", "it takes too much memory"),
        ("{{ 'a' * 10**7 }}", "its text has 10,000,000 characters"),
        ("{{ ''.__class__.__mro__ }}", "'str' object is unsafe|unsafe"),
        ("{% for", "."),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
    ],
)
def test_templates_that_fail(template: str, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        render("chat", template, {})
    assert render("chat", "next", {}) == "next"
    tally("R19", True)


@pytest.mark.parametrize("template", ["{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"])
def test_endless_templates(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    render("chat", "the process has started", {})
    monkeypatch.setattr(templates, "SECONDS", 0.3)
    start = time.monotonic()
    with pytest.raises(RenderError, match="longer than 0 seconds"):
        render("chat", template, {})
    monkeypatch.undo()
    assert render("chat", "next", {}) == "next"
    tally("R19", time.monotonic() - start < 20)


def test_the_start_of_the_process_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    templates._renderer.close()
    monkeypatch.setattr(templates, "SECONDS", 0.01)
    assert render("chat", "{{ a }}", {"a": 1}) == "1", "the process takes longer to start"


def _render_in_child() -> None:
    assert render("chat", "{{ a }}", {"a": 1}) == "1"


def test_a_forked_process_has_a_renderer_of_its_own() -> None:
    render("chat", "parent", {})
    child = multiprocessing.get_context("forkserver").Process(target=_render_in_child)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert render("chat", "parent", {}) == "parent"


def test_regular_expressions_have_a_time_limit() -> None:
    with pytest.raises(LimitError, match="the searches take longer than 0 seconds"), time_limit(0.1, "the searches"):
        re.search("(a+)+b", "a" * 50)
    with time_limit(0.1, "the searches"):
        pass
    time.sleep(0.15)
