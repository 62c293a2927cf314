"""Table of the commands."""

GROUPS = {
    "Try it": {
        "quickstart": ("quickstart", "pretrain a small model on generated text and fine-tune four heads: five minutes"),
        "toy-world": ("toy_world", "write generated text and labeled rows to experiment with; no download"),
    },
    "Train and evaluate": {
        "init": ("init.command", "inspect a file and print a configuration that trains on it"),
        "inspect": ("inspect.command", "check the data of a configuration before training on it"),
        "fit": ("run.cli", "train a model on your text or your labels, or resume a run"),
        "validate": ("run.cli", "evaluate a checkpoint on the validation data"),
        "test": ("run.cli", "evaluate a checkpoint on the test data"),
        "predict": ("run.cli", "write the predictions of a checkpoint, one JSON line for each row"),
        "without": ("without", "repeat a run without some of its rows, to see what they taught the model"),
        "evaluate": ("evaluate", "compare the test metrics of several runs in one table"),
        "compare": ("compare", "write one HTML page about several runs: metrics, settings, curves"),
        "bias": ("bias", "measure stereotypes, or gaps between the predictions for two groups of people"),
        "lm-eval": ("lm_eval", "evaluate a language model with EleutherAI's lm-evaluation-harness"),
    },
    "Use a model": {
        "generate": ("generate", "continue a prompt with a trained language model"),
        "explain": ("explain", "show which words a prediction depends on, as a page and as JSON"),
        "export": ("export", "write a model as a folder that Hugging Face's classes can load"),
    },
    "Tools": {
        "doctor": ("doctor.command", "check versions, hardware and settings of this machine"),
        "tokenizer": ("tokenizer", "train a tokenizer, or show the tokens of a text"),
        "schema": ("schema", "print a JSON schema of configurations, for editors"),
        "completion": ("completion", "complete commands and options with the Tab key of your shell"),
        "verify-resume": ("verify_resume", "check that a killed and resumed run equals an uninterrupted one"),
    },
}
"""Title -> command -> (module of ``gpt_lightning.commands``, summary)."""

COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
"""Command -> (module of ``gpt_lightning.commands``, summary)."""
