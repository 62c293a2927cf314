"""Pages of bias reports: marked words, left-out text, and hostile names."""

from gpt_lightning.data.word_swaps.load import load_swaps
from gpt_lightning.evaluation.bias.report_page import gap_sections
from gpt_lightning.evaluation.bias.row_comparison import RowComparison
from gpt_lightning.evaluation.bias.swap_gaps import SwappableRows, gap_report
from gpt_lightning.pages.page import render_page

HOSTILE = "<script>alert(1)</script>"


def page_of(text: str) -> str:
    """Return the page about one row."""
    swaps = load_swaps("gender", "--swaps")
    row = RowComparison(
        id=HOSTILE,
        where="rows.jsonl:1",
        texts=(text, swaps(text).text),
        group=0,
        answers=(HOSTILE, "b"),
        scores=({HOSTILE: 0.75}, {HOSTILE: 0.5}),
        errors=None,
        change=0.25,
        is_changed=True,
    )
    rows = SwappableRows(1, [], f"rows.jsonl:1: {HOSTILE}")
    return render_page("Bias", gap_sections(gap_report([row], rows, (HOSTILE, "male")), swaps))


def test_names_and_texts_are_escaped() -> None:
    page = page_of(f"She {HOSTILE}")
    assert HOSTILE not in page
    assert page.count("<mark>") == 2
    assert "<mark>She</mark>" in page
    assert "<mark>He</mark>" in page
    assert "0.250 [0.250, 0.250]" in page


def test_text_far_from_the_words_is_left_out() -> None:
    page = page_of(f"FAR {'x ' * 200} near his house. {'y ' * 200} END of it, {'z ' * 20} her house {'w ' * 200} LAST")
    assert " near <mark>his</mark> house." in page
    assert "END of it" in page
    assert "FAR" not in page
    assert "LAST" not in page
    assert page.count("…") >= 3
    short = page_of("FAR from here, she is LAST")
    assert "FAR from here, <mark>she</mark> is LAST" in short
