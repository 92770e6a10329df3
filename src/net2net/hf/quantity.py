"""Sizes as people write them."""

from __future__ import annotations

import math
import re

from net2net.errors import InputError

UNITS = {
    "": 1, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12,
    "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
    "KIB": 2.0**10, "MIB": 2.0**20, "GIB": 2.0**30, "TIB": 2.0**40,
}  # fmt: skip
"""``B`` alone is for a billion, as in 7B."""


def quantity(given: object) -> float:
    """A positive number, with or without a unit.

    >>> quantity("6e9"), quantity("7B"), quantity("24GB"), quantity("1.5 GiB")
    (6000000000.0, 7000000000.0, 24000000000.0, 1610612736.0)

    Raises:
        InputError: it is none.
    """
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        text = repr(given)
    else:
        text = str(given)
    found = re.fullmatch(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    try:
        size = float(found[1]) * UNITS[found[2].upper()] if found else 0.0
    except (ValueError, KeyError):
        size = 0.0
    if not 0 < size < math.inf:
        raise InputError(
            f"'{text:.40}' is no size. Give a positive number, with a unit if you like: 6e9, 7B, "
            "24GB, 24GiB."
        )
    return size
