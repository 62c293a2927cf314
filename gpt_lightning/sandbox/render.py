"""Rendering of Jinja templates: a process that reads requests from standard input until it is closed.

A request is the pickle of a kind, a template and the variables of each rendering. The answers are, for each of them, a
byte, ``+`` or ``-``, and a text, or the reason of a failure. ``READY`` comes before the first one.
"""

import json
import pickle
import re
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, BinaryIO, Final, NoReturn

import jinja2
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

from gpt_lightning.sandbox.process import limit_resources

HEADER: Final = struct.Struct("<Q")
"""Size of the request or of the text that follows."""
READY: Final = b"."
"""Output of the process before its first answer."""
NOW: Final = "gpt_lightning_now"
"""Variable of a chat template with the time that ``strftime_now`` returns."""
MAX_TEXT_BYTES: Final = 2**24
_MEMORY_BYTES: Final = 2 * 2**30


@lru_cache(maxsize=256)
def _template(kind: str, text: str) -> jinja2.Template:
    return _ENVIRONMENTS[kind]().from_string(text)


def _chat_environment() -> jinja2.Environment:
    """Return the environment of chat templates, as in transformers."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _task_environment() -> jinja2.Environment:
    """Return the environment of the tasks of lm-evaluation-harness."""
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = _regex_replace
    return environment


_ENVIRONMENTS: Final[dict[str, Callable[[], jinja2.Environment]]] = {
    "chat": _chat_environment,
    "task": _task_environment,
}


def _to_json(value: Any, **settings: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **settings})


@jinja2.pass_context
def _strftime_now(context: Context, form: str) -> str:
    """Return the current local time, or the UTC time of the variable ``NOW``, in seconds since 1970."""
    now = context.get(NOW)
    return (datetime.now() if now is None else datetime.fromtimestamp(now, UTC)).strftime(form)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _regex_replace(text: str, pattern: str, replacement: str, count: int = 0) -> str:
    return re.sub(pattern, replacement, text, count=count)


def answers(request: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the status and the text of each answer to a request."""
    kind, text, renderings = pickle.loads(request)  # noqa: S301 (our own parent process has written it)
    for variables in renderings:
        yield _answer(kind, text, variables)


def _answer(kind: str, text: str, variables: Mapping[str, Any]) -> tuple[bytes, str]:
    try:
        rendered = _template(kind, text).render(**variables)
    except MemoryError:
        return b"-", "it takes too much memory"
    except RecursionError:
        return b"-", "it nests too deeply"
    except Exception as error:  # a template can raise any
        return b"-", (str(error) or type(error).__name__)[:1000]
    if len(rendered) > MAX_TEXT_BYTES // 4:
        return b"-", f"its text has {len(rendered):,} characters"
    return b"+", rendered


def serve(requests: BinaryIO, output: BinaryIO) -> None:
    """Answer requests until the end of the file."""
    while len(header := requests.read(HEADER.size)) == HEADER.size:
        for status, text in answers(requests.read(HEADER.unpack(header)[0])):
            content = text.encode(errors="surrogatepass")
            output.write(status + HEADER.pack(len(content)) + content)
        output.flush()


if __name__ == "__main__":
    limit_resources(_MEMORY_BYTES)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    serve(sys.stdin.buffer, sys.stdout.buffer)
