"""Label names from lists and files, and errors about unknown labels."""

from pathlib import Path

import pytest

from gpt_lightning.data.labels import LabelReader, read_labels, read_list
from gpt_lightning.errors import InputError


def test_a_list_keeps_its_order() -> None:
    assert read_labels(["b", "a", "Ä 2"]) == ("b", "a", "Ä 2")


@pytest.mark.parametrize(
    "content",
    ["b\na\nÄ 2\n", "b\na\nÄ 2", "b\r\na\r\nÄ 2\r\n", '["b", "a", "Ä 2"]', ' \n["b",\n "a", "\\u00c4 2"]\n'],
)
def test_a_file_has_a_json_list_or_one_name_per_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(content.encode())
    assert read_labels(str(file)) == ("b", "a", "Ä 2")


@pytest.mark.parametrize("content", ["b\na\n", '["b", "a"]'])
def test_a_byte_order_mark_is_not_part_of_a_name(tmp_path: Path, content: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("\ufeff" + content, encoding="utf-8")
    assert read_labels(str(file)) == ("b", "a")


def test_a_file_in_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels.txt").write_text("a\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_labels("~/labels.txt") == ("a",)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--data\.labels=.*absent\.txt: cannot be read \(.*No such file.*; set it"):
        read_labels(str(tmp_path / "absent.txt"))
    with pytest.raises(InputError, match=r"cannot be read \(.*directory"):
        read_labels(str(tmp_path))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("Ä\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"labels\.txt: cannot be read \('utf-8' codec"):
        read_labels(str(tmp_path / "labels.txt"))


@pytest.mark.parametrize("content", ["", "a\n\nb\n", "a\nb\na\n", "[]", '["a", ""]', '["a", "a"]', "[0, 1]", '[["a"]]'])
def test_names_must_be_non_empty_strings_without_duplicates(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.txt").write_text(content)
    with pytest.raises(InputError, match=r"labels\.txt: label names must be non-empty strings without duplicates; fix"):
        read_labels(str(tmp_path / "labels.txt"))


@pytest.mark.parametrize("content", ['["a", "b"', "[CLS]\nother\n", '["a"] b'])
def test_a_malformed_list_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(InputError, match=r"labels\.json"):
        read_labels(str(tmp_path / "labels.json"))


@pytest.mark.parametrize("names", [[], ["a", ""], ["a", "b", "a"]])
def test_a_list_of_names_is_checked(names: list[str]) -> None:
    with pytest.raises(InputError, match=r"^--data\.labels=\[.*\]: label names must be non-empty strings without dup"):
        read_labels(names)


NAMES = ["negative", "neutral", "positive"]
STARS = ["5", "3", "1", "0"]


def read(value: object, names: list[str] | None = None, by_number: list[str] | None = None) -> str:
    return LabelReader(names, by_number).read(value, "a.jsonl:7", "label")


@pytest.mark.parametrize("value", ["positive", " positive\t", 2, 2.0, "2", "2.0"])
def test_a_label_is_a_name_or_its_number_in_the_given_names(value: object) -> None:
    assert read(value, NAMES, NAMES) == "positive"


@pytest.mark.parametrize("value", [0, 0.0, "0"])
def test_a_number_is_unknown_unless_the_order_of_the_names_is_given(value: object) -> None:
    """Names from training rows are in alphabetical order, which is not that of any published list of labels."""
    with pytest.raises(
        InputError,
        match=r"^a\.jsonl:7: the label .* is not one of the 3 .*If numbers stand for labels, set --data\.lab",
    ):
        read(value, NAMES)


def test_a_number_stands_for_a_name_in_the_given_order_whatever_the_order_of_the_outputs() -> None:
    assert read(0, sorted(NAMES), ["positive", "neutral", "negative"]) == "positive"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("new", "new"),
        (" new ", "new"),
        (-3, "-3"),
        (1.0, "1"),
        ("1.0", "1"),
        ("-2.00", "-2"),
        (1.5, "1.5"),
        ("1.5", "1.5"),
        ("01", "01"),
        (True, "true"),
        ("True", "true"),
        ("FALSE", "false"),
    ],
)
def test_spellings_of_a_label_have_one_name(value: object, name: str) -> None:
    assert read(value) == name


def test_unicode_normalization_makes_no_second_label() -> None:
    reader = LabelReader(None)
    assert [reader.read(name, "a:1", "label") for name in ("cafe\u0301", "caf\u00e9")] == ["cafe\u0301"] * 2
    assert read("cafe\u0301", ["caf\u00e9"]) == "caf\u00e9"


def test_the_spelling_of_a_known_name_is_kept() -> None:
    """Models that were trained before spellings were unified have such names."""
    assert [read(value, ["True", "1.0", "1", " b"]) for value in (True, "true", "1.0", 1, "b")] == [
        "True",
        "True",
        "1.0",
        "1",
        " b",
    ]


def test_a_number_that_is_a_name_is_that_name() -> None:
    assert [read(value, STARS, STARS) for value in (5, 3.0, 1, 0, "1")] == ["5", "3", "1", "0", "1"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "postive",
            r"^a\.jsonl:7: the label 'postive' is not one of the 3 labels of the .* did you mean 'positive'\?$",
        ),
        ("Neutral", r"the label 'Neutral' is not one of the 3 labels of the model; did you mean 'neutral'\?$"),
        ("x", r"^a\.jsonl:7: the label 'x' is not .* model; use one of 'negative', 'neutral', 'positive'$"),
        (3, r"^a\.jsonl:7: the label 3 is not one of the 3 labels of the model; use one of 'negative', "),
        ("3", r"the label '3' is not one of the 3"),
        (-1, r"^a\.jsonl:7: the label -1 is not one of the 3"),
    ],
)
def test_an_unknown_label_is_reported_with_the_most_similar_name(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(value, NAMES, NAMES)


def test_at_most_ten_names_are_listed() -> None:
    names = [f"{letter}{letter}" for letter in "abcdefghijklm"]
    with pytest.raises(InputError, match=r"one of the 13 labels of the model; use one of 'aa', .*, 'jj', \.\.\.$"):
        read("zz", names)


@pytest.mark.parametrize("value", [None, "", " ", float("nan"), float("inf"), ["a"], {"a": 1}])
@pytest.mark.parametrize("names", [None, NAMES])
def test_values_of_other_types_are_refused(value: object, names: list[str] | None) -> None:
    with pytest.raises(
        InputError, match=r"^a\.jsonl:7: column 'label' is .*, not a label \(a string, a number or a boo"
    ):
        read(value, names)


@pytest.mark.parametrize("value", ["3", 3, "0", 0, "01"])
def test_a_number_is_never_an_index_if_names_are_numbers(value: str | int) -> None:
    """If training data lacks some numbers of stars, another number must not be mapped to one of the others."""
    with pytest.raises(InputError, match=r"the label .* is not one of the 4 labels of the model"):
        read(value, ["1", "2", "4", "5"], ["1", "2", "4", "5"])


def test_a_list_on_the_command_line_is_a_list_of_strings() -> None:
    assert read_labels("[1, 2, yes]") == ("1", "2", "yes")


def test_two_spellings_of_a_label_are_refused() -> None:
    with pytest.raises(InputError, match=r"^--data\.labels: 'pos' and 'pos ' are the same label"):
        read_labels(["pos", "neg", "pos "])


# --- Several labels


def read_set(values: list[object], names: list[str] | None, by_number: list[str] | None = None) -> tuple[str, ...]:
    return LabelReader(names, by_number).read_set(values, "a.jsonl:7", "label")


@pytest.mark.parametrize("vector", [[1, 0, 1], [1.0, 0.0, 1.0], [True, False, True], ["1", "0", "1"]])
def test_zeros_and_ones_for_all_given_names_are_a_multi_hot_vector(vector: list[object]) -> None:
    vector = [int(value) if isinstance(value, bool) else value for value in vector]
    assert read_set(vector, NAMES, NAMES) == ("negative", "positive")
    assert read_set([0, 0, 0], NAMES, NAMES) == ()
    assert read_set([1, 2], NAMES, NAMES) == ("neutral", "positive"), "numbers of labels"
    assert read_set([1, 0], NAMES, NAMES) == ("neutral", "negative"), "another length than the names"


def test_names_that_are_numbers_are_never_a_multi_hot_vector() -> None:
    assert read_set([0, 1], ["0", "1"], ["0", "1"]) == ("0", "1")


@pytest.mark.parametrize("names", [None, NAMES])
def test_a_repeated_label_is_refused(names: list[str] | None) -> None:
    with pytest.raises(InputError, match=r"^a\.jsonl:7: column 'label' has the label 'neutral' twice; fix this row$"):
        read_set(["neutral", "positive", " neutral"], names)
    with pytest.raises(InputError, match=r"twice; fix this row\. If the list has 0 or 1 .*--data\.labels=\[a,b,c\]$"):
        read_set([1, 0, 1], names if names is None else ["0", "1"])


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("", []),
        ("a", ["a"]),
        ("a|b", ["a", "b"]),
        ("[]", []),
        ('["a", "b|c"]', ["a", "b|c"]),
        ("['it\\'s', \"b\"]", ["it's", "b"]),
        (" [1, 0.0]", [1, 0.0]),
    ],
)
def test_a_cell_holds_a_list_of_json_or_python_or_names_with_bars(cell: str, values: list[object]) -> None:
    assert read_list(cell, "a.csv:7", "label") == values


