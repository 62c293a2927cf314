"""Exceptions with messages for the user: invalid input, a failed run, an interruption."""

import difflib
import errno
import re
from collections.abc import Sequence
from typing import Final

_EARLY_STOPPING = re.compile(r"Early stopping conditioned on metric `(.+?)` .*any of the following: (.+)$", re.DOTALL)
_OUT_OF_MEMORY: Final = re.compile(r"out of memory|can't allocate memory|Cannot allocate memory|not enough memory")
_EXHAUSTED: Final = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""System errors besides a full disk that end a run, but that are no mistake in its input."""


class InputError(ValueError):
    """Invalid file, argument or configuration value of the user.

    The message says what is wrong, where (``path:line`` or the YAML key) and how to fix it. The command line prints it
    without a traceback and exits with status 2. Any other exception is a bug; its traceback goes to a file.
    """


class RunError(RuntimeError):
    """Failure that ends a run: a full disk, a value that is not finite, or a dead process.

    The message says what failed and at which step. The command line prints it without a traceback and exits with
    status 1. Checkpoints saved before the failure stay valid.
    """


class Interrupted(BaseException):
    """Signal that ends the run; the command line exits with status 128 + ``signum``, as shells expect.

    It derives from BaseException, as KeyboardInterrupt does, because it may be raised inside code that catches or
    converts every Exception.
    """

    def __init__(self, signum: int, between_steps: bool) -> None:
        super().__init__(signum)
        self.signum = signum
        self.between_steps = between_steps  # True if no optimizer step was under way


def run_error(error: BaseException) -> RunError | None:
    """Return ``error`` as a RunError, or None if it is another kind of error.

    torch reports a dead data loader worker and missing memory as plain RuntimeErrors.
    """
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
        reason = str(error).splitlines()[0].removeprefix("DataLoader worker ")
        return RunError(
            f"a worker process of the data loader has died: {reason} All saved checkpoints are intact. Resume with "
            "--resume=auto; if workers die again, lower --data.num_workers"
        )
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error))):
        return RunError(
            "out of memory. Lower --data.batch_size and raise --trainer.accumulate_grad_batches, add "
            "--activation_checkpointing=true, or choose a smaller model or a shorter --model.backbone.block_size"
        )
    if isinstance(error, OSError) and (is_full(error) or error.errno in _EXHAUSTED):
        remedy = "Free some space" if is_full(error) else "Check the disk and the limits of this process"
        return RunError(f"{_name(error)}{error.strerror}. {remedy}. A run continues with --resume=auto")
    return error if isinstance(error, RunError) else None


def input_error(error: BaseException | None) -> InputError | None:
    """Return ``error`` or its cause as an InputError, or None if neither is one.

    jsonargparse wraps the errors of constructors. Lightning reports a monitor that does not exist as a RuntimeError. A
    system error that names a file means that the path or its permissions are wrong.
    """
    if isinstance(error, RuntimeError) and (match := _EARLY_STOPPING.match(str(error))):
        names = match[2].replace("`", "")
        return InputError(f"EarlyStopping: the metric {match[1]} is not computed. Set its monitor to one of {names}")
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # of Path.resolve
        return InputError(f"{error}. Delete the link, or choose another path")
    if isinstance(error, ValueError) and (isinstance(error, UnicodeError) or "embedded null" in str(error)):
        what = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else "has characters that no file can have"
        return InputError(f"a path or a text {what}: {error}. Fix it in your files or options")
    cause = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__
    if cause is None and isinstance(error, OSError) and error.filename is not None and error.strerror:
        return InputError(f"{_name(error)}{error.strerror}. Check the path and its permissions")
    return cause


def unknown_name(noun: str, name: str, names: Sequence[str]) -> str:
    """Return the message about a name that is not among ``names``, with the nearest of them.

    Args:
        noun: kind of the name, such as "label".
        name: the unknown name.
        names: the known ones.
    """
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r:.60}?" if near else f"there is no {noun}"
    return f"unknown {noun} {name!r:.60}; {hint}"


def is_full(error: OSError) -> bool:
    """Return whether a write failed because the disk, the user's quota or the file has reached its limit."""
    return error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


def _name(error: OSError) -> str:
    names = [str(each) for each in (error.filename, error.filename2) if each is not None]
    return f"{' -> '.join(names)}: " if names else ""
