"""Multiple-choice task for lm-evaluation-harness."""

import json
from pathlib import Path

TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
{more}"""


def write_task(folder: Path, name: str = "beer", more: str = "") -> Path:
    """Write a multiple-choice task and its rows to ``folder``, and return the folder."""
    folder.mkdir(exist_ok=True)
    rows = [
        {"question": f"{n} bottles of", "choices": [" beer", " rain", " beer on the wall"], "answer": n % 3}
        for n in range(9)
    ]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / f"{name}.yaml").write_text(TASK.format(name=name, data=(folder / f"{name}.jsonl").resolve(), more=more))
    return folder
