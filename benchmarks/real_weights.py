"""Parity with Hugging Face on a pretrained model: logits, greedy texts, beam search, chats, and the bytes of an export.

    python benchmarks/real_weights.py MODEL TEXT [CHATS]

MODEL is a Hugging Face folder and TEXT a text file. CHATS is a JSON Lines file with a column ``messages``; its shortest
questions are the prompts of beam search.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import gpt_lightning as gl
from gpt_lightning.commands.export import main as export
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.generate import Sampling, generate
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tasks.load import load_task
from gpt_lightning.tokenizers.prompt import Message

PROMPTS = (
    "Once upon a time",
    "The capital of France is",
    "def fibonacci(n):",
    "Water boils at",
    "In 1969,",
    "The recipe calls for",
    "Dear Sir or Madam,",
    "To be or not to be,",
    "1, 2, 3,",
    "She opened the door and",
)
QUESTIONS = (
    "What is the capital of France?",
    "How many legs does a spider have?",
    "Name three fruits.",
    "Write a poem about the sea.",
    "Who wrote Romeo and Juliet?",
    "Translate 'good morning' into Spanish.",
    "What is 7 times 8?",
    "Why is the sky blue?",
    "Explain photosynthesis in one sentence.",
    "Give me a recipe for pancakes.",
    "What does HTTP stand for?",
    "Write a Python function that adds two numbers.",
    "Is the Earth flat?",
    "  What is a noun?  ",
    "Wie geht es dir?",
    "List the planets.",
    "What is the opposite of hot?",
    "Tell me a joke about cats 🐈.",
    "How do I boil an egg?",
    "Who are you?",
)
NEW_TOKENS = 64
BEAM_PROMPTS = 50
BEAM_NEW_TOKENS = 24
NUM_BEAMS = 4


def main() -> None:
    """Compare, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a Hugging Face folder")
    parser.add_argument("text", type=Path, help="a text file")
    parser.add_argument("chats", type=Path, nargs="?", help="a JSON Lines file with a column messages")
    options = parser.parse_args()
    begin = time.perf_counter()
    task, tokenizer = load_task(options.model)
    assert isinstance(task, CausalLM)
    size = sum(parameter.numel() for parameter in task.parameters())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{size:,} parameters loaded in {time.perf_counter() - begin:.1f} s, peak memory {peak:,.0f} MB")

    from transformers import AutoModelForCausalLM

    reference: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    ids = torch.tensor([tokenizer.encode(options.text.read_text(encoding="utf-8")[:20_000])[:1024]])
    with torch.inference_mode():
        logits = reference(ids).logits
        difference = (task(ids) - logits).abs().max()
    relative = difference / logits.abs().max()
    print(f"logits of {ids.size(1)} tokens of real text differ by {difference:.1e}, {relative:.1e} of the largest")

    equal = 0
    for prompt in PROMPTS:
        tokens = torch.tensor([tokenizer.encode(prompt)])
        greedy = generate(
            Decoder(task.backbone), task.head, tokens, max_new_tokens=NEW_TOKENS, sampling=Sampling(temperature=0.0)
        )
        ours = [int(token) for token in greedy]
        settings = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
        whole = reference.generate(tokens, attention_mask=torch.ones_like(tokens), eos_token_id=None, **settings)
        equal += ours == whole[0, tokens.size(1) :].tolist()
    print(f"greedy text of {NEW_TOKENS} tokens: equal for {equal} of {len(PROMPTS)} prompts")

    compare_texts(options.model, reference)
    if options.chats is not None:
        compare_beam_search(options.model, reference, options.chats)
    with tempfile.TemporaryDirectory() as folder:
        export([str(options.model), f"{folder}/model"])
        before, after = load_file(options.model / "model.safetensors"), load_file(f"{folder}/model/model.safetensors")
    same = before.keys() == after.keys() and all(before[name].equal(after[name]) for name in before)
    print(f"exported again: {len(after)} tensors, {'every one equal' if same else 'NOT equal'}")


def compare_texts(folder: Path, reference: Any) -> None:
    """Compare the greedy texts of chats and of plain prompts with those of transformers, and print the numbers."""
    from transformers import AutoTokenizer

    model, tokenizer = gl.load(folder, device="cpu"), AutoTokenizer.from_pretrained(folder)

    def reference_text(ids: list[int]) -> str:
        inputs = torch.tensor([ids])
        settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
        whole = reference.generate(inputs, attention_mask=torch.ones_like(inputs), **settings)[0].tolist()
        before, after = (tokenizer.decode(each, skip_special_tokens=True) for each in (ids, whole))
        return str(after.removeprefix(before))

    def compare(name: str, prompts: Sequence[str | list[Message]], encoded: Sequence[list[int]]) -> None:
        pairs = zip(prompts, encoded, strict=True)
        texts = [
            (model.generate(p, max_new_tokens=NEW_TOKENS, temperature=0.0), reference_text(ids)) for p, ids in pairs
        ]
        equal = sum(ours == expected for ours, expected in texts)
        print(f"greedy text of {name}: equal for {equal} of {len(prompts)}", flush=True)

    chats: list[list[Message]] = [[{"role": "user", "content": question}] for question in QUESTIONS]
    template: Any = tokenizer.apply_chat_template
    compare("chats", chats, [template(chat, add_generation_prompt=True, return_dict=False) for chat in chats])
    rendered = [template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    texts = [*rendered, *PROMPTS]
    compare("rendered chats and plain prompts", texts, [tokenizer(text)["input_ids"] for text in texts])


def compare_beam_search(folder: Path, reference: Any, chats: Path) -> None:
    """Compare the texts of beam search with those of transformers, and print the numbers."""
    from transformers import AutoTokenizer

    model, tokenizer = gl.load(folder, device="cpu"), AutoTokenizer.from_pretrained(folder)
    rows = [json.loads(line)["messages"] for line in chats.read_text(encoding="utf-8").splitlines()]
    questions = sorted({row[0]["content"] for row in rows}, key=lambda question: (len(question), question))
    prompts: list[list[Message]] = [[{"role": "user", "content": each}] for each in questions[:BEAM_PROMPTS]]
    settings: dict[str, Any] = {"num_beams": NUM_BEAMS, "length_penalty": 1.0, "max_new_tokens": BEAM_NEW_TOKENS}
    expected = []
    for prompt in prompts:
        ids = torch.tensor([tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)])
        whole = reference.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, **settings)[0].tolist()
        expected.append(tokenizer.decode(whole[ids.size(1) :], skip_special_tokens=True))
    for batch_size in (1, 10):
        texts = [best.text for best, *_ in model.complete(prompts, batch_size=batch_size, **settings)]
        equal = sum(ours == text for ours, text in zip(texts, expected, strict=True))
        print(
            f"beam search with {NUM_BEAMS} beams, batches of {batch_size}: equal for {equal} of {len(prompts)}",
            flush=True,
        )
        for ours, text in zip(texts, expected, strict=True):
            if ours != text:
                print(f"  {ours!r}\n  {text!r}")


if __name__ == "__main__":
    main()
