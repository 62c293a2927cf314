"""CoNLL files: columns, comments, document marks, and texts with invalid lines."""

from pathlib import Path

import pytest

from gpt_lightning.data.sequence_tagging import SequenceTagging
from gpt_lightning.data.sources.conll import ConllRow, conll_rows
from gpt_lightning.errors import InputError
from tests.data.drive import batches
from tests.data.test_sequence_tagging import module, tags_of

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER

"""
GERMEVAL = """#\tn-tv.de vom 26.02.2005 [2005-02-26]
1\tSchartau\tB-PER\tO
2\tsagte\tO\tO

#\thttp://example.org
1\tBerlin\tB-LOC\tB-ORG
"""


def rows(text: str) -> list[ConllRow]:
    lines = enumerate(text.splitlines(keepends=True), start=1)
    return [row for row in conll_rows(Path("a.conll"), lines) if isinstance(row, ConllRow)]


@pytest.mark.parametrize(
    ("text", "numbers", "tokens", "tags"),
    [
        (CONLL_2003, (0, -1), ["EU", "rejects", "German"], ["I-ORG", "O", "I-MISC"]),
        (CONLL_2003, (0, 2), ["EU", "rejects", "German"], ["I-NP", "I-VP", "I-NP"]),
        (CONLL_2003, (-4, -2), ["EU", "rejects", "German"], ["I-NP", "I-VP", "I-NP"]),
        (GERMEVAL, (1, 2), ["Schartau", "sagte"], ["B-PER", "O"]),
        (GERMEVAL, (1, -1), ["Schartau", "sagte"], ["O", "O"]),
    ],
)
def test_columns_are_chosen_by_number(text: str, numbers: tuple[int, int], tokens: list[str], tags: list[str]) -> None:
    first, _ = (row.choose(numbers, has_tags=True) for row in rows(text))
    assert first.fields == {"tokens": tokens, "tags": tags}
    assert first.where == f"a.conll:{3 if text == CONLL_2003 else 2}"
    assert rows(text)[0].choose(numbers, has_tags=False).fields == {"tokens": tokens}


def test_a_missing_column_is_an_invalid_row() -> None:
    row = rows(CONLL_2003)[0].choose((0, 4), has_tags=True)
    with pytest.raises(
        InputError, match=r"^a\.conll:3: --data\.conll_columns=\[0, 4\], but there are only 4 columns, 0 "
    ):
        row.fields.get("tokens")
    assert rows("Anna\nsings\n")[0].choose((1, 2), has_tags=False).fields == {"tokens": ["Anna", "sings"]}
    assert rows("Anna\nsings\n")[0].choose((0, -1), has_tags=True).fields == {"tokens": ["Anna", "sings"]}


def test_a_hash_with_a_tag_is_a_word_and_other_lines_are_comments() -> None:
    text = "# a b O\n#\tx\n# O\nis O\n\n# B-X\n\n# 1 of 2\nx O\n# no comment\n"
    assert [row.fields["tokens"] for row in rows(text)] == [["#", "is"], ["#"]]
    assert [row.fields for row in rows("#\n")] == [{"tokens": ["#"]}]


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_conll_2003_is_read(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "eng.conll"
    path.write_text(CONLL_2003 * 3)
    data = module(tmp_path, train=str(path), test=str(path), scheme=scheme)
    organization, person = {
        "BIO": (["B-ORG", "O", "B-MISC"], ["B-PER", "I-PER"]),
        "BIOES": (["S-ORG", "O", "S-MISC"], ["B-PER", "E-PER"]),
    }[scheme]
    expected = {str(number): person if number % 2 else organization for number in range(6)}
    assert tags_of(data, batches(data, "test")) == expected


BAD = "a O\nb B-X\n\nHe O\nsaid\n\nc O\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BAD, r"a\.conll:5: the word 'said' has no tag, but line 1 has one; add a tab and the tag"),
        ("said\n\na O\nb O\nc O\n", r"a\.conll:1: the word 'said' has no tag, but line 3 has one"),
        ("a O\nb O\n\nc d O\n", r"a\.conll:4: 3 columns, but line 1 has 2; give every word the same columns"),
        ("a\tO\n\n\tO\n", r"a\.conll:3: the line starts with a tab, so it has no word"),
    ],
)
def test_a_text_with_an_invalid_line_stops_or_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "a.conll"
    path.write_text(text)
    arguments = {"train": str(path), "labels": ["O", "B-X", "I-X"]}
    with pytest.raises(InputError, match=message):
        batches(module(tmp_path, **arguments), "fit")
    data: SequenceTagging = module(tmp_path, **arguments, on_bad_row="skip")
    assert len(batches(data, "fit")) == 1
    assert "skipped 1 of " in capsys.readouterr().out
