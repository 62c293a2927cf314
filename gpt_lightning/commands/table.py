"""Table of the commands."""

GROUPS = {
    "Try it": {
        "quickstart": ("quickstart", "pretrain a small model on generated text and fine-tune four heads: five minutes"),
        "toy-world": ("toy_world", "write text and labeled rows to try things on, without any download"),
    },
    "Train and evaluate": {
        "init": ("init.command", "look at a file and print a configuration that trains on it"),
        "fit": ("run.cli", "train a model on your text or your labels, or resume a run"),
        "validate": ("run.cli", "evaluate a checkpoint on the validation data"),
        "test": ("run.cli", "evaluate a checkpoint on the test data"),
        "predict": ("run.cli", "write the predictions of a checkpoint, one JSON line for each row"),
        "without": ("without", "repeat a run without some of its rows: what did they teach the model?"),
        "evaluate": ("evaluate", "compare the test metrics of several runs in one table"),
        "lm-eval": ("lm_eval", "evaluate a language model with EleutherAI's lm-evaluation-harness"),
    },
    "Use a model": {
        "generate": ("generate", "continue a prompt with a trained language model"),
        "export": ("export", "write a model as a folder that Hugging Face's classes can load"),
    },
    "Tools": {
        "tokenizer": ("tokenizer", "train a tokenizer, or show the tokens of a text"),
        "completion": ("completion", "complete commands and options with the Tab key of your shell"),
        "verify-resume": ("verify_resume", "check that a killed and resumed run equals an uninterrupted one"),
    },
}
"""Title -> command -> (module of ``gpt_lightning.commands``, summary)."""

COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
"""Command -> (module of ``gpt_lightning.commands``, summary)."""
