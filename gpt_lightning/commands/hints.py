"""Suggestions for mistyped keys, keys of other trainers, and words that belong to no option."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

_OURS: Final = {
    "trainer.max_steps": ("steps", "num_steps", "max_iters", "total_steps", "train_steps"),
    "trainer.max_epochs": ("epochs", "num_epochs", "num_train_epochs", "n_epochs"),
    "trainer.accumulate_grad_batches": ("gradient_accumulation_steps", "grad_accum", "accumulation_steps"),
    "trainer.gradient_clip_val": ("max_grad_norm", "grad_clip", "clip_grad_norm", "gradient_clipping"),
    "trainer.devices": ("gpus", "num_gpus", "n_gpu", "nproc_per_node", "num_devices"),
    "trainer.accelerator": ("device", "cpu", "gpu", "no_cuda", "use_cpu"),
    "trainer.precision": ("fp16", "bf16", "amp", "mixed_precision", "dtype"),
    "trainer.val_check_interval": ("eval_steps", "eval_interval", "eval_every"),
    "trainer.log_every_n_steps": ("logging_steps", "log_interval", "log_every"),
    "model.optimizer.lr": ("learning_rate", "lr", "peak_lr", "max_lr"),
    "model.optimizer.kind": ("optim", "optimizer"),
    "model.schedule.kind": ("lr_scheduler", "lr_scheduler_type", "scheduler", "lr_schedule"),
    "model.schedule.warmup_steps": ("warmup", "num_warmup_steps", "warmup_iters", "warmup_ratio"),
    "model.init_from": ("model_name_or_path", "model_name", "pretrained_model", "base_model", "model_path"),
    "model.backbone.n_layer": ("n_layers", "num_layers", "num_hidden_layers", "depth"),
    "model.backbone.n_head": ("n_heads", "num_heads", "num_attention_heads"),
    "model.backbone.n_embd": ("hidden_size", "d_model", "embed_dim", "dim"),
    "model.backbone.block_size": ("max_seq_length", "max_length", "seq_len", "sequence_length", "context_length"),
    "model.lora.r": ("lora_r", "lora_rank", "rank"),
    "model.lora.alpha": ("lora_alpha",),
    "data.batch_size": ("per_device_train_batch_size", "train_batch_size", "micro_batch_size", "global_batch_size"),
    "data.num_workers": ("dataloader_num_workers", "workers"),
    "data.train": ("train_file", "train_data", "training_data", "dataset", "dataset_name", "train_dataset"),
    "data.validation": ("validation_file", "eval_file", "val_data", "eval_dataset", "valid_data", "validation_data"),
    "data.test": ("test_file", "test_data"),
    "seed_everything": ("seed", "random_seed", "manual_seed"),
    "log_dir": ("output_dir", "out_dir", "save_dir", "output_folder"),
    "name": ("run_name",),
    "ckpt_path": ("resume_from_checkpoint", "checkpoint", "ckpt", "checkpoint_path"),
    "checkpoints.every_n_steps": ("save_steps", "save_interval", "save_every"),
    "checkpoints.keep": ("save_total_limit",),
    "activation_checkpointing": ("gradient_checkpointing",),
    "compile": ("torch_compile", "use_compile"),
}
_SYNONYMS: Final = {name: key for key, names in _OURS.items() for name in names}
"""Option of other trainers -> key of this package."""
_CONFIG_SUFFIXES: Final = (".yaml", ".yml")


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return a message about an unknown key, with the known key that is meant most probably.

    Args:
        key: the whole key on the command line, or its last part in a file.
        known: all keys.
    """
    by_name: dict[str, str] = {}
    for full in known:
        if full.endswith(".help"):
            continue
        for start in range(full.count(".") + 1):
            by_name.setdefault(full.split(".", start)[-1], full)
    plain = key.replace("-", "_")
    found = by_name.get(_SYNONYMS.get(plain.lower(), plain))
    near = [] if found else difflib.get_close_matches(plain, by_name, n=1, cutoff=0.5)
    if near:
        found = by_name[near[0]]
    return f"unknown key {key!r}; " + (f"did you mean {found!r}?" if found else "--help lists the keys")


def stray_words(words: Sequence[str]) -> str:
    """Return a message about words on the command line that are no option and no value of one."""
    word = words[0]
    shown = ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")
    if word.startswith("-") or ("=" in word and not word.startswith("=")):
        return f"{word}: an option starts with two dashes. Write --{word.lstrip('-')}"
    if word.endswith(_CONFIG_SUFFIXES):
        return f"{word}: a configuration needs an option. Write -c {word}"
    return (
        f"{shown}: not an option, and options take one value. Quote a text with spaces, as in --prompt 'Last summer', "
        "and a pattern, as in --data.train '*.txt'. Give several files as a list, as in --data.train '[a.txt, b.txt]'"
    )
