"""Facts for the report of a run that only its command line tells: changed settings, and commands to repeat it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from gpt_lightning.commands.run.classes import class_at
from gpt_lightning.commands.run.parser import RunParser, defaults_of
from gpt_lightning.commands.run.value_layers import flag_key
from gpt_lightning.commands.shell import command
from gpt_lightning.evaluation.run_report.settings import command_without_secrets, without_secrets

_FILES = ("config", "ckpt_path")


def changed_settings(parser: RunParser, config: Namespace, loggers: Any) -> list[tuple[str, Any, Any]]:
    """Return the key, the value and the default of each setting that differs from its default, without secrets.

    Args:
        parser: parser of the subcommand.
        config: settings of the run.
        loggers: value of ``trainer.logger``.
    """
    values = dict(_flatten(config)) | {"trainer.logger": _to_dicts(loggers)}
    defaults = dict(_flatten(parser.get_defaults(skip_validation=True)))
    for part in ("model", "data"):
        own = _flatten(defaults_of(class_at(config[part].class_path)))
        defaults |= {f"{part}.init_args.{key}": value for key, value in own}
    values = without_secrets({key: value for key, value in values.items() if key not in _FILES})
    return [
        (flag_key(key), value, defaults.get(key))
        for key, value in values.items()
        if key not in defaults or repr(value) != repr(defaults[key])
    ]


def commands_to_repeat(
    arguments: Sequence[str], overrides: Mapping[str, Any], run: Path | None, allowed: Sequence[str]
) -> list[str]:
    """Return the command that started the run, and one that starts it again from its configuration.

    Args:
        arguments: arguments of the command line.
        overrides: values that win over the arguments.
        run: folder of the run; None if it has none.
        allowed: names of the user's own that the run may import.
    """
    given = [f"--{key}={value}" for key, value in overrides.items()]
    typed = command(*command_without_secrets([*arguments, *given]))
    if run is None:
        return [typed]
    again = command("fit", "-c", run / "config.yaml", *(f"--allow_import={name}" for name in allowed))
    return [typed, again]


def _flatten(config: Namespace) -> Iterator[tuple[str, Any]]:
    yield from ((key, _to_dicts(value)) for key, value in config.clone(with_meta=False).items())


def _to_dicts(value: Any) -> Any:
    """Return namespaces in a value as dicts, whose text is readable."""
    if isinstance(value, Namespace):
        return {key: _to_dicts(each) for key, each in vars(value).items()}
    return [_to_dicts(each) for each in value] if isinstance(value, list | tuple) else value
