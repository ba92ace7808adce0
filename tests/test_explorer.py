"""The explorer: it holds what the study found; in a real browser every control changes the pixels that it should."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from smoke import RESULTS, ROOT, finished

from tvmap import explorer, stacks, tabular

SIZE, WEIGHTS = 48, np.arange(81) / 100
RANDOM = np.random.default_rng(1)
PIXELS = """id => {
    const canvas = document.getElementById(id), n = canvas.width;
    const all = canvas.getContext("2d").getImageData(0, 0, n, n).data, halves = [[], []];
    for (let y = 8; y < n; y += 8) for (let x = 4; x < n; x += 8) halves[x < n / 2 ? 0 : 1].push(all[4 * (y * n + x)]);
    return halves;
}"""


def case(protocol, label, n_maps=1):
    clean = np.kron(RANDOM.uniform(0, 1, (6, 6)), np.ones((8, 8)))
    maps = {name: RANDOM.uniform(0.01, 0.2, clean.shape) for name in ("Λ₁", "Λ₀")[:n_maps]}
    return {
        "protocol": protocol,
        "level": f"noise {protocol}",
        "label": label,
        "weights": WEIGHTS,
        "psnr": 30 - 40 * (WEIGHTS - 0.1) ** 2 + RANDOM.uniform(),
        "ssim": 0.9 - (WEIGHTS - 0.12) ** 2,
        "map_psnr": 31.5,
        "map_ssim": 0.93,
        "noisy_psnr": 20.25,
        "chosen": [
            {"key": key, "name": name, "weight": weight}
            for (key, name), weight in zip(explorer.CHOSEN.values(), (0.2, 0.1, 0.12), strict=True)
        ],
        "clean": clean,
        "noisy": clean + RANDOM.normal(0, 0.1, clean.shape),
        "map": 0.9 * clean,
        "maps": maps,
        "scalar": np.stack([clean * (1 - weight) for weight in WEIGHTS]),
    }


CASES = [case("a", "first", 2), case("a", "second", 2), case("b", "third")]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    path.write_text(explorer.render("made <up>", CASES, ROOT / "workflow/report"), encoding="utf-8")
    return path


def opened(browser, path, width=1200, **options):
    context = browser.new_context(viewport={"width": width, "height": 1000}, **options)
    page = context.new_page()
    page.said, page.asked = [], []
    # This test itself reads pixels back, about which Chromium says something.
    page.on("console", lambda message: "willReadFrequently" in message.text or page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri())
    ready(page)
    return page


@pytest.fixture
def page(browser, made_up):
    page = opened(browser, made_up)
    yield page
    close(page, made_up)


def close(page, path):
    """Close the page of `path`, which said nothing to the console and asked for nothing but itself."""
    assert page.said == []
    assert [url for url in page.asked if not url.startswith(("data:", path.as_uri()))] == []
    page.context.close()


def ready(page):
    page.wait_for_selector('body[data-ready="yes"]', timeout=60_000)


def pixels(page, canvas="compare"):
    ready(page)
    return page.evaluate(PIXELS, canvas)


def changed(before, after):
    """Whether the (left, right) half of a canvas changed."""
    return [a != b for a, b in zip(before, after, strict=True)]


def slide(page, name, value):
    page.locator(name).evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", value)


@pytest.mark.chromium
def test_the_slider_of_weights_changes_the_left_side_alone(page):
    before, map_before = pixels(page), pixels(page, "map")
    assert page.locator("#weight").input_value() == "20", "it begins with the λ that a user could choose"
    slide(page, "#weight", 60)
    assert changed(before, pixels(page)) == [True, False] and pixels(page, "map") == map_before
    text = page.locator("#numbers").text_content()
    score = CASES[0]["psnr"][60]
    assert f"λ = 0.60: PSNR {score:.2f} dB" in text and f"+{31.5 - score:.2f} dB" in text and "20.25" in text
    page.locator("#weight").focus()
    page.keyboard.press("ArrowRight")
    assert "λ = 0.61" in page.locator("#numbers").text_content()
    left = np.array(pixels(page)[0])
    slide(page, "#weight", 0)
    assert np.array(pixels(page)[0]).mean() > 2 * left.mean(), "the image of λ = 0 is the clean one, of 0.6 darker"


@pytest.mark.chromium
def test_the_line_the_sides_and_the_images(page):
    before = pixels(page)
    slide(page, "#wipe", 100)
    assert changed(before, pixels(page)) == [False, True]
    slide(page, "#wipe", 0)
    assert changed(before, pixels(page)) == [True, False]
    slide(page, "#wipe", 50)
    assert pixels(page) == before
    page.locator("#right").select_option("noisy")
    assert changed(before, pixels(page)) == [False, True]
    page.locator("#left").select_option("clean")
    assert "clean" in page.locator("#captions").text_content() and "noisy" in page.locator("#captions").text_content()
    before, map_before = pixels(page), pixels(page, "map")
    page.locator("#image").select_option(label="second")
    assert changed(before, pixels(page)) == [True, True] and pixels(page, "map") != map_before
    before, map_before = pixels(page), pixels(page, "map")
    page.locator("#protocol").select_option(label="noise b")
    assert changed(before, pixels(page)) == [True, True] and pixels(page, "map") != map_before
    assert page.locator("#image option").all_text_contents() == ["third"]
    assert page.locator("#shown option").all_text_contents() == ["Λ₁"]


@pytest.mark.chromium
def test_the_chosen_weights_and_the_curves(page):
    map_before = pixels(page, "map")
    for button, index in zip(page.locator("#chosen button").all(), (20, 10, 12), strict=True):
        slide(page, "#weight", index)
        expected = pixels(page)
        slide(page, "#weight", 60)
        assert changed(expected, pixels(page)) == [True, False]
        button.click()
        assert pixels(page) == expected and pixels(page, "map") == map_before
        assert page.locator("#weight").input_value() == str(index)
        assert button.get_attribute("aria-pressed") == "true"
    for name in ("psnr", "ssim"):
        box = page.locator(f"#{name}").bounding_box()
        x = (52 + (420 - 52 - 20) * 0.5) / 420 * box["width"]  # half of the axis is a quarter of the largest λ
        page.locator(f"#{name}").click(position={"x": x, "y": box["height"] / 2})
        assert page.locator("#weight").input_value() == "20"
        marks = page.locator(f"#{name} line.mark").evaluate_all("all => all.map(e => Number(e.getAttribute('x1')))")
        expected = [52 + (420 - 52 - 20) * np.sqrt(weight / 0.8) for weight in (0.2, 0.1, 0.12)]
        np.testing.assert_allclose(marks[:3], expected, rtol=1e-6)
        page.locator("#chosen button").nth(1).click()


@pytest.mark.chromium
def test_the_values_of_the_maps_under_the_pointer(page):
    box = page.locator("#map").bounding_box()
    for x, y in ((3, 40), (47, 0), (20, 21)):
        place = {"x": (x + 0.5) / SIZE * box["width"], "y": (y + 0.5) / SIZE * box["height"]}
        page.locator("#map").hover(position=place)
        text = page.locator("#pointer").text_content()
        assert f"Row {y}, column {x}:" in text
        found = [float(number) for number in re.findall(r"Λ. = ([\d.]+)", text)]
        np.testing.assert_allclose(found, [weight[y, x] for weight in CASES[0]["maps"].values()], rtol=6e-3)
    page.locator("#compare").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowLeft")
    assert "Row 22, column 10:" in page.locator("#pointer").text_content()


@pytest.mark.chromium
def test_the_scale_and_the_choice_of_the_map(page):
    before, image = pixels(page, "map"), pixels(page)
    page.locator("#log").uncheck()
    linear = pixels(page, "map")
    assert linear != before and pixels(page) == image
    page.locator("#shown").select_option(label="Λ₀")
    assert pixels(page, "map") != linear and pixels(page) == image


def views(page):
    return pixels(page), pixels(page, "map")


@pytest.mark.chromium
def test_both_views_are_enlarged_and_moved_together(page):
    box = page.locator("#map").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    whole = views(page)
    page.mouse.wheel(0, -300)
    page.wait_for_selector("#map.enlarged")
    enlarged = views(page)
    assert enlarged[0] != whole[0] and enlarged[1] != whole[1]
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 60, steps=3)
    page.mouse.up()
    moved = views(page)
    assert moved[0] != enlarged[0] and moved[1] != enlarged[1]
    page.mouse.move(*middle)
    page.mouse.wheel(0, 300)
    page.wait_for_selector("#map:not(.enlarged)")
    page.mouse.move(middle[0] + 30, middle[1])
    page.mouse.move(*middle)  # the cross is at the pixel under the pointer again
    assert views(page) == whole


@pytest.mark.chromium
@pytest.mark.parametrize("canvas", ["#compare", "#map"])
def test_buttons_and_keys_enlarge_step_by_step(page, canvas):
    seen = [views(page)]
    for _ in range(2):
        page.locator("#in").click()
        seen.append(views(page))
    whole, double, four = seen
    assert all(changed(whole, double)) and all(changed(double, four))
    page.locator("#out").click()
    assert views(page) == double
    page.locator("#in").click()
    page.locator("#whole").click()
    assert views(page) == whole
    page.locator(canvas).focus()
    for key, expected in zip("+=-+0-", (double, four, double, four, whole, whole), strict=True):
        page.keyboard.press(key)
        assert views(page) == expected, key


@pytest.mark.chromium
def test_keys_enlarge_at_the_cross_and_the_view_follows_it(page):
    page.locator("#map").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    for _ in range(3):
        page.keyboard.press("+")
    x, y = page.evaluate("state.cross")
    seen = page.evaluate("[state.x, state.y, data.size / state.zoom]")
    assert seen[0] <= x < seen[0] + seen[2] and seen[1] <= y < seen[1] + seen[2]
    for key, moved in (("ArrowRight", (1, 0)), ("ArrowDown", (0, 1)), ("ArrowLeft", (-1, 0)), ("ArrowUp", (0, -1))):
        before = np.array(page.evaluate("[state.x, state.y]"))
        enlarged = views(page)
        page.keyboard.press(f"Shift+{key}")
        x, y, left, top = page.evaluate("[...state.cross, state.x, state.y]")
        assert left <= x <= left + seen[2] - 1 and top <= y <= top + seen[2] - 1
        assert np.array_equal(np.sign(np.array((left, top)) - before), moved) and views(page) != enlarged


@pytest.mark.chromium
def test_the_wheel_scrolls_the_page_where_there_is_nothing_to_enlarge(page):
    page.set_viewport_size({"width": 700, "height": 500})
    page.locator("#map").scroll_into_view_if_needed()
    page.locator("#map").hover()
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 100)
    page.wait_for_function(f"scrollY > {before}")


@pytest.mark.chromium
def test_the_image_before_stays_until_the_next_is_decoded(page):
    """In one turn of the browser, in which nothing can be decoded, no pixel of the left half becomes empty."""
    ready(page)
    left = page.evaluate("""() => {
      setWeight(77);
      const canvas = document.getElementById("compare"), context = canvas.getContext("2d");
      const data = context.getImageData(0, 0, canvas.width / 2 - 2, canvas.height).data;
      return [document.body.dataset.ready, data.filter((_, k) => k % 4 === 3).every(alpha => alpha === 255)];
    }""")
    assert left == ["no", True]


@pytest.mark.chromium
def test_fingers_move_the_line_and_enlarge(browser, made_up):
    page = opened(browser, made_up, 390, has_touch=True, is_mobile=True)
    canvas = page.locator("#compare")
    canvas.scroll_into_view_if_needed()
    box, session = canvas.bounding_box(), page.context.new_cdp_session(page)

    def touch(kind, *points):
        places = [
            {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": k} for k, (x, y) in points
        ]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (0, (0.5, 0.5)))
    for x in (0.6, 0.7, 0.8):
        touch("touchMove", (0, (x, 0.5)))
    touch("touchEnd")
    assert 70 <= int(page.locator("#wipe").input_value()) <= 85
    touch("touchStart", (0, (0.4, 0.5)), (1, (0.6, 0.5)))
    for spread in (0.15, 0.2, 0.25, 0.3):
        touch("touchMove", (0, (0.5 - spread, 0.5)), (1, (0.5 + spread, 0.5)))
    touch("touchEnd")
    assert canvas.evaluate("e => e.classList.contains('enlarged')")
    close(page, made_up)


@pytest.mark.chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("study", ["made up", "small study"])
def test_it_fits_is_legible_and_accessible(browser, made_up, tmp_path_factory, width, scheme, study):
    from axe_playwright_python.sync_playwright import Axe

    path = made_up if study == "made up" else finished(tmp_path_factory) / RESULTS / "explorer.html"
    page = opened(browser, path, width, color_scheme=scheme)
    violations = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:90] for node in one["nodes"]]) for one in violations] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(253, 253, 252)"
    assert dark == (scheme == "dark")
    assert (
        page.evaluate(
            "Math.min(...[...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect().height))"
        )
        > 11
    )
    for canvas in ("compare", "map"):
        values = np.array(pixels(page, canvas))
        assert values.std() > 5, "something is drawn"
    close(page, path)


@pytest.mark.chromium
def test_neighbours_on_a_fine_grid_have_different_names(browser, tmp_path):
    fine = CASES[2] | {"weights": WEIGHTS / 16}
    (tmp_path / "fine.html").write_text(explorer.render("s", [fine], ROOT / "workflow/report"), encoding="utf-8")
    page, names = opened(browser, tmp_path / "fine.html"), []
    for k in range(len(WEIGHTS)):
        slide(page, "#weight", k)
        names.append(page.text_content("#numbers").split(":")[0])
    assert len({*names}) == len(WEIGHTS)
    assert [float(name.removeprefix("λ = ")) for name in names] == pytest.approx(WEIGHTS / 16, abs=1e-3)
    close(page, tmp_path / "fine.html")


def test_the_page_stays_small_or_says_why_not():
    noise = [dict(CASES[0], scalar=RANDOM.uniform(0, 1, (81, SIZE, SIZE)))] * 12
    small = explorer.render("s", noise, ROOT / "workflow/report")
    assert len(small.encode()) < explorer.LIMIT
    assert "To keep this page small" not in small


def many(side, weights, protocols):
    """Images of noise, which no coding makes small, three of each protocol."""
    images = {kind: RANDOM.uniform(0, 1, (side, side)) for kind in ("clean", "noisy", "map")}
    images |= {"maps": {"Λ": np.full((side, side), 0.1)}, "scalar": RANDOM.uniform(0, 1, (weights, side, side))}
    return [CASES[0] | images | {"protocol": protocol, "label": label} for protocol in protocols for label in "123"]


def test_a_page_that_would_be_large_shows_fewer_and_smaller_images(monkeypatch):
    monkeypatch.setattr(explorer, "LIMIT", 300_000)
    page = explorer.render("s", many(64, 21, "abcdef"), ROOT / "workflow/report")
    assert len(page.encode()) <= explorer.LIMIT
    assert "one image of each noise protocol is shown" in page and '"label": "2"' not in page
    assert page.count('"label": "1"') == 6
    assert '"size": 32,' in page


def test_the_page_of_a_whole_grid_of_256_pixels_is_below_ten_megabytes():
    page = explorer.render("s", many(256, 81, "a"), ROOT / "workflow/report")
    assert 2_000_000 < len(page.encode()) < 10_000_000


def test_codes_of_the_map_are_fine_enough():
    import base64

    weight = np.geomspace(1e-4, 1, 256).reshape(16, 16)
    coded = explorer.coded_map("Λ", weight)
    codes = np.frombuffer(base64.b64decode(coded["codes"]), "<u2")
    found = coded["low"] * (coded["high"] / coded["low"]) ** (codes / 65535)
    np.testing.assert_allclose(found, weight.ravel(), rtol=1e-4)
    assert explorer.coded_map("Λ", np.full((4, 4), 0.1))["low"] == pytest.approx(0.1)


def cases(folder):
    """[(protocol, kind, image id, case)] of the explorer in the `folder` of a study."""
    page = (folder / "explorer.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    return [
        (case["protocol"], *re.match(r"(\w+) gain: (.+), level", case["label"]).groups(), case)
        for case in data["cases"]
    ]


def of_image(path, image_id, name="images"):
    """What the stack at `path` has of an image."""
    stack = stacks.load(path)
    return stack[name][stack["ids"].tolist().index(image_id)]


def grey(address):
    """The pixels of a picture in a page, from 0 to 255."""
    picture = Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/webp;base64,"))))
    return np.asarray(picture.convert("L"), float)


def distance(address, image):
    """Root mean square of the differences of a picture in a page and the image (H, W), in grey values."""
    return np.sqrt(np.square(grey(address) - 255 * np.clip(image, 0, 1)).mean())


def with_shifted(image):
    """The image and, after it, what it is when shifted by a pixel to any side."""
    return [image, *(np.roll(image, step, axis) for axis in (0, 1) for step in (1, -1))]


def test_its_numbers_are_those_of_the_tables(tmp_path_factory):
    folder = finished(tmp_path_factory) / RESULTS
    grid, choice, per_image = (
        pd.read_csv(folder / f"tables/{name}.csv", dtype={"id": str}).set_index(tabular.IMAGE).sort_index()
        for name in ("grid", "scalar_choice", "per_image")
    )
    examples = pd.read_csv(folder / "tables/examples.csv", dtype={"id": str})[["protocol", "kind", "id"]]
    found = cases(folder)
    assert [case[:3] for case in found] == list(examples.itertuples(index=False, name=None)) and len(found) == 6
    for protocol, _, image_id, case in found:
        curve, chosen, scores = (table.loc[[(protocol, 0, image_id)]] for table in (grid, choice, per_image))
        for name, column in (("weights", "weight"), ("psnr", "psnr"), ("ssim", "ssim")):
            np.testing.assert_allclose(case[name], curve.sort_values("weight")[column], rtol=0, atol=6e-5)
        scores = scores.set_index("method")
        measured = [scores.loc["map", "psnr"], scores.loc["map", "ssim"], scores.loc["noisy", "psnr"]]
        assert [case[name] for name in ("map_psnr", "map_ssim", "noisy_psnr")] == pytest.approx(measured, abs=6e-5)
        assert {one["key"]: one["weight"] for one in case["chosen"]} == {
            key: chosen[f"weight_{key}"].item() for key in ("fixed", "psnr", "ssim")
        }


def test_its_pictures_and_maps_are_those_of_the_study(tmp_path_factory):
    folder = finished(tmp_path_factory) / RESULTS
    for protocol, _, image_id, case in cases(folder):
        stem = f"test_{protocol}_0"
        (coded,), (weight,) = case["maps"], of_image(folder / f"weights/{stem}_map.npz", image_id, "weight")
        weight = np.maximum(weight, explorer.SMALLEST)
        codes = np.frombuffer(base64.b64decode(coded["codes"]), "<u2").reshape(weight.shape)
        ratio = np.log(coded["high"] / coded["low"])
        decoded = coded["low"] * np.exp(ratio * codes / 65535)
        np.testing.assert_allclose(decoded, weight, rtol=0.51 * ratio / 65535 + 1e-9)  # half a step of the codes
        for name, path in (("clean", "clean/test.npz"), ("map", f"denoised/{stem}_map.npz")):  # coded without loss
            image = 255 * np.clip(of_image(folder / path, image_id), 0, 1)
            np.testing.assert_allclose(grey(case[name]), image, rtol=0, atol=0.501, err_msg=name)
        noisy = with_shifted(of_image(folder / f"noisy/{stem}.npz", image_id))
        assert np.argmin([distance(case["noisy"], image) for image in noisy]) == 0
        for metric in ("psnr", "ssim"):
            best = with_shifted(of_image(folder / f"denoised/{stem}_scalar-oracle-{metric}.npz", image_id))
            weight = next(one["weight"] for one in case["chosen"] if one["key"] == metric)
            shown = case["weights"].index(weight)
            assert np.argmin([distance(address, best[0]) for address in case["scalar"]]) == shown
            assert np.argmin([distance(case["scalar"][shown], image) for image in (*best, *noisy)]) == 0
            assert distance(case["scalar"][shown], best[0]) < 3, "of the loss of its coding alone"
