"""Models with a sliding window: the window is the context, within which the logits equal those of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.checkpoints.manifest import notice
from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.models.huggingface import read_config
from tests.models.huggingface.families import BLOCK_SIZE, VOCAB_SIZE, our_task, save_reference

WINDOW = 6
ALL_LAYERS: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": WINDOW},
    "phi3": {"sliding_window": WINDOW},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 0},
    "qwen3": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "smollm3": {"use_sliding_window": True, "sliding_window": WINDOW},
    "gemma3": {"sliding_window": WINDOW},
}


@pytest.mark.parametrize("name", ALL_LAYERS)
@torch.no_grad()
def test_window_is_the_context(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    reference = save_reference(tmp_path, name, **ALL_LAYERS[name])
    pretrained = read_config(tmp_path)
    assert pretrained.config.block_size == WINDOW
    ids = torch.randint(VOCAB_SIZE, (3, BLOCK_SIZE), generator=torch.Generator().manual_seed(1))
    expected = reference(ids[:, :WINDOW]).logits
    torch.testing.assert_close(our_task(pretrained)(ids[:, :WINDOW]), expected, rtol=1e-4, atol=1e-4)
    # One token more, and the window changes the logits.
    full = type(reference)(type(reference.config)(**reference.config.to_dict() | {"sliding_window": BLOCK_SIZE}))
    full.load_state_dict(reference.state_dict())
    full.eval()
    assert full(ids[:, :WINDOW]).logits.allclose(expected, rtol=1e-4, atol=1e-4)
    assert not full(ids[:, : WINDOW + 1]).logits.allclose(reference(ids[:, : WINDOW + 1]).logits, rtol=1e-4, atol=1e-4)

    notice.cache_clear()
    capsys.readouterr()
    for _ in range(2):
        read_checkpoint(tmp_path)
    assert capsys.readouterr().err == (
        f"{tmp_path}/config.json: the context is {WINDOW} tokens, the sliding window of the model, not the "
        f"{BLOCK_SIZE} of max_position_embeddings, because sliding windows are not supported\n"
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mistral", {"sliding_window": None}),
        ("mistral", {"sliding_window": BLOCK_SIZE}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2}),
        ("qwen2", {"use_sliding_window": False, "sliding_window": WINDOW, "max_window_layers": 0}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": None, "max_window_layers": 0}),
        ("smollm3", {"use_sliding_window": True, "sliding_window": None}),
        ("gemma3_global", {"sliding_window": WINDOW}),
    ],
)
def test_model_without_effective_window_keeps_its_context(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    save_reference(tmp_path, name, **options)
    pretrained = read_config(tmp_path)
    assert (pretrained.config.block_size, pretrained.notes) == (BLOCK_SIZE, ())
