from __future__ import annotations

import html
import json
import math
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pyrovae.evaluation.results import Check, Grade, NotApplicable, Number, Variable, Verdict
from pyrovae.report.diagnosis_page import Page, Section, overall, render
from pyrovae.report.pages import Picture, linked, pieces, sentence, written

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
HOSTILE = (
    """<script>document.title = "broken"</script> & "quoted" 'too' <img src=http://x.example>"""
)

in_a_browser = pytest.mark.skipif(BROWSER is None, reason=f"needs one of {', '.join(BROWSERS)}")


class Fake(Check):
    """An answer that was written down."""

    def __init__(self, question: str, verdict: Verdict, numbers: list[Number]) -> None:
        self.question = question
        self._verdict = verdict
        self._numbers = numbers

    def verdict(self) -> Verdict:
        return self._verdict

    def numbers(self) -> list[Number]:
        return self._numbers

    def variables(self) -> dict[str, Variable]:
        return {}


def fake(grade: Grade, question: str = "calibration") -> Fake:
    advice = "" if grade == "ok" else "Set inference.guide.kind to iaf, with --set."
    numbers = [
        Number(
            f"share of {question}",
            0.331,
            "fraction",
            "Share of data of which something is true that takes a long definition to say.",
            "Vehtari et al. 2024, arXiv:1507.02646",
            interval=(0.28, 0.39),
        ),
        Number("unknown", math.nan, "nats", "Could not be had.", error=math.nan),
    ]
    return Fake(question, Verdict(grade, f"what {question} found, in nats", advice), numbers)


def figure(title: str) -> Figure:
    drawn = Figure(figsize=(9, 4), dpi=60)
    drawn.subplots().plot([1, 3, 2])
    drawn.suptitle(title)
    return drawn


@pytest.fixture
def page(tmp_path: Path) -> Page:
    """A page with something everywhere, much of it long."""
    file = tmp_path / "extremes.png"
    figure("extremes").savefig(file)
    sections = [
        Section(fake("FAIL", "importance weights"), Picture(figure("k̂"), "How to read it."), 1.5),
        Section(fake("WARN", "latent dimensions"), Picture(figure("KL"), "How to read it.")),
        Section(fake("ok", "aggregated posterior")),
        Section(NotApplicable("chains", "site 'c' is discrete")),
    ]
    return Page(
        title=HOSTILE,
        fitted={"Prior p(z)": "Normal(0, 1)", "Very long": "x" * 300, HOSTILE: HOSTILE},
        command="python -m pyrovae.diagnose " + "a/very/long/path/without/blanks" * 6,
        date="2026-01-01",
        versions={"pyrovae": "0.1", "Python": "3.11"},
        notes=["This run is unfinished.", HOSTILE],
        sections=sections,
        extremes=Picture(file, HOSTILE, "Digits & co"),
        numbers=[Number("ELBO", -17.7612, "nats", HOSTILE, HOSTILE, error=0.213)],
        seconds=12.3,
    )


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def test_the_page_says_everything(page: Page) -> None:
    text = Elements(render(page)).text
    for section in page.sections:
        assert section.check.question in text
        if isinstance(section.check, Check):
            assert sentence(section.check.verdict().finding) in text
            assert sentence(section.check.verdict().advice) in text
            for number in section.check.numbers():
                assert number.name in text
                assert sentence(number.definition) in text
    expected = ["Site 'c' is discrete.", "33.1 %", "28.0 to 39.0 %", "−17.76 nats", "± 0.21 nats"]
    expected += [page.command, page.date, *page.notes, *page.fitted, *page.fitted.values()]
    expected += ["Fails", "Careful", "OK", "Does not apply", "took 1.5 s", "took 12 s in all"]
    for word in expected:
        assert word in text
    assert "nan" not in text


def test_verdicts_come_before_what_they_rest_on(page: Page) -> None:
    text = Elements(render(page)).text
    headings = ["Do not rely on", "Verdicts", "What was fitted", "Question by question", "All num"]
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)


def test_nothing_that_is_said_becomes_markup(page: Page) -> None:
    parsed = Elements(render(page))
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"script", "iframe", "object", "link", "base", "form"}
    assert parsed.text.count(HOSTILE) >= 7
    assert [attrs["alt"] for attrs in parsed.all("img")] == ["Digits & co", "k̂", "KL"]
    assert not any(name.startswith("on") for _, attrs in parsed.elements for name in attrs)


