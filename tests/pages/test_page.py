from pathlib import Path
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from gpt_lightning.errors import InputError
from gpt_lightning.pages.blocks import code, fold, side_by_side
from gpt_lightning.pages.charts import histogram
from gpt_lightning.pages.colored_text import colored_text
from gpt_lightning.pages.page import Section, render_page, write_page
from gpt_lightning.pages.tables import table
from tests.pages.markup import HOSTILE, check_page


def hostile_page() -> str:
    parts = [
        HOSTILE,
        table([HOSTILE, "n"], [[HOSTILE, 1.5], [None, 2]]),
        code(HOSTILE),
        fold(HOSTILE, Markup("<p>{}</p>").format("inside")),
        side_by_side([histogram([1.0, 2.0], title=HOSTILE, x_label=HOSTILE)] * 2),
        colored_text([HOSTILE, "b"], [1.0, -1.0], notes=[HOSTILE, HOSTILE]),
    ]
    return render_page(HOSTILE, [Section(HOSTILE, parts, summary=HOSTILE)] * 3)


def test_pages_are_well_formed_and_escape_everything() -> None:
    found = check_page(hostile_page())
    assert found.text.count("<script>alert(1)</script>") > 20
    assert "{{ 7*7 }}" in found.text
    assert not set(found.text) & set("\x00\x07\x1b\ud800\uffff\u202e")
    links = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert links == ["#section-1", "#section-2", "#section-3"]


def test_pages_are_deterministic() -> None:
    assert hostile_page() == hostile_page()


def test_numbers_in_tables() -> None:
    rows = [["a", 0.123456, 1234567], ["b", float("nan"), 2**63], ["c", float("inf"), -5]]
    root = ElementTree.fromstring(table(["name", "x", "n"], rows))
    cells = [[(each.text, each.get("class")) for each in row] for row in root.iter("tr")]
    assert cells == [
        [("name", None), ("x", "number"), ("n", "number")],
        [("a", None), ("0.1235", "number"), ("1,234,567", "number")],
        [("b", None), ("NaN", "number"), ("9223372036854775808", "number")],
        [("c", None), ("∞", "number"), ("−5", "number")],
    ]


def test_long_tables_and_texts_are_cut_visibly() -> None:
    assert "The first 2,000 of 3,000 rows" in table(["n"], [[n] for n in range(3000)])
    assert "The first 5,000 of 6,000 pieces" in colored_text(["a"] * 6000, [1.0] * 6000)
    assert table(["text"], [["x" * 10_000]]).count("x") < 6_000


def test_colored_text_has_the_values() -> None:
    root = ElementTree.fromstring(colored_text(["The", " end\n", "."], [0.5, -1.0, float("nan")], notes=["n", "", ""]))
    spans = list(root.iter("span"))
    assert [each.text for each in spans] == ["The", " end↵\n", "."]
    assert [each.get("class") for each in spans] == ["positive", "negative", None]
    assert [each.get("title") for each in spans] == ["0.5: n", "−1", "NaN"]
    assert ["border-bottom-width:3px" in each.get("style", "") for each in spans] == [True, False, False]
    assert "border-bottom-width:4px" in spans[1].get("style", "")
    rows = [[cell.text for cell in row] for row in root.iter("tr")]
    assert rows == [["Piece", "Value", "Note"], ["The", "0.5", "n"], [" end↵", "−1", None], [".", "NaN", None]]


def test_colored_text_without_signs_starts_at_the_lowest_value() -> None:
    root = ElementTree.fromstring(colored_text(["a", "b"], [3.0, 4.0], diverging=False))
    first, second = root.iter("span")
    assert " 0%" in first.get("style", "")
    assert " 45%" in second.get("style", "")
    assert {each.get("class") for each in (first, second)} == {"positive"}


@pytest.mark.parametrize("values", [[], [0.0], [float("nan")], [1e308, -1e308]])
def test_colored_text_of_any_values(values: list[float]) -> None:
    ElementTree.fromstring(colored_text(["x"] * len(values), values))


def test_a_page_is_written_whole_and_not_over_another(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, "Title", [], overwrite=False, remedy="Choose another file")
    assert check_page(path.read_text()).text.count("Title") == 2
    with pytest.raises(InputError, match=r"already exists. Choose another file, or add --overwrite"):
        write_page(path, "Other", [], overwrite=False, remedy="Choose another file")
    write_page(path, "Other", [], overwrite=True, remedy="Choose another file")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    assert "Other" in path.read_text()
