"""TODO."""

from __future__ import annotations

from collections.abc import Sequence

from inhouse.errors import InputError


def check_lengths(lengths: Sequence[int], max_length: int | None, source: str, what: str) -> None:
    """Refuse rows over ``max_length``: TRL would cut them, end token first, or drop them.

    Raises:
        InputError: how many, which is the longest, and the value that would hold it.
    """
    over = [
        number for number, length in enumerate(lengths, start=1) if length > (max_length or 1e9)
    ]
    if over:
        longest = max(lengths)
        named = ", ".join(str(number) for number in over[:5]) + (" …" if len(over) > 5 else "")
        raise InputError(
            f"{len(over)} {what} of {source} are longer than max_length {max_length} "
            f"(record {named}; the longest has {longest} tokens): set --max_length {longest}, or "
            "take them out"
        )
