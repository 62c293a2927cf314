"""Label names from lists and files, and errors about unknown labels."""

from pathlib import Path

import pytest

from gpt_lightning.data.labels import label_name, read_labels
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


@pytest.mark.parametrize("value", ["positive", 2])
def test_a_label_is_a_name_or_a_number(value: object) -> None:
    assert label_name(value, NAMES, "a.jsonl:7", "label") == "positive"


def test_without_names_every_label_is_accepted() -> None:
    assert label_name("new", None, "a.jsonl:7", "label") == "new"
    assert label_name(-3, None, "a.jsonl:7", "label") == "-3"


def test_a_number_that_is_a_name_is_that_name() -> None:
    stars = ["5", "3", "1", "0"]
    assert [label_name(value, stars, "a:1", "stars") for value in (5, 3, 1, 0, "1")] == ["5", "3", "1", "0", "1"]


def test_a_string_of_digits_is_a_number_of_a_name() -> None:
    """All values of a CSV file are strings."""
    assert label_name("2", NAMES, "a.csv:7", "label") == NAMES[2]
    with pytest.raises(InputError, match=r"the label '3' is not one of the 3"):
        label_name("3", NAMES, "a.csv:7", "label")


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
        (-1, r"^a\.jsonl:7: the label -1 is not one of the 3"),
    ],
)
def test_an_unknown_label_is_reported_with_the_most_similar_name(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_name(value, NAMES, "a.jsonl:7", "label")


def test_at_most_ten_names_are_listed() -> None:
    names = [f"{letter}{letter}" for letter in "abcdefghijklm"]
    with pytest.raises(InputError, match=r"one of the 13 labels of the model; use one of 'aa', .*, 'jj', \.\.\.$"):
        label_name("zz", names, "a:1", "label")


@pytest.mark.parametrize("value", [None, True, "", 1.5, ["a"], {"a": 1}])
@pytest.mark.parametrize("names", [None, NAMES])
def test_values_of_other_types_are_refused(value: object, names: list[str] | None) -> None:
    with pytest.raises(
        InputError, match=r"^a\.jsonl:7: column 'topic' is .*, not a label \(a string or a whole number"
    ):
        label_name(value, names, "a.jsonl:7", "topic")


@pytest.mark.parametrize("value", ["3", 3, "0", 0, "01"])
def test_a_number_is_never_an_index_if_names_are_numbers(value: str | int) -> None:
    """If training data lacks some numbers of stars, another number must not be mapped to one of the others."""
    with pytest.raises(InputError, match=r"the label .* is not one of the 4 labels of the model"):
        label_name(value, ["1", "2", "4", "5"], "a.csv:7", "stars")


def test_a_list_on_the_command_line_is_a_list_of_strings() -> None:
    assert read_labels("[1, 2, yes]") == ("1", "2", "yes")
