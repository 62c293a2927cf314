"""Assertions that every command line must satisfy, whatever its input."""

import re
from pathlib import Path
from typing import Final

from tests.reliability.fuzz.inputs import Input
from tests.reliability.fuzz.runner import LIMIT_S, Outcome

CODES: Final = (0, 1, 2, 130, 143)
MAX_LINES: Final = 12
MAX_LINE: Final = 2000
_PRINTS: Final = re.compile(r"-h|--help|--version|--list|--print_config|--[a-z_.]+\.help")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FRAME: Final = re.compile(r'File "(?:[^"]*/)?(?:site-packages/)?([^"/]+/[^"/]+)", line \d+,? in (\S+)')
_OWN_FRAME: Final = re.compile(r'File "[^"]*/gpt_lightning/([^"]+)", line \d+,? in (\S+)')
_ERROR: Final = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)
_STACK: Final = "Current thread"
"""Start of the main stack in the text of faulthandler, which the server makes a hanging process print."""
_TRACEBACK: Final = "Traceback (most recent call last)"
_NOTICE: Final = re.compile(r"(\S*traceback\S*\.\w+)")
"""File with the traceback of an error that the command line did not foresee."""


def fault(each: Input, outcome: Outcome) -> str | None:
    """Return the kind of the first fault of a command line, or None if it behaved well.

    Faults with the same cause have the same kind.
    """
    command = each.arguments[0] if each.arguments else "none"
    text = outcome.err + outcome.out
    if outcome.stopped == "busy":
        return None
    if outcome.stopped or outcome.seconds > LIMIT_S:
        return f"{outcome.stopped or 'hang'} in {command}{_where_it_hangs(outcome.err)}"
    if _TRACEBACK in text:
        return f"traceback: {_cause(outcome.err if _TRACEBACK in outcome.err else outcome.out)}"
    if (notice := _NOTICE.search(text)) is not None and (path := outcome.folder / notice[1]).is_file():
        return f"unforeseen: {_cause(Path(path).read_text(errors='replace'))}"
    if outcome.code not in CODES:
        return f"signal {-outcome.code} in {command}" if outcome.code < 0 else f"exit code {outcome.code} in {command}"
    if outcome.code == 0:
        return f"exit 0 without work in {command}" if not _has_worked(each, outcome) else None
    if outcome.code == 1 and command in ("inspect", "doctor") and outcome.out.strip():
        return None  # these list the problems that they find on standard output
    if each.is_valid:
        return f"a valid input was refused by {command}"
    return _message_fault(outcome, command)


def _message_fault(outcome: Outcome, command: str) -> str | None:
    """Return what is wrong with the message of a command that failed, or None."""
    lines = [line for line in outcome.err.splitlines() if not line.endswith(" ...")]
    if not "".join(lines).strip():
        return f"no message from {command}"
    if found := _CONTROL.search(outcome.err):
        return f"control character {found[0]!r} in the message of {command}"
    if len(lines) > MAX_LINES:
        return f"message of {len(lines)} lines from {command}"
    if (longest := max(map(len, lines))) > MAX_LINE:
        return f"message line of {longest // 1000},000 characters from {command}"
    return None


def _cause(text: str) -> str:
    """Return the exception type, the deepest frame of this package and the deepest one of all in a traceback."""
    text = text[text.index(_TRACEBACK) :]
    frames, own = list(_FRAME.finditer(text)), list(_OWN_FRAME.finditer(text))
    error = _ERROR.search(text, frames[-1].end() if frames else len(_TRACEBACK))
    places = dict.fromkeys(":".join(found[-1].groups()) for found in (own, frames) if found)
    return f"{error[1] if error else 'unknown error'} in {' via '.join(places)}"


def _where_it_hangs(err: str) -> str:
    """Return the first frame of this package and the first one of all in faulthandler's text."""
    stacks = (pattern.search(err, err.find(_STACK)) for pattern in (_OWN_FRAME, _FRAME) if _STACK in err)
    return "".join(f" at {':'.join(found.groups())}" for found in stacks if found)


def _has_worked(each: Input, outcome: Outcome) -> bool:
    """Return whether a command with exit code 0 has done something."""
    command, options = each.arguments[0] if each.arguments else "", [word.partition("=")[0] for word in each.arguments]
    if command in ("fit", "validate", "test", "predict", "generate") and not any(map(_PRINTS.fullmatch, options)):
        if command == "fit":
            return outcome.steps > 0 or "nothing to do" in outcome.out
        return outcome.calls > 0
    if command == "export" and not any(map(_PRINTS.fullmatch, options)):
        return any(path.stat().st_size for path in outcome.folder.glob("**/*.safetensors") if "head" not in path.parts)
    return bool(outcome.out.strip())
