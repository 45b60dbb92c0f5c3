"""Pages from templates: text stays text, our HTML stays HTML, a missing name is an error."""

import base64
import hashlib
import json
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


TEMPLATES = sorted(
    path for floor in ("reward", "review") for path in (ROOT / floor).rglob("*.jinja")
)


def test_the_templates_are_found():
    assert len(TEMPLATES) > 10


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_marks_what_it_is_given_as_safe(path):
    assert "|safe" not in path.read_text().replace(" ", "")
    assert "autoescape" not in path.read_text()


def test_files_are_put_in_as_one_text_that_its_hash_allows(tmp_path):
    for name, text in (("a.js", "const a = 1;\r\n"), ("b.js", "use(a && 'ü');\n")):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    made = pages.inline(tmp_path / "a.js", tmp_path / "b.js")
    # As a browser reads it: with LF alone.
    assert made.text == "const a = 1;\nuse(a && 'ü');\n" and isinstance(made.text, Markup)
    digest = hashlib.sha256(made.text.encode()).digest()
    assert made.source == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_a_script_that_would_end_its_own_element_is_a_fault_of_ours(tmp_path):
    (tmp_path / "a.js").write_text("const end = '</script>';")
    with pytest.raises(AssertionError):
        pages.inline(tmp_path / "a.js")


@pytest.mark.parametrize("text", ["</script><script>", "<!--", "<SCRIPT", "\u2028 ü 😀 \\ \" '"])
def test_data_ends_no_element_and_is_what_it_was(text):
    written = pages.as_data({"said": [text]})
    assert "<" not in written and json.loads(written) == {"said": [text]}
