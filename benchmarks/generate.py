"""Tokens a second of greedy text, ours beside Hugging Face's ``generate``, and what reading the weights allows.

    python benchmarks/generate.py [MODEL] [--text FILE] [--tokens 64] [--rounds 3]

MODEL is a folder of a language model; without one, random weights of SmolLM2-135M's shape, which take the same time.
Both sides are float32 and keep keys and values; each run is a process of its own that has made the text once before.
The limit is one pass over as many bytes as the weights a token, or, for a batch, a row of tokens.
With MODEL, a single stream is also measured as it is by default, guessed ahead where it repeats itself, over the texts
that follow ten prompts, each 200 tokens long: how much that gains depends on the text, and random weights say nothing.
With FILE, a .jsonl with texts, there is the perplexity of its first 16,384 tokens beside weights of eight bits.
"""

import argparse
import itertools
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

BATCHES = (1, 8)
CONTEXTS = (64, 512, 2048)
PROMPT = "The history of the city begins"
PROMPTS = (
    PROMPT,
    "Once upon a time there was a",
    "To make bread, you need",
    "def fibonacci(n):",
    "The three laws of thermodynamics are",
    "Dear Sir or Madam,",
    "In 1969, the first",
    "Question: What is the capital of France?\nAnswer:",
    "Photosynthesis is the process by which",
    "It was a dark and stormy night, and",
)
TEXT = 200
"""Tokens of each text."""
SHAPE = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}


def make_model(folder: Path) -> None:
    """A folder of random weights, with a tokenizer that it does not need more of."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from gpt_lightning.tokenizers.build import train_characters

    LlamaForCausalLM(LlamaConfig(**SHAPE, max_position_embeddings=2112)).save_pretrained(folder)
    train_characters([PROMPT]).save(folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')


def ours(folder: Path, options: argparse.Namespace) -> float:
    """Seconds that ``tokens`` tokens of each row take, once each prompt is read."""
    from gpt_lightning.models.generation.generate import Sampling, generate
    from gpt_lightning.models.generation.int8 import quantize
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.load import load_task

    task, tokenizer = load_task(folder)
    assert isinstance(task, CausalLM)
    if options.side == "int8":
        task.head = quantize(task.backbone, task.head)

    def run(prompt: str) -> float:
        made = generate(
            task.backbone,
            task.head,
            prompt_ids(tokenizer.encode(prompt), options.batch, options.context),
            max_new_tokens=options.tokens + 1,
            sampling=Sampling(temperature=0.0),
            use_prompt_lookup=options.guess,
        )
        next(made)  # reads the prompt
        start = time.perf_counter()
        assert sum(1 for _ in made) == options.tokens
        return time.perf_counter() - start

    run(PROMPT)
    return sum(map(run, PROMPTS[: options.prompts]))


@torch.inference_mode()
def perplexities(folder: Path, text: Path) -> tuple[float, float]:
    """Of a text's first tokens, 1,024 at a time, with all bits of the weights and with eight."""
    from gpt_lightning.models.generation.int8 import quantize
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.load import load_task

    task, tokenizer = load_task(folder)
    assert isinstance(task, CausalLM)
    with text.open(encoding="utf-8") as lines:
        ids = tokenizer.encode("\n".join(json.loads(line)["text"] for line in itertools.islice(lines, 40)))
    rows = torch.tensor(ids[: 16 * 1024]).view(16, 1024)

    def perplexity() -> float:
        losses = [F.cross_entropy(task.head(task.backbone(row[None]))[0, :-1], row[1:]) for row in rows]
        return float(torch.stack(losses).mean().exp())

    exact = perplexity()
    task.head = quantize(task.backbone, task.head)
    return exact, perplexity()


def theirs(folder: Path, options: argparse.Namespace) -> float:
    """The same by ``generate``; a prompt's time is that of a run for a single token."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def run(prompt: str) -> float:
        ids, seconds = prompt_ids(tokenizer(prompt).input_ids, options.batch, options.context), 0.0
        for sign, count in ((-1.0, 1), (1.0, options.tokens + 1)):
            start = time.perf_counter()
            model.generate(ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
            seconds += sign * (time.perf_counter() - start)
        return seconds

    run(PROMPT)
    return sum(map(run, PROMPTS[: options.prompts]))


def prompt_ids(ids: list[int], batch: int, context: int | None) -> torch.Tensor:
    """(B, T): the prompt once a row, or as many tokens of it again and again as ``context`` says."""
    row = ids if context is None else (ids * context)[:context]
    return torch.tensor([row] * batch)


def limit(folder: Path) -> float:
    """Rows of tokens a second, if a row took one pass over the weights and nothing else."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        count = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118, no mapping
    block = torch.ones(count)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        block.sum()
        times.append(time.perf_counter() - start)
    return 1.0 / min(times)


