"""The views: what teams ask for, defined once. A later migration drops and makes anew what it changes."""

from __future__ import annotations

# Strings, or migrations' Twins where the engines' words differ. Made at the end of migration 7.
STATEMENTS: tuple[str, ...] = ()
