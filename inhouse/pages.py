"""A page of HTML from a template that stands beside the code: nothing fetched, nothing foreign run.

Whatever a template is given is text from outside, and Jinja escapes every bit of it; what is HTML
already, such as a chart, comes as ``markupsafe.Markup``. A name that nobody gave is an error.

A page that has a script of ours names it by its hash in its Content-Security-Policy, so that a
browser runs that script and no other; what models said goes to it as data.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Inline:
    """A script or a style that stands in the page, and the source by which a policy allows it."""

    text: Markup
    source: str


def render(template: Path, **values: object) -> str:
    """The whole page as text."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    return environment.get_template(template.name).render(values)


def inline(*files: Path) -> Inline:
    """Our own files, one behind the other, as the text of one ``script`` or ``style`` element.

    The hash is that of https://www.w3.org/TR/CSP3/#match-element-to-source-list: of the element's
    very text, whose line ends a browser reads as LF.
    """
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    assert "</s" not in text.lower(), "it would end its own element"
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Inline(Markup(text), f"'sha256-{digest}'")


def as_data(value: object) -> Markup:
    """A value as JSON for a ``script`` element of type ``application/json``, which is never run.

    Nothing in it can end that element, nor begin a comment or a script: ``<`` is written as JSON's
    escape of it.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
