"""Tables of text; Markdown is compared with a Markdown parser."""

from markdown_it import MarkdownIt

from gpt_lightning.text_tables import markdown_table, text_table

ROWS = [["run", "loss", "f1"], ["a long\nname", "1.5", "0.25"], ["b|c", "12.25", "-"]]


def test_columns_are_aligned() -> None:
    assert text_table(ROWS, num_left=1) == [
        "run           loss    f1",
        "a long name    1.5  0.25",
        "b|c          12.25     -",
    ]
    assert text_table(ROWS)[1:] == ["a long name  1.5    0.25", "b|c          12.25  -"]


def test_markdown_has_the_cells_and_their_alignment() -> None:
    table = markdown_table(ROWS, num_left=1)
    assert len({len(line) for line in table.splitlines()}) == 1
    tokens = MarkdownIt("commonmark").enable("table").parse(table)
    cells = [token.content for token in tokens if token.type == "inline"]
    assert cells == [" ".join(cell.split()) for row in ROWS for cell in row]
    styles = [token.attrs.get("style") for token in tokens if token.type == "td_open"]
    assert styles == [None, "text-align:right", "text-align:right"] * 2
