"""Installed packages, compared with those that this package and its extras require."""

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

_NAME: Final = "gpt-lightning"
_DEVELOPMENT: Final = ("test", "docs")
"""Extras that users do not need."""
_REQUIREMENT: Final = re.compile(r"\s*([\w.-]+)\s*(?:\[[^\]]*\])?(.*)")
_EXTRA: Final = re.compile(r"""extra == ["']([^"']*)["']""")
_ALSO: Final = "pytorch-lightning"
"""The same code as lightning under its older name, with the same malicious releases."""


@dataclass(frozen=True)
class Package:
    """Package that is required or may be installed."""

    name: str
    required: str
    """Accepted versions, such as ``>=2.13``; empty for any."""
    version: str | None
    """Installed version; None if it is missing."""
    is_accepted: bool
    """True if the installed version is an accepted one."""
    extra: str | None = None
    """Extra that requires it; None if it is always required."""


def installed_packages() -> tuple[Package, ...]:
    """Return the packages that this package requires, and those of its extras for users."""
    try:
        lines = requires(_NAME) or []
    except PackageNotFoundError:  # run from a source tree that is not installed
        lines = []
    found = [_package(line) for line in lines]
    if (installed := _version(_ALSO)) is not None:
        found.append(Package(_ALSO, "", installed, is_accepted=True))
    return tuple(each for each in found if each.extra not in _DEVELOPMENT)


def _package(line: str) -> Package:
    """Return the package of a requirement, such as ``peft>=0.21; extra == 'lora'``."""
    requirement, _, marker = line.partition(";")
    parts = _REQUIREMENT.match(requirement)
    assert parts is not None, line
    name, accepted = parts[1], parts[2].strip()
    installed = _version(name)
    extra = _EXTRA.search(marker)
    is_accepted = installed is not None and _is_accepted(installed, accepted)
    return Package(name, accepted, installed, is_accepted, None if extra is None else extra[1])


def _is_accepted(installed: str, accepted: str) -> bool:
    """Return whether a version is an accepted one; True without the package that compares versions."""
    try:
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(accepted).contains(installed, prereleases=True)
    except Exception:  # a broken installation raises anything
        return True


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