def test_the_page_needs_nothing_but_itself(page: Page) -> None:
    content = render(page)
    parsed = Elements(content)
    assert all(src.startswith("data:image/png;base64,") for src in parsed.attributes("src"))
    targets = {f"#{name}" for name in parsed.attributes("id")}
    for tag, attrs in parsed.elements:
        if "href" in attrs:
            assert tag == "a"
            address = attrs["href"] or ""
            assert address in targets or address.startswith("https://arxiv.org/abs/")
    (style,) = re.findall(r"<style>(.*?)</style>", content, re.DOTALL)
    assert not re.search(r"url\(|@import|@font-face|<", style)


def test_the_page_can_be_read_by_machines(page: Page) -> None:
    parsed = Elements(render(page))
    assert parsed.open == []
    assert parsed.all("html") == [{"lang": "en"}]
    assert len(parsed.all("main")) == len(parsed.all("h1")) == 1
    assert all(attrs.get("alt") for attrs in parsed.all("img"))
    assert {attrs.get("scope") for attrs in parsed.all("th")} == {"col", "row", "colgroup"}
    names = parsed.attributes("id")
    assert len(set(names)) == len(names)
    assert set(parsed.attributes("aria-labelledby")) <= set(names)


def test_a_page_may_be_almost_empty() -> None:
    page = Page(title="t", fitted={}, command="c", date="d", versions={}, sections=[])
    assert "No check applies" in Elements(render(page)).text


def test_a_picture_that_is_missing_is_missed_before_anything_is_written(
    page: Page, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        render(replace(page, extremes=Picture(tmp_path / "missing.png")))


@pytest.mark.parametrize(
    ("grades", "expected"),
    [
        (["ok"], "Nothing speaks against this posterior: the one check made passed."),
        (["ok", "ok"], "Nothing speaks against this posterior: all 2 checks passed."),
        (["ok", "WARN"], "can be used with care: 1 of 2 checks asks for it (b), none fails."),
        (["WARN"] * 3, "with care: 3 of 3 checks ask for it (a, b and c), none fails."),
        (["FAIL", "ok"], "Do not rely on this posterior as it is: 1 of 2 checks fails (a)."),
        (["FAIL", "FAIL", "WARN"], "2 of 3 checks fail (a and b) and 1 asks for care (c)."),
    ],
)
def test_all_verdicts_in_a_sentence(grades: list[Grade], expected: str) -> None:
    checks: list[Check | NotApplicable] = [
        fake(grade, name) for grade, name in zip(grades, "abc", strict=False)
    ]
    grade, sentence = overall(checks)
    assert sentence.endswith(expected)
    order = ["ok", "WARN", "FAIL"]
    assert grade == max(grades, key=order.index)
    skipped = overall([*checks, NotApplicable("d", "why")])
    assert skipped == (grade, sentence.removesuffix(".") + "; 1 does not apply.")


def test_written_numbers_are_right_to_a_tenth_of_their_error() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        error = float(10 ** random.uniform(-4, 3))
        value = float(random.normal() * 10 ** random.uniform(-3, 5))
        text = written(Number("n", value, "", "", error=error))
        assert abs(float(text.replace("−", "-")) - value) <= 0.1 * error


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (math.nan, "nats", "unknown"),
        (math.inf, "nats", "∞ nats"),
        (-math.inf, "", "−∞"),
        (0.0, "nats", "0 nats"),
        (7.0, "", "7"),
        (9.3e-18, "", "9.3e−18"),
        (1.0, "fraction", "100.0 %"),
        (math.nan, "fraction", "unknown"),
        (123456.7, "draws", "123457 draws"),
        (-0.00001, "", "−1.0e−05"),
    ],
)
def test_numbers_of_every_kind_can_be_written(value: float, unit: str, text: str) -> None:
    assert written(Number("n", value, unit, "")) == text


def test_texts_are_cut_into_pieces_that_make_it_again() -> None:
    for text in ("", "see 1507.02646v2 and arXiv: 1802.02538.", "2018, p. 12.3456", HOSTILE):
        assert "".join(piece for piece, _ in linked(text)) == text
        assert "".join(piece for piece, _ in pieces(text)) == text
    addresses = [address for _, address in linked("1507.02646v2, arXiv: 1802.02538") if address]
    assert addresses == [f"https://arxiv.org/abs/{i}" for i in ("1507.02646", "1802.02538")]
    codes = [piece for piece, code in pieces("lower inference.beta (--full), e.g. 0.5.") if code]
    assert codes == ["inference.beta", "--full"]


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., str]:
    """Start a browser on a file; what it writes to its standard output."""

    def run(file: Path, *options: str) -> str:
        assert BROWSER is not None
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        process = subprocess.run(
            [BROWSER, *FLAGS, profile, *options, file.as_uri()],
            capture_output=True,
            timeout=120,
            check=True,
        )
        return process.stdout.decode("utf-8")

    return run


