"""YAML that somebody else wrote: looked through before anything is made of it."""

from __future__ import annotations

DEEPEST = 32
"""Lists and fields inside each other, beyond which reading takes the longer the more there are."""


class NotPlainError(ValueError):
    """It multiplies itself, or is nested too deeply; ``line``: where."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def check_plain(text: str) -> None:
    """Raises:
    NotPlainError: something is repeated by reference, or nested too deeply.
    yaml.YAMLError: it is no YAML.
    """
    import yaml

    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise NotPlainError("something is repeated by reference", line)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise NotPlainError(f"there are more than {DEEPEST} lists inside each other", line)
