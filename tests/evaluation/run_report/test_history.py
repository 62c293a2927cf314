import json
import math
from pathlib import Path

from gpt_lightning.evaluation.run_report import history


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    history.append(tmp_path, 10, scalars={"train/loss": 2.5, "weight_update/learning_rate": 1e-3})
    history.append(tmp_path, 20, scalars={"train/loss": math.nan})
    history.append(tmp_path, 20, texts={"sample/0": "a\nb \ud800"})
    found = history.read(tmp_path)
    assert found.scalars["weight_update/learning_rate"] == [(10, 1e-3)]
    (first, (step, value)) = found.scalars["train/loss"]
    assert (first, step) == ((10, 2.5), 20)
    assert math.isnan(value)
    assert found.texts == {"sample/0": [(20, "a\nb ?")]}


def test_a_resumed_run_keeps_the_steps_up_to_its_checkpoint(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        history.append(tmp_path, step, scalars={"train/loss": step})
    with (tmp_path / history.FILE).open("a") as file:
        file.write('{"step": 40, "scal')  # a process was killed while it wrote
    history.restart(tmp_path, 20, tmp_path)
    history.append(tmp_path, 30, scalars={"train/loss": 31})
    assert history.read(tmp_path).scalars == {"train/loss": [(10, 10), (20, 20), (30, 31)]}


def test_a_new_run_starts_without_history_and_a_moved_one_copies_it(tmp_path: Path) -> None:
    history.append(tmp_path, 10, scalars={"train/loss": 1})
    (other := tmp_path / "other").mkdir()
    history.restart(other, 10, tmp_path)
    assert history.read(other).scalars == {"train/loss": [(10, 1)]}
    history.restart(other, 0, other)
    assert history.read(other) == history.History()
    (new := tmp_path / "new").mkdir()
    history.restart(new, 0, new)
    assert not list(new.iterdir())


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    lines = [
        "",
        "no json",
        "[" * 100_000,
        "[1]",
        '{"step": "1", "scalars": {"a": 1}}',
        '{"step": -1, "scalars": {"a": 1}}',
        '{"step": 1e999, "scalars": {"a": 1}}',
        '{"step": 1, "scalars": [1], "texts": "x"}',
        '{"step": 2, "scalars": {"a": "x", "b": true, "c": 3}, "texts": {"t": 1}}',
        "\x00\x01",
        f'{{"step": 1, "scalars": {{"a": {"9" * 400}}}}}',
        json.dumps({"step": 3, "scalars": {"c": 4}}),
    ]
    (tmp_path / history.FILE).write_text("\n".join(lines))
    assert history.read(tmp_path) == history.History({"c": [(2, 3), (3, 4)]}, {})
