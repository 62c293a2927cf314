"""The README and the pages of ``docs/``: every block runs, every link leads somewhere, generated parts are fresh."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import quickstart_picture
from gpt_lightning.toy_world.write import SPLITS, write
from tests import configuration_keys
from tests.doc_blocks import EXTENDING, PAGES, ROOT, Block, blocks
from tests.doc_files import ROWS, write_files
from tests.doc_runner import Runner
from tests.recipes import recipes
from tests.reliability.conftest import GUARANTEES

README = ROOT / "README.md"
BLOCKS = {page: blocks(page) for page in PAGES}
CODE = [block for found in BLOCKS.values() for block in found if block.is_code]
NOT_RUN = [block for block in CODE if "not run" in block.comments]
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the toy world, whose rows the reader's files hold."""
    folder = tmp_path_factory.mktemp("world")
    write(folder, counts=dict.fromkeys(SPLITS, ROWS))
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.is_code for block in BLOCKS[page])], ids=str)
def test_the_blocks_of_a_page_run(
    page: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # the default of --data.cache_dir is in it
    found = BLOCKS[page]
    write_files(tmp_path, world, "".join(block.text for block in found if "not run" not in block.comments))
    runner = Runner(tmp_path, capsys)
    following = [*(block.text for block in found[1:]), ""]
    for block, shown in zip(found, following, strict=True):
        if "not run" not in block.comments:
            runner.run(block, shown)


def test_the_sweep_sees_every_block() -> None:
    text = {page: page.read_text() for page in PAGES}
    assert len(CODE) == sum(len(re.findall(r"^```(?:sh|python)$", each, re.MULTILINE)) for each in text.values())
    assert len(CODE) >= 60
    assert len(NOT_RUN) <= 30
    assert all(len(block.comments["not run"]) > 10 for block in NOT_RUN), "each gives its reason"
    comments = sum(len(re.findall(r"^<!-- (?:not run|with|fails)", each, re.MULTILINE)) for each in text.values())
    assert comments == sum(len(block.comments) for block in CODE), "each comment is right before its block"


def test_every_block_of_the_recipes_is_followed() -> None:
    """``test_extending.py`` and ``test_own_package.py`` follow the recipes; no block stands outside of them."""
    found = [block for block in blocks(EXTENDING) if block.language in ("sh", "python", "yaml", "text")]
    edits = [edit.text for recipe in recipes().values() for edit in recipe.edits]
    commands = [command for recipe in recipes().values() for command in recipe.commands]
    assert len(found) > 30
    for block in found:
        is_command = block.language == "sh" and set(block.text.splitlines()) <= {*commands}
        assert is_command or block.text in edits or "not run" in block.comments, block.where


def test_a_wrong_block_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner(tmp_path, capsys)
    with pytest.raises(AssertionError, match=r"README\.md:3: exit code 2\ngpt-lightning fitt"):
        runner.run(Block(README, 3, "sh", "gpt-lightning fitt"))
    with pytest.raises(AssertionError, match="the page shows 'nonsense', but the command says"):
        runner.run(Block(README, 3, "sh", "gpt-lightning fitt", comments={"fails": ""}), "... nonsense")
    with pytest.raises(AssertionError, match="did not fail"):
        runner.run(Block(README, 3, "sh", "gpt-lightning --version", comments={"fails": ""}), "...")


def test_the_site_builds(tmp_path: Path) -> None:
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "gpt_lightning").symlink_to(ROOT / "gpt_lightning")
    command = [str(Path(sys.executable).parent / "zensical"), "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site" / "python_api.html").read_text()
    for name in ("load", "Model", "CausalLM", "LanguageModeling", "GPTConfig"):
        assert f'id="gpt_lightning.{name}"' in page, name
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', page), "nothing is fetched"


def test_every_page_is_in_the_navigation() -> None:
    config = (ROOT / "zensical.toml").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    assert pages == set(re.findall(r'"(\w+\.md)"', config))


@pytest.mark.parametrize("page", [*PAGES, EXTENDING, *ROOT.glob("C*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readme_is_short() -> None:
    text = README.read_text()
    assert text.count("\n") <= 150
    assert max(map(len, text.splitlines())) <= 120
    assert len(text.split()) <= 1000


def test_the_table_of_keys_is_fresh() -> None:
    assert configuration_keys.DOCUMENT.read_text() == configuration_keys.document(), (
        "run python -m tests.configuration_keys"
    )


def test_the_picture_draws_the_numbers() -> None:
    measured = {
        (head, origin): 0.61 + 0.1 * place
        for head in quickstart_picture.HEADS
        for place, origin in enumerate(quickstart_picture.ORIGINS)
    }
    svg = ElementTree.fromstring(quickstart_picture.picture(measured, [(0, 6.0), (10, 2.5), (20, 1.25)]))
    texts = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("0.61") == texts.count("0.71") == 4
    assert "1.25" in texts
    assert {"topic", "sentiment", "entities", "questions"} <= {*texts}


def test_the_page_about_reliability_has_every_guarantee() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    rows = re.findall(r"^\| (R\d+) \| (.+) \| [\d,]+ \| [\d,]+ \|$", text, re.MULTILINE)
    assert dict(rows) == GUARANTEES
