"""Cross references of docstrings, ``:class:`~a.b.C```, as plain code in the pages."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`~?([^`]+)`")


class Roles(griffe.Extension):
    """Rewrites every docstring once it is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Replace the roles of one docstring; a constructor's own line says nothing beside its class."""
        if obj.name == "__init__" and obj.docstring and "\n" not in obj.docstring.value:
            obj.docstring = None
        if obj.docstring:
            obj.docstring.value = ROLE.sub(lambda role: f"`{role[1]}`", obj.docstring.value)
