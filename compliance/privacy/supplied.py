"""The scan with what a firm adds to it: its customers' names, a model, its own contacts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compliance.privacy.entities import Entity, Extra
from compliance.privacy.names import Names
from compliance.privacy.public_contacts import PublicContacts
from compliance.privacy.scan import scan


@dataclass(frozen=True)
class Supplied:
    """The scan with what a firm adds to it. Called with a text, it finds like :func:`scan`."""

    names: Names | None = None
    extra: tuple[Extra, ...] = ()
    public: PublicContacts | None = None

    @classmethod
    def read(
        cls,
        names: str | Path | None = None,
        ner_model: str | Path | None = None,
        allow: str | Path | None = None,
    ) -> Supplied:
        """From a customer list, a folder with a model that labels names, a list of own contacts.

        Raises:
            InputError: one of them cannot be read, or holds nothing to use.
        """
        extra: tuple[Extra, ...] = ()
        if ner_model:
            from compliance.privacy.recogniser import Recogniser

            extra = (Recogniser(str(ner_model)),)
        listed = Names.read(Path(names)) if names else None
        return cls(listed, extra, PublicContacts.read(Path(allow)) if allow else None)

    def __call__(self, text: str) -> list[Entity]:
        """Personal data in a text, in order."""
        return scan(text, self.names, self.extra, self.public)
