"""PEP 692's ``Unpack`` for keyword arguments that a constructor relays to its base class.

Type checkers see ``typing.Unpack`` and check every call. At run time ``Unpack[Settings]`` is ``Any``. jsonargparse then
follows ``super().__init__(**settings)`` and takes names, types, defaults and docs from the constructor that declares
the arguments. For ``typing.Unpack`` it would list the keys of the TypedDict, which have no defaults.
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
