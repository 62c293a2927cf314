"""Installed packages, compared with those that this package and its extras require."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from packaging.requirements import Requirement

_NAME: Final = "gpt-lightning"
_DEVELOPMENT: Final = ("test", "docs")
"""Extras that users do not need."""
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
    found = [_package(Requirement(line)) for line in lines]
    if (installed := _version(_ALSO)) is not None:
        found.append(Package(_ALSO, "", installed, is_accepted=True))
    return tuple(each for each in found if each.extra not in _DEVELOPMENT)


def _package(requirement: Requirement) -> Package:
    installed = _version(requirement.name)
    is_accepted = installed is not None and requirement.specifier.contains(installed, prereleases=True)
    extra = None if requirement.marker is None else str(requirement.marker).partition('extra == "')[2].partition('"')[0]
    return Package(requirement.name, str(requirement.specifier), installed, is_accepted, extra or None)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
