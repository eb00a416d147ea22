"""The style sheet's promise: enough contrast, light, dark and on paper."""

import re
from pathlib import Path

import pytest

import hier.reporting

ASSETS = Path(hier.reporting.__file__).parent / "assets"
CSS = "".join((ASSETS / name).read_text() for name in ("colours.css", "page.css"))
LIGHT, DARK, PRINT = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
)


def luminance(colour):
    """Relative luminance of an sRGB colour, as WCAG 2 defines it."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_what_wcag_says():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("colours", [LIGHT, DARK, LIGHT | PRINT], ids=["light", "dark", "print"])
def test_text_and_lines_can_be_told_from_their_ground(colours):
    for ground in (colours["ground"], colours["raised"]):
        for name in ("text", "quiet", "link", "good", "bad"):
            assert contrast(colours[name], ground) >= 4.5, name
    assert contrast(colours["text"], colours["mark"]) >= 4.5
    for number in range(1, 7):
        assert contrast(colours[f"series-{number}"], colours["ground"]) >= 3, number


def test_every_colour_that_is_used_is_defined_light_and_dark():
    assert LIGHT.keys() == DARK.keys() >= PRINT.keys()
    used = set(re.findall(r"var\(--([\w-]+)\)", CSS))
    assert used <= LIGHT.keys()
