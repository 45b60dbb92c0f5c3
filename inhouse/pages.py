"""A page of HTML from a template that stands beside the code: nothing fetched, nothing run.

Whatever a template is given is text from outside, and Jinja escapes every bit of it; what is HTML
already, such as a chart, comes as ``markupsafe.Markup``. A name that nobody gave is an error.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


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