PROBE = """
<!DOCTYPE html><meta charset="utf-8"><body style="margin: 0"><pre id="probe"></pre>
<iframe width="{width}" height="{height}" style="border: 0; display: block" onload="probe(this)"
 srcdoc="{content}"></iframe>
<script>
function probe(frame) {{
  const inner = frame.contentWindow, root = inner.document.documentElement;
  const of = (selector, what) => [...inner.document.querySelectorAll(selector)].map(what);
  const found = {{
    width: inner.innerWidth,
    needed: root.scrollWidth,
    text: inner.document.body.innerText,
    title: inner.document.title,
    pictures: of("img", (image) => image.naturalWidth),
    scrolling: of(".picture, .wide", (e) => inner.getComputedStyle(e).overflowX),
    outside: of("p, h1, h2, h3, li, dt, dd, figure, img, .grade, code", (e) => [
      e.getBoundingClientRect().left, e.getBoundingClientRect().right, e.outerHTML.slice(0, 80),
    ]).filter(([left, right]) => left < 0 || right > inner.innerWidth + 0.5),
    requests: inner.performance.getEntriesByType("resource").map((entry) => entry.name),
  }};
  document.getElementById("probe").textContent = encodeURIComponent(JSON.stringify(found));
}}
</script>
"""


def probed(browse: Callable[..., str], page: Page, width: int, folder: Path) -> dict[str, Any]:
    """What a browser finds on the page in a window of so many pixels.

    Browsers have no windows as narrow as a telephone, so the page is put into a frame.
    """
    file = folder / "probe.html"
    content = html.escape(render(page), quote=True)
    file.write_text(PROBE.format(width=width, height=800, content=content), encoding="utf-8")
    seen = browse(file, "--window-size=1400,900", "--dump-dom")
    (found,) = re.findall(r'<pre id="probe">(.+?)</pre>', seen)
    return json.loads(urllib.parse.unquote(found))


@in_a_browser
@pytest.mark.parametrize("width", [1280, 375])
def test_a_browser_shows_the_page(
    page: Page, width: int, browse: Callable[..., str], tmp_path: Path
) -> None:
    found = probed(browse, page, width, tmp_path)
    assert found["width"] == width
    assert found["needed"] <= width
    assert found["outside"] == []
    assert found["pictures"] == [540, 540, 540]
    assert set(found["scrolling"]) == {"auto"}
    assert not [name for name in found["requests"] if not name.startswith("data:")]
    assert found["title"].startswith(HOSTILE)
    for section in page.sections:
        assert section.check.question.lower() in found["text"].lower()
    for word in ("Fails", "Careful", "OK", "Does not apply", "What latent dimensions found"):
        assert word in found["text"]


@in_a_browser
def test_the_file_opens_from_disk_without_scripts(
    page: Page, browse: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text(render(page), encoding="utf-8")
    parsed = Elements(browse(tmp_path / "report.html", "--dump-dom"))
    assert overall([section.check for section in page.sections]).sentence in parsed.text
    assert not parsed.all("script")


@in_a_browser
@pytest.mark.parametrize("width", [1280, 375])
def test_a_screenshot_can_be_made(
    page: Page, width: int, browse: Callable[..., str], tmp_path: Path
) -> None:
    file, shot = tmp_path / "frame.html", tmp_path / "shot.png"
    content = html.escape(render(page), quote=True)
    file.write_text(PROBE.format(width=width, height=1200, content=content), encoding="utf-8")
    browse(file, "--window-size=1280,1400", f"--screenshot={shot}")
    with Image.open(shot) as image:
        assert image.size == (1280, 1400)
        colours = image.convert("RGB").crop((0, 0, width, 1300)).getcolors(1 << 24) or []
        beside = image.convert("RGB").crop((width, 100, 1280, 1100)) if width < 1280 else None
    assert len(colours) > 100  # letters, grades, pictures
    assert beside is None or len(beside.getcolors() or []) == 1
