"""Fine-tune a classifier from a pretrained backbone, test it, predict, and write a model folder.

    python examples/fine_tune_and_predict.py [BACKBONE]

BACKBONE is a checkpoint, such as toy_world.ckpt, which train_from_python.py writes.
"""

import argparse
from pathlib import Path

import lightning.pytorch as L

import gpt_lightning as gl
from gpt_lightning.toy_world.write import write


def main() -> None:
    """Train a sentiment classifier on 400 rows, and use it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "backbone", nargs="?", default="toy_world.ckpt", help="a checkpoint, run folder or model folder"
    )
    parser.add_argument("--max_epochs", type=int, default=8)
    options = parser.parse_args()

    write(Path("data/toy_world"))
    L.seed_everything(0)
    pretrained = gl.load(options.backbone)
    config = pretrained.task.backbone.config
    pretrained.tokenizer.save(Path("tokenizer.json"))
    data = gl.TextClassification(
        train="data/toy_world/sentiment/train.jsonl",
        validation="data/toy_world/sentiment/validation.jsonl",
        test="data/toy_world/sentiment/test.jsonl",
        tokenizer="tokenizer.json",
        block_size=config.block_size,
    )
    task = gl.SequenceClassification(
        backbone=config,
        labels=data.labels,
        init_from=options.backbone,
        optimizer=gl.OptimizerConfig(lr=1e-3),
    )
    trainer = L.Trainer(max_epochs=options.max_epochs, gradient_clip_val=1.0, logger=False, enable_checkpointing=False)
    trainer.fit(task, datamodule=data)
    trainer.test(task, datamodule=data)
    trainer.save_checkpoint("sentiment.ckpt")

    model = gl.load("sentiment.ckpt")
    for record in model.predict([{"text": "The soup was wonderful."}, {"text": "The room was cold and dirty."}]):
        print(record["label"], record["scores"])
    print(model.embed(["The soup was wonderful."], pooling="mean").shape)
    reason = model.save("sentiment_model")
    print("wrote sentiment_model" + (f", which only gpt-lightning can load: {reason}" if reason else ""))


if __name__ == "__main__":
    main()