@pytest.mark.parametrize(
    "cell",
    [
        *("[1 0 1]", "[a, b]", "['a'", "[" * 5000, "[open('x')]", "[1]" + " " * 100_001 + "]"),
        *("['a' 'b']", "['a'\n 'b']"),  # NumPy's text of an array; Python would join the strings
    ],
)
def test_a_cell_that_starts_like_a_list_must_be_one(cell: str) -> None:
    with pytest.raises(InputError, match=r"^a\.csv:7: column 'label' is .*which is not a list like"):
        read_list(cell, "a.csv:7", "label")


def test_zeros_and_ones_for_one_label() -> None:
    assert read_set([0], ["spam"], ["spam"]) == ()
    assert read_set([1], ["spam"], ["spam"]) == ("spam",)


def test_lists_that_may_be_vectors_or_numbers_are_refused() -> None:
    """A reader sees that [0, 1] is a list of numbers only from other rows, such as [1]."""
    rows: list[list[object]] = [[1], [0, 1]]
    for first, second in (rows, rows[::-1]):
        reader = LabelReader(["a", "b"], ["a", "b"])
        reader.read_set(first, "a.jsonl:1", "label")
        with pytest.raises(InputError, match=r"^a\.jsonl:2: .* in a\.jsonl:1, or the other way round. Write the names"):
            reader.read_set(second, "a.jsonl:2", "label")
        assert reader.read_set(["b"], "a.jsonl:3", "label") == ("b",)


