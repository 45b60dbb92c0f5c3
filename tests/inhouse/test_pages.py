"""Pages from templates: text stays text, our HTML stays HTML, a missing name is an error."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from inhouse import pages

ROOT = Path(__file__).parents[2]


@pytest.fixture
def page(tmp_path):
    def render(template: str, **values: object) -> str:
        (tmp_path / "page.html.jinja").write_text(template)
        return pages.render(tmp_path / "page.html.jinja", **values)

    return render


def test_text_from_outside_is_escaped_and_our_own_html_is_not(page):
    assert page("{{ said }}", said="<b title='x'>&") == "&lt;b title=&#39;x&#39;&gt;&amp;"
    assert page("{{ chart }}", chart=Markup("<svg/>")) == "<svg/>"


@pytest.mark.parametrize("template", ["{{ gone }}", "{% if gone %}x{% endif %}", "{{ row.gone }}"])
def test_a_name_that_nobody_gave_is_an_error(page, template):
    with pytest.raises(UndefinedError, match="gone"):
        page(template, row={"here": 1})


def test_a_rate_is_shown_in_per_cent(page):
    assert page("{{ rate|percent }} %", rate=0.12345) == "12.3 %"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/*.html.jinja")), ids=lambda path: path.name)
def test_no_template_marks_what_it_is_given_as_safe(path):
    assert "|safe" not in path.read_text().replace(" ", "")
    assert "autoescape" not in path.read_text()
