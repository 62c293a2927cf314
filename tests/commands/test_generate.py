"""``generate`` from the command line."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.cli import main
from gpt_lightning.models.generation.int8 import Int8Linear
from gpt_lightning.tasks.load import find_checkpoint
from gpt_lightning.training import Checkpoints, Validations
from tests.runs import causal_lm, language_modeling, trainer
from tests.tokenizers.published_model import write_model


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short run of a model with a context of 8 bytes."""
    folder = tmp_path_factory.mktemp("run")
    run = trainer(folder, max_steps=3, callbacks=[Checkpoints(), Validations()])
    run.fit(causal_lm(), datamodule=language_modeling(folder))
    return folder


def generate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["generate", *arguments])
    return code, *capsys.readouterr()


def test_a_run_folder_and_its_checkpoint_give_the_same_text(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [
        generate(capsys, str(model), "--prompt=beer", "--max_new_tokens=20", "--seed=3")
        for model in (run_folder, find_checkpoint(str(run_folder)), run_folder)
    ]
    assert texts[0][0] == 0, texts[0][2]
    assert texts[0][1].startswith("beer")
    assert texts[0] == texts[1] == texts[2]
    assert texts[0][1] != generate(capsys, str(run_folder), "--prompt=beer", "--max_new_tokens=20", "--seed=4")[1]


def test_a_prompt_longer_than_the_context_is_truncated(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = generate(capsys, str(run_folder), "--prompt=" + "beer " * 9, "--max_new_tokens=30")
    assert code == 0
    assert out.startswith("beer " * 9)
    assert err == "the prompt has 45 tokens, but the context of the model holds 8: only the last 8 are used\n"


def test_an_empty_prompt_starts_a_new_document(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = generate(capsys, str(run_folder), "--max_new_tokens=5", "--temperature=0")
    assert code == 0
    assert "<|endoftext|>" not in out


def test_int8_weights_are_used(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    forward = Int8Linear.forward

    def record(self: Int8Linear, x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(self.weight))
        return forward(self, x)

    monkeypatch.setattr(Int8Linear, "forward", record)
    arguments = (str(run_folder), "--prompt=beer", "--max_new_tokens=3", "--temperature=0")
    exact = generate(capsys, *arguments)
    assert not sizes
    assert generate(capsys, *arguments, "--int8") == exact  # rounding does not change the most likely token
    assert 257 in sizes, "the output layer has a row for each byte and the end of text"


# --- prompts, samples and output


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def pipe(monkeypatch: pytest.MonkeyPatch, content: str | bytes) -> None:
    class Stdin:
        buffer = io.BytesIO(content.encode() if isinstance(content, str) else content)

    monkeypatch.setattr(sys, "stdin", Stdin)


def test_a_file_of_prompts_gives_a_line_for_each_sample(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each completion is that of its prompt alone, with the next seed for the next sample."""
    (tmp_path / "rows.jsonl").write_text('{"id": 7, "prompt": "beer", "text": "x"}\n\n{"text": "9 é\u2028"}\n')
    (tmp_path / "lines.txt").write_text("beer\n\n 9 \n")
    settings = (str(run_folder), "--max_new_tokens=9")
    rows, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    code, out, err = generate(capsys, *settings, f"--input={rows}", "--samples=2", "--seed=3", f"--output={output}")
    assert code == 0, err
    assert out == f"4 continuations in {output}\n"
    written = lines(output.read_text())
    assert [(row.get("id"), row["text"], row["sample"]) for row in written] == [
        *((7, "x", sample) for sample in (0, 1)),
        *((None, "9 é\u2028", sample) for sample in (0, 1)),
    ]
    for row in written:
        prompt = row.get("prompt", row["text"])
        single = generate(capsys, *settings, f"--prompt={prompt}", f"--seed={3 + row['sample']}")
        assert single[1] == prompt + row["completion"] + "\n"
    code, out, _ = generate(capsys, *settings, f"--input={tmp_path / 'lines.txt'}")
    assert [row["prompt"] for row in lines(out)] == ["beer", "", " 9 "]
    for content in ("beer\n\n 9 ", '{"prompt": "beer"}\n{"prompt": ""}\n{"text": " 9 "}'):
        pipe(monkeypatch, content)
        piped = generate(capsys, *settings, "--input=-")[1]
        assert [row["completion"] for row in lines(piped)] == [row["completion"] for row in lines(out)]


def test_an_existing_output_is_kept(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("mine")
    arguments = (str(run_folder), "--prompt=beer", "--max_new_tokens=2", f"--output={output}")
    code, _, err = generate(capsys, *arguments)
    assert (code, output.read_text()) == (2, "mine")
    assert "already exists. Choose another file with --output, or add --overwrite" in err
    assert generate(capsys, *arguments, "--overwrite")[0] == 0
    (row,) = lines(output.read_text())
    assert row == {"prompt": "beer", "sample": 0, "completion": row["completion"], "finish_reason": "length"}


def test_samples_of_a_prompt_are_printed_below_headings(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (str(run_folder), "--prompt=beer", "--max_new_tokens=5")
    singles = [generate(capsys, *arguments, f"--seed={seed}")[1] for seed in (0, 1)]
    code, out, _ = generate(capsys, *arguments, "--samples=2")
    assert code == 0
    assert out == f"--- sample 1 of 2\n{singles[0]}--- sample 2 of 2\n{singles[1]}"


def test_stop_strings_may_span_tokens(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (str(run_folder), "--prompt=beer", "--max_new_tokens=30", "--top_k=3")
    text = generate(capsys, *arguments)[1].removeprefix("beer").removesuffix("\n")
    assert len(text) == 30
    stop = text[20:23]
    code, out, _ = generate(capsys, *arguments, f"--stop={stop}", "--stop=never written")
    assert (code, out) == (0, f"beer{text[: text.index(stop)]}\n")


@pytest.mark.parametrize("arguments", [["--num_beams=3"], ["--top_k=9", "--seed=5"]], ids=["beams", "sampled"])
def test_batches_give_the_lines_of_single_prompts(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Compare texts, log-probabilities and the reasons why texts end."""
    (tmp_path / "lines.txt").write_text("beer\n9 b\n\nb\n")
    settings = (str(run_folder), f"--input={tmp_path / 'lines.txt'}", "--max_new_tokens=4", "--logprobs", *arguments)
    penalties = ("--repetition_penalty=1.2", "--no_repeat_ngram_size=2", "--min_new_tokens=2", "--stop=e")
    code, out, err = generate(capsys, *settings, *penalties, "--samples=3", "--batch_size=5")
    assert code == 0, err
    rows = lines(out)
    assert [(row["prompt"], row["sample"]) for row in rows] == [
        (prompt, sample) for prompt in ("beer", "9 b", "", "b") for sample in range(3)
    ]
    single = lines(generate(capsys, *settings, *penalties, "--samples=3")[1])
    for row, expected in zip(rows, single, strict=True):
        assert row.pop("logprobs") == pytest.approx(expected.pop("logprobs"), abs=1e-5)
        assert row == expected
        assert "e" not in row["completion"]
        assert row["finish_reason"] == ("length" if len(row["token_ids"]) == 4 else "stop")
    assert {row["finish_reason"] for row in rows} == {"length", "stop"}


def test_beam_search_prints_its_best_texts(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lines.txt").write_text("beer\n")
    settings = (str(run_folder), "--num_beams=3", "--max_new_tokens=4")
    first, second = lines(generate(capsys, *settings, f"--input={tmp_path / 'lines.txt'}", "--samples=2")[1])
    assert generate(capsys, *settings, "--prompt=beer")[1] == f"beer{first['completion']}\n"
    expected = "".join(
        f"--- sample {number} of 2\nbeer{row['completion']}\n" for number, row in enumerate((first, second), start=1)
    )
    assert generate(capsys, *settings, "--prompt=beer", "--samples=2")[1] == expected


def test_decoding_settings_of_the_model_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    write_model(model, "qwen")
    (model / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6, "repetition_penalty": 1.1}')
    settings = (str(model), "--prompt=Where?", "--max_new_tokens=9")
    _, out, err = generate(capsys, *settings)
    values = "temperature=0.6, top_k=50, repetition_penalty=1.1"
    assert err == f"decoding as in the model's generation_config.json: {values}. Flags replace them\n"
    flags = ("--temperature=0.6", "--top_k=50", "--repetition_penalty=1.1")
    assert generate(capsys, *settings, *flags) == (0, out, "")
    assert generate(capsys, *settings, *flags, "--temperature=0.9")[1] != out


def test_chats_use_the_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    write_model(model, "qwen")
    prompt = "<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n"
    messages = [{"role": "user", "content": "Where?"}]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    settings = (str(model), "--temperature=0", "--max_new_tokens=12")
    answer = generate(capsys, *settings, "--chat", "--prompt=Where?")[1]
    for raw in ([], ["--raw"]):
        assert generate(capsys, *settings, *raw, f"--prompt={prompt}")[1] == prompt + answer
    (row,) = lines(generate(capsys, *settings, f"--input={tmp_path / 'chat.jsonl'}")[1])
    expected = {"messages": messages, "sample": 0, "completion": answer.removesuffix("\n"), "finish_reason": "length"}
    assert row == expected
    code, _, err = generate(capsys, *settings, f"--input={tmp_path / 'chat.jsonl'}", "--raw")
    assert (code, "chat.jsonl:1: messages need the chat template. Leave --raw out" in err) == (2, True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"prompt": "a"}\n{"label": 1}', ":2: there is no prompt. Add a column 'prompt', 'text' or 'messages' (its"),
        ('{"prompt": 5}', ":1: 'prompt' is 5, not a string. Fix the row"),
        ('{"prompt": "a"}\n{"prompt', ":2: not JSON"),
        ('{"messages": []}', ":1: 'messages' is [], not a list of messages such as [{\"role\""),
        ('{"messages": ["a"]}', ":1: 'messages' is ['a'], not a list of messages"),
        ('{"messages": [{"role": "user"}]}', ":1: 'messages' is [{'role': 'user'}], not a list of messages"),
        (
            '{"messages": [{"role": "user", "content": "a"}]}',
            ":1: the tokenizer of the model has no chat template. Use",
        ),
        ('{"prompt": "a", "completion": "b"}', ":1: the column 'completion' is also one of the output. Rename it"),
    ],
)
def test_invalid_rows_are_refused(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, message: str
) -> None:
    (tmp_path / "rows.jsonl").write_text(row)
    code, out, err = generate(capsys, str(run_folder), f"--input={tmp_path / 'rows.jsonl'}")
    assert (code, out) == (2, "")
    assert f"rows.jsonl{message}" in err


@pytest.mark.parametrize("content", [b"beer\ncaf\xe9\n", '{"prompt": "beer"}\n{"prompt": "caf\xe9"}'.encode("cp1252")])
def test_prompts_in_another_encoding_are_refused(
    run_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
) -> None:
    file = tmp_path / ("rows.jsonl" if content.startswith(b"{") else "rows.txt")
    file.write_bytes(content)
    code, out, err = generate(capsys, str(run_folder), f"--input={file}")
    assert (code, out) == (2, "")
    assert f"{file.name}:2: not UTF-8 text" in err or f"{file.name}: line 2 is not UTF-8 text. Convert" in err
    pipe(monkeypatch, content)
    code, out, err = generate(capsys, str(run_folder), "--input=-")
    assert (code, out) == (2, "")
    assert "line 2 of standard input is not utf-8 text (byte" in err


def test_piped_prompts_may_have_a_byte_order_mark(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PowerShell writes UTF-16."""
    pipe(monkeypatch, "beer\ncafé\n".encode("utf-16"))
    code, out, err = generate(capsys, str(run_folder), "--input=-", "--max_new_tokens=1")
    assert code == 0, err
    assert [row["prompt"] for row in lines(out)] == ["beer", "café"]


def test_a_piped_json_array_is_refused(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in ('[\n {"prompt": "beer"}\n]\n', '[{"prompt": "beer"}]'):
        pipe(monkeypatch, content)
        code, out, err = generate(capsys, str(run_folder), "--input=-")
        assert (code, out) == (2, "")
        assert "standard input is a JSON array. Pipe JSON lines, or give the file with --input" in err


@pytest.mark.parametrize(("name", "text"), [("rows.json", "[]"), ("rows.jsonl", "\n\n"), ("rows.csv", "prompt\n")])
def test_a_file_without_rows(
    run_folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    code, out, err = generate(capsys, str(run_folder), f"--input={tmp_path / name}")
    assert (code, out) == (2, "")
    assert f"{name}: there are no rows" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature=-1"], "--temperature -1.0 must be 0 (greedy), or 1e-06 or more"),
        (["--temperature=1e-40"], "--temperature 1e-40 must be 0 (greedy), or 1e-06 or more"),
        (["--top_k=0"], "--top_k=0 must be at least 1"),
        (["--top_p=1.5"], "--top_p 1.5 must lie in (0, 1]"),
        (["--max_new_tokens=0"], "--max_new_tokens=0 must be at least 1"),
        (["--device=cuda:99"], "--device cuda:99"),
        (["--device=meta"], "--device meta holds no numbers"),
        (["--int8"], "--int8 runs on CPUs only. Add --device cpu, or leave --int8 out"),
        (["--stop="], "--stop is empty, so no text could be generated. Give a text, or leave --stop out"),
        (["--samples=0"], "--samples=0 must be at least 1"),
        (["--samples=2", "--temperature=0"], "--samples 2 with --temperature 0 would give equal texts. Raise"),
        (["--chat", "--raw"], "--chat and --raw exclude each other. Leave one out"),
        (["--chat", "--prompt=a"], "the tokenizer of the model has no chat template"),
        (["--prompt=a", "--input=b.txt"], "--prompt and --input exclude each other. Leave one out"),
        (["--input=absent.txt"], "--input absent.txt: there is no such file"),
        (["--num_beams=2", "--temperature=0.5"], "--num_beams=2 is beam search, which does not sample. Leave out"),
        (["--num_beams=2", "--max_new_tokens=9"], "the prompt has 1 tokens, which with --max_new_tokens=9 exceed the"),
        (["--num_beams=0"], "--num_beams=0 must be at least 1"),
        (["--num_beams=2", "--samples=3"], "--samples=3 is more than --num_beams=2, the number of texts that"),
        (["--length_penalty=2"], "--length_penalty is a setting of beam search. Add --num_beams, or leave it out"),
        (["--min_new_tokens=9", "--max_new_tokens=8"], "--min_new_tokens=9 is more than --max_new_tokens=8. Lower the"),
        (["--repetition_penalty=-1"], "--repetition_penalty=-1.0 must be at least 0"),
        (["--no_repeat_ngram_size=-1"], "--no_repeat_ngram_size=-1 must be at least 0"),
        (["--logprobs"], "--logprobs needs JSON lines as output. Add --output or --input, or leave --logprobs out"),
        (["--batch_size=4"], "--batch_size needs JSON lines as output. Add --output or --input, or leave"),
        (["--batch_size=0"], "--batch_size=0 must be at least 1"),
        (["--output=absent/out.jsonl"], "the folder absent does not exist. Create it first"),
    ],
)
def test_invalid_values_are_refused(
    run_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("meta"))
    code, _, err = generate(capsys, str(run_folder), *arguments)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_paths_without_a_model_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    for model, message in (
        (tmp_path / "absent", "no checkpoint, run folder or model folder has this path"),
        (tmp_path, "not a run with checkpoints, because "),
        (tmp_path / "other.pt", "this torch file is not a checkpoint of gpt-lightning or nanoGPT"),
    ):
        code, _, err = generate(capsys, str(model))
        assert code == 2
        assert f"{model}: {message}" in err


def test_a_hostile_pickle_is_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentinel = tmp_path / "sentinel"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(sentinel), "w")

    torch.save({"state_dict": {}, "hyper_parameters": Hostile()}, tmp_path / "hostile.ckpt")
    code, _, err = generate(capsys, str(tmp_path / "hostile.ckpt"))
    assert code == 2
    assert "not a checkpoint that can be read safely" in err
    assert not sentinel.exists()


def test_int8_needs_a_cpu(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt_lightning.models.device.device_of", lambda _: torch.device("meta"))
    code, _, err = generate(capsys, str(run_folder), "--int8")
    assert (code, "--int8 runs on CPUs only. Add --device cpu, or leave --int8 out" in err) == (2, True)