@pytest.mark.parametrize("content", ['{"0": "b", "1": "a"}', '{\n "b": 0,\n "a": 1\n}'])
def test_a_file_with_a_json_object_numbers_the_names(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    assert read_labels(str(tmp_path / "labels.json")) == ("b", "a")


@pytest.mark.parametrize("content", ['{"1": "b", "2": "a"}', '{"a": 0, "b": 0}', '{"a": "b"}', '{"a": [0]}'])
def test_a_json_object_must_number_the_names_from_zero(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(InputError, match=r"a JSON object must name each number from 0"):
        read_labels(str(tmp_path / "labels.json"))


def test_a_header_is_no_label(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("Label\nbad\ngood\n")
    with pytest.raises(InputError, match=r"the first line is 'Label', like a header\. Remove it, or write a JSON list"):
        read_labels(str(tmp_path / "labels.csv"))


@pytest.mark.parametrize("mark", ["\u3000", "\u200b", "\ufeff", "\u2009", "\u202f", "\x0b", "\x85", "\u200e", "\u00ad"])
def test_invisible_characters_around_a_label_make_no_second_label(mark: str) -> None:
    reader = LabelReader(None)
    assert {reader.read(name, "", "") for name in ("pos", f"pos{mark}", f"{mark}pos")} == {"pos"}
    with pytest.raises(InputError, match="not a label"):
        reader.read(mark, "", "")
