"""PEP 692's ``Unpack`` for keyword arguments that a constructor passes on to its base class.

Type checkers see ``typing.Unpack`` and check every call. At run time ``Unpack[Settings]`` is ``Any``, so jsonargparse
follows ``super().__init__(**settings)`` to the constructor that declares the arguments, with their defaults and docs.
With ``typing.Unpack`` it would list the keys of the TypedDict, which have no defaults.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Unpack as Unpack
else:

    class Unpack:
        """Stand-in for ``typing.Unpack`` at run time."""

        def __class_getitem__(cls, settings: object) -> Any:
            """Return ``Any``."""
            return Any
