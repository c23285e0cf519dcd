"""The page of a run: nothing outside of itself, and usable from the keyboard in a real browser."""

import html.parser
import json
import re

import pytest

import dataset_trees as trees
from browser import Browser, find_chromium
from fbamatte.cli import main
from fbamatte.evaluation.report import write_report
from fbamatte.evaluation.results import Row


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A model with and without augmentation on four pictures, through the command."""
    folder = tmp_path_factory.mktemp("report")
    root = trees.folder(folder / "data", ("trimap",), fg=True, count=4)
    path = folder / "report.html"
    arguments = ["evaluate", "folder", str(root), "--tta", "--tta-set", "flip"]
    assert main([*arguments, "-o", str(folder / "out"), "--report", str(path)]) == 0
    return path


class Parsed(html.parser.HTMLParser):
    """Collects what a page refers to, and its open elements."""

    LINKS = ("src", "href", "xlink:href", "action", "data")
    VOID = ("meta", "img", "input", "br", "path", "use", "rect", "link", "hr")

    def __init__(self):
        super().__init__()
        self.links, self.open, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in self.LINKS and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass


def test_the_page_holds_everything_itself(page):
    parsed = Parsed()
    text = page.read_text()
    parsed.feed(text)
    assert all(link.startswith(("#", "data:")) for link in parsed.links)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_the_page_has_every_figure_and_picture(page):
    text = page.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))
    assert data["models"] == ["closed-form", "closed-form+tta"]
    assert {item["name"] for item in data["items"]} == {"p0", "p1", "p2", "p3"}
    for item in data["items"]:
        assert set(item["given"]) == {"plate", "trimap", "truth"}
        assert set(item["answers"]["closed-form"]) == {"alpha", "foreground", "background", "comp", "error"}
    assert text.count('<tr><td data-value="p') == 8


def test_names_cannot_break_out_of_the_page(tmp_path):
    evil = "</script><script>document.title='owned'</script><b>"
    rows = [Row(evil, evil, 4, 4, {"mse": 0.1, "seconds_per_megapixel": 1.0}), Row("m", "x", problem=evil)]
    write_report(tmp_path / "r.html", rows, tmp_path, title=evil, facts=evil)
    text = (tmp_path / "r.html").read_text()
    assert text.count("</script>") == 2
    assert text.count("<b>") == 0


@pytest.fixture(scope="module")
def browser(tmp_path_factory, page):
    if not find_chromium():
        pytest.skip("no Chromium on this machine")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    opened.open(page)
    yield opened
    opened.close()


def focused(browser):
    return browser.run("document.activeElement.dataset?.item || document.activeElement.id")


def figures(browser):
    return browser.run("[...document.querySelectorAll('#grid .card')].map(c => c.dataset.item)")


def test_the_page_shows_itself_without_complaint(browser, tmp_path):
    assert browser.run("document.querySelectorAll('#grid .card img').length") == 4
    assert browser.run("[...document.images].every(i => !i.src || i.complete && i.naturalWidth > 0)")
    assert browser.run("document.querySelectorAll('.plots svg').length") >= 8
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000
    assert browser.problems == []


def test_it_is_reached_opened_and_left_from_the_keyboard(browser):
    browser.run("document.activeElement.blur()")
    for _ in range(30):
        browser.press("Tab")
        if focused(browser) in {"p0", "p1", "p2", "p3"}:
            break
    names = figures(browser)
    assert focused(browser) == names[0]
    browser.press("ArrowRight")
    assert focused(browser) == names[1]
    browser.press("Enter")
    assert browser.run("document.getElementById('viewer').open")
    assert names[1] in browser.run("document.getElementById('viewer-title').textContent")
    browser.press("ArrowRight")
    assert names[2] in browser.run("document.getElementById('viewer-title').textContent")
    browser.press("Escape")
    assert not browser.run("document.getElementById('viewer').open")
    assert focused(browser) == names[2]


def test_keys_switch_what_is_shown_and_flip_back(browser):
    browser.run("document.querySelector('.card').focus()")
    browser.press("Enter")

    def source():
        return browser.run("document.getElementById('large').src")

    seen = {}
    for key in "pitafbce":
        browser.press(key)
        seen[key] = source()
    assert len(set(seen.values())) == 8
    browser.press("e")
    assert source() == seen["c"]
    browser.press("m")
    assert browser.run("state.model") == "closed-form+tta"
    browser.press("m", "z")
    assert browser.run("document.getElementById('stage').classList.contains('zoomed')")
    width = browser.run("document.getElementById('large').clientWidth")
    browser.press("z")
    assert width > 1.4 * browser.run("document.getElementById('large').clientWidth")
    browser.press("Escape")
    assert browser.problems == []


def test_pictures_sort_by_any_figure(browser):
    for key in browser.run("data.figures.map(f => f.key)"):
        choose = "(s => { s.value = '%s'; s.dispatchEvent(new Event('change')) })(document.getElementById('sort'))"
        browser.run(choose % key)
        values = browser.run(f"sorted().map(i => i.figures[state.model]['{key}'] ?? null)")
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=True), key
    browser.run("document.getElementById('order').click()")
    assert figures(browser) == browser.run("sorted().map(i => i.name)")
    values = browser.run("sorted().map(i => i.figures[state.model][state.sort])")
    assert values == sorted(values)
    browser.run("document.getElementById('order').click()")


def test_the_table_sorts_by_every_column(browser):
    columns = browser.run("document.querySelectorAll('#rows thead button').length")
    for column in range(columns):
        browser.run(f"document.querySelectorAll('#rows thead button')[{column}].click()")
        script = f"[...document.querySelectorAll('#rows tbody tr')].map(r => r.children[{column}].dataset.value)"
        values = browser.run(script)
        values = values if column < 2 else [float(value) for value in values]
        assert values == sorted(values, reverse=True), column
        assert browser.run(f"document.querySelectorAll('#rows th')[{column}].getAttribute('aria-sort')") == "descending"
