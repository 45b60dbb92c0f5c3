"""Token ids kept on disk, so that a second run on the same data does not render it again.

The name of a file is a hash of all that its content depends on: the conversations, the tokenizer
whole, its chat template, and this format. Nothing is ever looked up by a path or a date, so that
another tokenizer, template or record cannot meet stale ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inhouse.chat import Rendered
from inhouse.files import write_atomically
from inhouse.records import Message, plain
from inhouse.run import is_main_process

FORMAT = 1  # one more whenever inhouse.chat renders the same conversation otherwise


class TokenCache:
    """Renderings by content in a folder; without a folder it keeps nothing."""

    def __init__(self, folder: str | Path | None):
        self.folder = Path(folder) if folder else None
        self._noted: tuple[str, Sequence[Rendered]] | None = None

    def load(
        self, tokenizer: Any, conversations: Sequence[Sequence[Message]]
    ) -> list[Rendered] | None:
        """The renderings of exactly these conversations in this order, or None."""
        if self.folder is None:
            return None
        path = self.folder / f"{key(tokenizer, conversations)}.jsonl"
        if not path.is_file():
            return None
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        return [Rendered(row["ids"], [bool(n) for n in row["supervised"]]) for row in rows]

    def remember(
        self,
        tokenizer: Any,
        conversations: Sequence[Sequence[Message]],
        rendered: Sequence[Rendered],
    ) -> None:
        """Take note of renderings; :meth:`write` keeps them, once a run has claimed its folder."""
        if self.folder is not None:
            self._noted = (f"{key(tokenizer, conversations)}.jsonl", rendered)

    def write(self) -> None:
        """Keep what was noted; the same renderings are not written twice."""
        if self.folder is None or self._noted is None or not is_main_process():
            return
        name, rendered = self._noted
        if not (self.folder / name).is_file():
            rows = ({"ids": row.ids, "supervised": [*map(int, row.supervised)]} for row in rendered)
            write_atomically(self.folder / name, "".join(json.dumps(row) + "\n" for row in rows))


def key(tokenizer: Any, conversations: Sequence[Sequence[Message]]) -> str:
    """What the renderings depend on, as 32 hex digits."""
    digest = hashlib.sha256()
    for part in (
        FORMAT,
        tokenizer.backend_tokenizer.to_str(),
        tokenizer.chat_template,
        tokenizer.special_tokens_map,
        [plain(messages) for messages in conversations],
    ):
        digest.update(json.dumps(part, ensure_ascii=False, sort_keys=True).encode() + b"\0")
    return digest.hexdigest()[:32]
