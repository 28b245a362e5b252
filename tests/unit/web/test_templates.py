"""The templates and the style sheet, read as text: what the policy forbids is not there to begin with."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from bridge.settings import resource_dir

TEMPLATES = resource_dir("templates")
HTML = sorted(TEMPLATES.rglob("*.html"))
STATIC = sorted((TEMPLATES / "static").iterdir())


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(TEMPLATES)) for path in paths]


@pytest.mark.parametrize("path", HTML, ids=ids(HTML))
def test_a_template_has_nothing_inline(path):
    """The policy would block it, and the page would be broken; a report, which is a file of its own, has its style within."""
    text = path.read_text()
    if path.parent.name == "report":
        text = re.sub(r"<style>.*?</style>", "", text, count=1, flags=re.DOTALL)
    assert not re.search(r"<style|\sstyle\s*=|\son[a-z]+\s*=|javascript:", text)
    for script in re.findall(r"<script\b[^>]*>", text):
        assert 'src="{{ asset(' in script


@pytest.mark.parametrize("path", HTML, ids=ids(HTML))
def test_a_template_escapes_everything(path):
    """Alerts carry whatever their sender wrote."""
    assert not re.search(r"\|\s*safe|autoescape|Markup", path.read_text())


@pytest.mark.parametrize("path", [*HTML, *STATIC], ids=ids([*HTML, *STATIC]))
def test_nothing_is_fetched_from_elsewhere(path):
    """A trading page tells no third party that it is open."""
    found = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", path.read_text())
    assert [address for address in found if not address.endswith("//www.w3.org")] == []


@pytest.mark.parametrize("path", HTML, ids=ids(HTML))
def test_every_form_posts_and_carries_its_token(path):
    """A form without one would be refused; one that only looks for something has nothing to prove and nothing to leak."""
    for form in re.findall(r"<form\b.*?</form>", path.read_text(), re.DOTALL):
        if 'method="get"' in form:
            assert "csrf" not in form
            continue
        assert 'method="post"' in form
        assert re.search(r'<input type="hidden" name="csrf" value="{{ [a-z.]*token }}">', form)


@pytest.mark.parametrize("path", HTML, ids=ids(HTML))
def test_attributes_are_quoted(path):
    """Escaping protects a value only inside of quotes."""
    assert not re.search(r"\s[a-z-]+=\{\{", path.read_text())


# --- colours ---

CSS = (TEMPLATES / "static" / "bridge.css").read_text()
GROUNDS = ("ground", "card")
ON_GROUNDS = ("text", "quiet", "accent", "good", "warn", "bad", "busy")
PAIRS = [
    *((text, ground) for text in ON_GROUNDS for ground in GROUNDS),
    *((tone, f"{tone}-soft") for tone in ("good", "warn", "bad", "busy", "quiet")),
    *(("accent-text", ground) for ground in ("accent", "good", "warn", "bad")),
    *(("text", ground) for ground in ("warn-soft", "bad-soft", "flash", "quiet-soft")),
]


def palette(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_can_be_read_on_its_ground(scheme, text, ground):
    """WCAG AA: 4.5 to 1, in both schemes."""
    light, dark = CSS.split("@media (prefers-color-scheme: dark)", 1)
    colours = palette(light) if scheme == "light" else palette(light) | palette(dark.split("*, ::before", 1)[0])
    assert contrast(colours[text], colours[ground]) >= 4.5


def test_the_sheet_uses_no_colour_without_a_name():
    """Else one of the schemes would forget it."""
    rules = CSS.split("*, ::before", 1)[1]
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", rules) == []
    used = set(re.findall(r"var\(--([a-z-]+)\)", CSS))
    assert used <= set(palette(CSS)) | {"mono", "shadow"}


def test_widths_of_the_narrow_rules_only_shrink():
    """A later media query must not be wider than the one before, or it would undo it."""
    widths = [int(width) for width in re.findall(r"@media \(max-width: (\d+)px\)", CSS)]
    assert all(one > other for one, other in pairwise(widths))
