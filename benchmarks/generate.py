"""Tokens per second of greedy decoding, compared with Hugging Face's ``generate`` and with the memory bandwidth.

    python benchmarks/generate.py [MODEL] [--text FILE] [--tokens 64] [--rounds 3]

MODEL is the folder of a language model. The default is random weights of SmolLM2-135M's shape, which take the same
time. Both sides use float32 and a key/value cache. Each run is a process of its own, with a warm-up. The limit is one
pass over the weights in memory for each decode step.

With MODEL, single-stream decoding is also measured with prompt-lookup speculative decoding, the default, on the
continuations of ten prompts, each 200 tokens long. Its gain depends on the text, so random weights show nothing. With
FILE, a .jsonl with texts, the perplexity of its first 16,384 tokens is compared between float32 and int8 weights.
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
"""Number of tokens in each text."""
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
    """Write a model folder with random weights, and a tokenizer that can encode ``PROMPT``."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from gpt_lightning.tokenizers.build import train_characters

    LlamaForCausalLM(LlamaConfig(**SHAPE, max_position_embeddings=2112)).save_pretrained(folder)
    train_characters([PROMPT]).save(folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')


def ours(folder: Path, options: argparse.Namespace) -> float:
    """Return the seconds for ``tokens`` decode steps after the prefill, summed over the prompts."""
    from gpt_lightning.models.generation.decoder import Decoder
    from gpt_lightning.models.generation.generate import Sampling, generate
    from gpt_lightning.models.generation.int8 import quantize
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.load import load_task

    task, tokenizer = load_task(folder)
    assert isinstance(task, CausalLM)
    if options.side == "int8":
        task.head = quantize(task.backbone, task.head)

    def run(prompt: str) -> float:
        tokens = generate(
            Decoder(task.backbone),
            task.head,
            prompt_ids(tokenizer.encode(prompt), options.batch, options.context),
            max_new_tokens=options.tokens + 1,
            sampling=Sampling(temperature=0.0),
            use_prompt_lookup=options.prompt_lookup,
        )
        next(tokens)  # prefill
        start = time.perf_counter()
        assert sum(1 for _ in tokens) == options.tokens
        return time.perf_counter() - start

    run(PROMPT)
    return sum(map(run, PROMPTS[: options.prompts]))


@torch.inference_mode()
def perplexities(folder: Path, text: Path) -> tuple[float, float]:
    """Return the perplexity of a text's first tokens, in blocks of 1,024, with float32 and with int8 weights."""
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


def hugging_face(folder: Path, options: argparse.Namespace) -> float:
    """Return the same for Hugging Face's ``generate``, minus the time of a run for one token, which is the prefill."""
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
    """Return the prompt in each row, repeated to ``context`` tokens if given: (B, T)."""
    row = ids if context is None else (ids * context)[:context]
    return torch.tensor([row] * batch)


def limit(folder: Path) -> float:
    """Return the decode steps per second if a step were only one pass over the weights in memory."""
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
    """Measure one side in a process of its own; return the tokens per second, summed over the rows."""
    command = [sys.executable, __file__, str(folder), "--side", side, f"--tokens={tokens}", f"--batch={batch}"]
    command += [f"--prompts={prompts}", *([f"--context={context}"] if context else []), *flags]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    found = re.search(r"^([\d.]+) s$", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        raise SystemExit(done.stdout + done.stderr)
    return batch * prompts * tokens / float(found[1])


def in_turn(folder: Path, tokens: int, rounds: int, *flags: str, batch: int = 1, prompts: int = 1) -> dict[str, float]:
    """Return the median tokens per second of ours, ours with int8 weights, Hugging Face, and the memory limit."""
    sides: dict[str, list[float]] = {"ours": [], "int8": [], "hf": [], "limit": []}
    for _ in range(rounds):
        for side in ("ours", "int8", "hf"):
            sides[side].append(measure(side, folder, tokens, *flags, batch=batch, prompts=prompts))
        sides["limit"].append(batch * limit(folder))  # it varies by a fifth within minutes
    return {side: statistics.median(values) for side, values in sides.items()}


def compare(folder: Path, text: Path | None, tokens: int, rounds: int, *, has_text: bool) -> None:
    """Run both sides in turn, and print rows of the table; ``has_text`` for a model that writes real text."""
    for batch in BATCHES:
        show(f"batch of {batch}", in_turn(folder, tokens, rounds, batch=batch))
    if has_text:
        row = f"single texts of {TEXT} tokens with prompt lookup"
        show(row, in_turn(folder, TEXT, min(rounds, 2), "--prompt_lookup", prompts=len(PROMPTS)))
    if text is not None:
        exact, int8 = perplexities(folder, text)
        print(f"| perplexity with int8 weights | {int8:.3f} | float32 {exact:.3f} | {exact / int8:.4f} |")
    speeds = {
        context: [measure("ours", folder, tokens, context=context) for _ in range(rounds)] for context in CONTEXTS
    }
    costs = {context: 1000 / statistics.median(values) for context, values in speeds.items()}
    listed = ", ".join(f"{cost:.1f} ms at {context:,}" for context, cost in costs.items())
    print(f"| decode step by context length | {listed} | | {costs[CONTEXTS[-1]] / costs[CONTEXTS[0]]:.2f} |")


def show(row: str, speeds: dict[str, float]) -> None:
    """Print three rows of the table."""
    mine, int8, other, allowed = (speeds[side] for side in ("ours", "int8", "hf", "limit"))
    print(
        f"| generation, {row}, tokens/s | {mine:.1f} | Hugging Face {other:.1f} | {mine / other:.2f} |"
        f"\n| the same, compared with the memory limit | {mine:.1f} | limit {allowed:.1f} | {mine / allowed:.2f} |"
        f"\n| the same, with int8 weights | {int8:.1f} | Hugging Face {other:.1f} | {int8 / other:.2f} |",
        flush=True,
    )


def main() -> None:
    """Measure one side, or both in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--side",
        choices=["ours", "int8", "hf"],
        help="measure one side in this process; int8: ours with int8 weights",
    )
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=1, help="number of texts, one after the other")
    parser.add_argument("--prompt_lookup", action="store_true", help="use prompt-lookup speculative decoding in ours")
    parser.add_argument("--text", type=Path, help=".jsonl with texts for the perplexities")
    parser.add_argument("--context", type=int, help="number of tokens in the prompt")
    options = parser.parse_args()
    if options.side:
        print(f"{(hugging_face if options.side == 'hf' else ours)(options.model, options):.4f} s")
        return
    with tempfile.TemporaryDirectory() as name:
        if options.model is None:
            make_model(Path(name))
        compare(
            options.model or Path(name),
            options.text,
            options.tokens,
            options.rounds,
            has_text=options.model is not None,
        )


if __name__ == "__main__":
    main()
