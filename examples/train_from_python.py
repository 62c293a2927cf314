"""Pretrain a small language model from Python, with Lightning's own Trainer.

python examples/train_from_python.py
"""

import argparse
from pathlib import Path

import lightning.pytorch as L

import gpt_lightning as gl
from gpt_lightning.toy_world.write import write


def main() -> None:
    """Train, save a checkpoint, load it and use it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max_steps", type=int, default=200)
    options = parser.parse_args()

    write(Path("data/toy_world"))  # a generated corpus, which needs no download
    L.seed_everything(0)
    data = gl.LanguageModeling(
        train="data/toy_world/text/train.jsonl",
        validation="data/toy_world/text/validation.jsonl",
        tokenizer="bpe:1024",
        block_size=64,
        batch_size=16,
    )
    task = gl.CausalLM(
        backbone=gl.GPTConfig(n_layer=2, n_head=4, n_embd=64, block_size=64),
        vocab_size=data.vocab_size,
        optimizer=gl.OptimizerConfig(lr=3e-3),
        schedule=gl.Schedule(kind="cosine", warmup_steps=20),
    )
    trainer = L.Trainer(
        max_steps=options.max_steps,
        val_check_interval=100,
        check_val_every_n_epoch=None,
        limit_val_batches=10,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
    )
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint("toy_world.ckpt")

    model = gl.load("toy_world.ckpt")
    print(model)
    print(model.generate("Last summer", max_new_tokens=40, seed=0))
    print(f"{model.score(['The harbor was quiet.'])[0].bits_per_byte:.2f} bits per byte")


if __name__ == "__main__":
    main()