def measure(
    side: str, folder: Path, tokens: int, *flags: str, batch: int = 1, prompts: int = 1, context: int = 0
) -> float:
    """Tokens a second, of all rows together, of one side in a process of its own."""
    command = [sys.executable, __file__, str(folder), "--side", side, f"--tokens={tokens}", f"--batch={batch}"]
    command += [f"--prompts={prompts}", *([f"--context={context}"] if context else []), *flags]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    found = re.search(r"^([\d.]+) s$", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        raise SystemExit(done.stdout + done.stderr)
    return batch * prompts * tokens / float(found[1])


def in_turn(folder: Path, tokens: int, rounds: int, *flags: str, batch: int = 1, prompts: int = 1) -> dict[str, float]:
    """Medians of tokens a second: ours, ours with weights of eight bits, Hugging Face's, and what memory allows."""
    sides: dict[str, list[float]] = {"ours": [], "int8": [], "hf": [], "limit": []}
    for _ in range(rounds):
        for side in ("ours", "int8", "hf"):
            sides[side].append(measure(side, folder, tokens, *flags, batch=batch, prompts=prompts))
        sides["limit"].append(batch * limit(folder))  # it moves by a fifth within minutes
    return {side: statistics.median(values) for side, values in sides.items()}


def compare(folder: Path, text: Path | None, tokens: int, rounds: int, *, guessed: bool) -> None:
    """Both sides in turn; rows of a table."""
    for batch in BATCHES:
        show(f"{batch} at a time", in_turn(folder, tokens, rounds, batch=batch))
    if guessed:
        what = f"one text of {TEXT} tokens after the other, guessed ahead"
        show(what, in_turn(folder, TEXT, min(rounds, 2), "--guess", prompts=len(PROMPTS)))
    if text is not None:
        exact, int8 = perplexities(folder, text)
        print(f"| perplexity with weights of eight bits | {int8:.3f} | float32 {exact:.3f} | {exact / int8:.4f} |")
    speeds = {
        context: [measure("ours", folder, tokens, context=context) for _ in range(rounds)] for context in CONTEXTS
    }
    costs = {context: 1000 / statistics.median(values) for context, values in speeds.items()}
    listed = ", ".join(f"{cost:.1f} ms at {context:,}" for context, cost in costs.items())
    print(f"| a token after so many | {listed} | | {costs[CONTEXTS[-1]] / costs[CONTEXTS[0]]:.2f} |")


def show(what: str, speeds: dict[str, float]) -> None:
    """Three rows of the table."""
    mine, int8, other, allowed = (speeds[side] for side in ("ours", "int8", "hf", "limit"))
    print(
        f"| generation, {what}, tokens/s | {mine:.1f} | Hugging Face {other:.1f} | {mine / other:.2f} |"
        f"\n| the same, of what reading the weights allows | {mine:.1f} | limit {allowed:.1f} | {mine / allowed:.2f} |"
        f"\n| the same, with weights of eight bits | {int8:.1f} | Hugging Face {other:.1f} | {int8 / other:.2f} |",
        flush=True,
    )


def main() -> None:
    """One side, or both in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--side",
        choices=["ours", "int8", "hf"],
        help="one side only, in this process; int8: ours with weights of eight bits",
    )
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=1, help="texts, one after the other")
    parser.add_argument("--guess", action="store_true", help="guess ahead, ours only")
    parser.add_argument("--text", type=Path, help="a .jsonl with texts, for perplexities")
    parser.add_argument("--context", type=int, help="tokens of the prompt")
    options = parser.parse_args()
    if options.side:
        print(f"{(theirs if options.side == 'hf' else ours)(options.model, options):.4f} s")
        return
    with tempfile.TemporaryDirectory() as name:
        if options.model is None:
            make_model(Path(name))
        compare(
            options.model or Path(name), options.text, options.tokens, options.rounds, guessed=options.model is not None
        )


if __name__ == "__main__":
    main()
