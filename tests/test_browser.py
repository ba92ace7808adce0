"""The report page in a real browser: nothing fails or is fetched, all is drawn, legible and accessible, dark too."""

import pytest
import test_report
from smoke import RESULTS, finished

pytestmark = pytest.mark.chromium

SMALLEST = 11  # px: of any text, subscripts of equations left out
NARROWEST = 600  # px: of a figure 7 inches wide with lettering of 7 points, so that it is 8.3 px high
MEASURE = """() => {
    const shown = element => element.checkVisibility() && element.getBoundingClientRect().width > 1;
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const small = [];
    while (texts.nextNode()) {
        const parent = texts.currentNode.parentElement;
        if (texts.currentNode.data.trim() && !parent.closest("math") && shown(parent)) {
            const size = parseFloat(getComputedStyle(parent).fontSize);
            if (size < SMALLEST) small.push([size, texts.currentNode.data.slice(0, 40)]);
        }
    }
    const sides = [...document.images].map(image => [image.naturalWidth, image.getBoundingClientRect().width]);
    const flat = [...document.querySelectorAll("math")].filter(m => shown(m) && m.getBoundingClientRect().height < 5);
    const wide = document.documentElement.scrollWidth - innerWidth;
    return {small, sides, flat: flat.length, wide, background: getComputedStyle(document.body).backgroundColor};
}""".replace("SMALLEST", str(SMALLEST))


@pytest.fixture(scope="module", params=["made-up tables", "the small study"])
def report(request, tmp_path_factory):
    """Path of a page: with variants and rivals, from made-up tables, or that of the small study with its figures."""
    if request.param == "the small study":
        return finished(tmp_path_factory) / RESULTS / "report.html"
    return test_report.with_everything(tmp_path_factory.mktemp("page"))


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(params=[1440, 390])
def page(request, browser, report, scheme):
    """The opened page, with what the browser said and asked for while it opened; all that folds is unfolded."""
    context = browser.new_context(viewport={"width": request.param, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(report.as_uri())
    unfolded = "() => [...document.querySelectorAll('details')].map(one => one.open = true).length"
    assert opened.evaluate(unfolded) > 0, "what is folded cannot be measured"
    yield opened
    context.close()


def test_nothing_fails_all_is_drawn_and_legible(page, report, scheme):
    assert page.said == []
    assert [url for url in page.asked if not url.startswith("data:")] == [report.as_uri()]
    found = page.evaluate(MEASURE)
    assert found["small"] == [] and found["flat"] == 0 and found["wide"] <= 0, found
    assert len(found["sides"]) > 10 and all(natural > 0 for natural, _ in found["sides"])
    assert all(shown >= min(natural, NARROWEST) for natural, shown in found["sides"]), found["sides"]
    darkness = sum(map(int, found["background"][4:-1].split(",")))
    assert darkness < 100 if scheme == "dark" else darkness > 700


@pytest.mark.parametrize("width", [1280, 1440])
def test_every_table_is_seen_whole_on_a_wide_screen(browser, tmp_path_factory, width):
    opened = browser.new_page(viewport={"width": width, "height": 900})
    opened.goto((finished(tmp_path_factory) / RESULTS / "report.html").as_uri())
    of_tables = "() => [...document.querySelectorAll('.scroll:has(table)')].map(e => [e.scrollWidth, e.clientWidth])"
    found = opened.evaluate(of_tables)
    opened.close()
    assert len(found) > 8 and all(whole <= seen for whole, seen in found), found


def test_axe_finds_no_violation(page):
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert len(results.response["passes"]) > 20


def test_all_of_it_is_reached_with_the_keyboard(page):
    """The first stop skips to the answer; every part that scrolls is a stop, so that arrow keys can scroll it."""
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_function("location.hash === '#answer'")  # the browser follows a link in a turn of its own
    scrolls = """() => [...document.querySelectorAll("*")].filter(
        e => e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(e).overflowX)
            && e.tabIndex < 0).map(e => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(scrolls) == []
