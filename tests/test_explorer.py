"""The explorer: it holds what the study found; in a real browser every control changes the pixels that it should."""

import base64
import functools
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from smoke import RESULTS, ROOT, finished

import build_explorer
from tvmap import explorer, stacks, tabular

SIZE, WEIGHTS = 48, np.arange(81) / 100
RANDOM = np.random.default_rng(1)
PIXELS = """id => {
    const canvas = document.getElementById(id), n = canvas.width;
    const all = canvas.getContext("2d").getImageData(0, 0, n, n).data, halves = [[], []];
    for (let y = 8; y < n; y += 8) for (let x = 4; x < n; x += 8) halves[x < n / 2 ? 0 : 1].push(all[4 * (y * n + x)]);
    return halves;
}"""

SAMPLE = """id => {
    const canvas = document.getElementById(id), n = canvas.width, found = [];
    const all = canvas.getContext("2d").getImageData(0, 0, n, n).data;
    const take = at => found.push([...all.subarray(at, at + 3)]);
    for (let y = 4; y < n; y += 8) for (let x = 4; x < n; x += 8) take(4 * (y * n + x));
    return found;
}"""
SCORES = {"psnr": ("map_psnr", 2), "ssim": ("map_ssim", 3)}

COLOUR = (
    """([id, x, y]) => [...document.getElementById(id).getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3)"""
)


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


def rendered(cases, penalty="tv", study="s"):
    return explorer.render(study, penalty, cases, ROOT / "workflow/report")


def written(folder, *arguments):
    path = folder / "explorer.html"
    path.write_text(rendered(*arguments), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return written(tmp_path_factory.mktemp("explorer"), CASES, "tv", "made <up>")


@pytest.fixture(scope="module")
def of_tgv(tmp_path_factory):
    return written(tmp_path_factory.mktemp("explorer"), CASES, "tgv")


def opened(browser, path, width=1200, height=1000, **options):
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    page.path, page.said, page.asked = path, [], []
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


@functools.cache
def decoded(path, index):
    """{kind: pixels (H, W)} of a case in the page at `path`, that of each λ as (k, H, W)."""
    one = page_data(path)["cases"][index]
    images = {kind: grey(one[kind]) for kind in ("clean", "noisy", "map")}
    return images | {"scalar": np.stack([grey(address) for address in one["scalar"]])}


def coloured(weight, log):
    """Λ (H, W) in the colours of its scale, from its quantile 0.5 % to 99.5 %."""
    value, ends = ((np.log(v) if log else v) for v in (weight, np.quantile(weight, [0.005, 0.995])))
    share = np.clip((value - ends[0]) / (ends[1] - ends[0]), 0, 1)
    return np.array(explorer.COLOURS)[np.rint(255 * share).astype(int)]


def drawn(
    page, left="scalar", right="map", index=0, weight=20, wipe=0.5, shown=0, log=True, zoom=1, at=(0, 0), cross=None
):
    """Assert that both canvases show what the data say they should, the line between the sides and the cross.

    Args:
        page: the page.
        left, right: kinds; index: of the case; weight: of λ on the grid; wipe: the share left of the line.
        shown: which map; log: whether its colours are logarithmic.
        zoom, at: the canvas shows 1/zoom of the side from the image coordinates `at` (x, y) on.
        cross: pixel (x, y) pointed at, which the page names; around it no pixel is compared with the data.
    """
    ready(page)
    images = decoded(page.path, index)
    left, right = (images[kind][weight] if kind == "scalar" else images[kind] for kind in (left, right))
    place = np.arange(4.5, 512, 8)  # middles of the sampled pixels of a canvas of 512²
    axes = [start + place / 512 * SIZE / zoom for start in at]
    apart = [np.abs(axis - np.rint(axis)) > 0.08 for axis in axes]  # from where the next pixel begins
    x, y = (np.minimum(np.floor(axis).astype(int), SIZE - 1) for axis in axes)
    seen = apart[1][:, None] & apart[0]
    if cross:
        assert page.text_content("#pointer").startswith(f"Row {cross[1]}, column {cross[0]}:")
        reach = 0.5 + 18 / (512 / SIZE * zoom)
        near = [np.abs(axis - 0.5 - middle) < reach for axis, middle in zip(axes, cross, strict=True)]
        seen &= ~(near[1][:, None] & near[0])
    sides = np.where(place < 512 * wipe, left[np.ix_(y, x)], right[np.ix_(y, x)])
    expected = {
        "compare": (np.repeat(sides[..., None], 3, -1), seen & (np.abs(place - 512 * wipe) > 3)),
        "map": (coloured(list(CASES[index]["maps"].values())[shown], log)[np.ix_(y, x)], seen),
    }
    for canvas, (values, looked_at) in expected.items():
        assert looked_at.sum() > 1000
        found = np.array(page.evaluate(SAMPLE, canvas)).reshape(64, 64, 3)
        far = np.abs(found - values).max(-1) > 4  # the browser decodes WebP, and rounds, by itself
        assert not (far & looked_at).any(), f"{canvas}: {(far & looked_at).sum()} of {looked_at.sum()} points are wrong"
    assert colours(page, "compare", [min(512 * wipe, 511)], 500) == [[255, 255, 255]], "the line"
    if cross:  # a square around the pixel, of which the line covers one side at most
        x, y = ((middle - start) * 512 / SIZE * zoom for middle, start in zip(cross, at, strict=True))
        for canvas in expected:
            side = 512 / SIZE * zoom
            sides = colours(page, canvas, [x, x + side], y + side / 2)
            assert np.abs(np.array(sides) - (255, 90, 54)).max(-1).min() < 10, f"the cross on {canvas}"


def colours(page, canvas, columns, y):
    return [page.evaluate(COLOUR, [canvas, int(x), int(y)]) for x in columns]


def place(page, canvas, x, y):
    """((x, y) of the window in whole pixels, as a share of the canvas) near the shares x and y of it."""
    box = page.locator(canvas).bounding_box()
    whole = round(box["x"] + x * box["width"]), round(box["y"] + y * box["height"])
    return whole, ((whole[0] - box["x"]) / box["width"], (whole[1] - box["y"]) / box["height"])


def pixel(share, zoom=1, at=(0, 0)):
    """The pixel at a share of the canvas."""
    return tuple(int(start + part * SIZE / zoom) for start, part in zip(at, share, strict=True))


def fixed_point(share, zoom):
    """Where the view begins that was enlarged from the whole image at a share of the canvas."""
    return tuple(part * (SIZE - SIZE / zoom) for part in share)


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
def test_each_control_draws_what_it_names(page):
    drawn(page)
    for weight in (0, 60):
        slide(page, "#weight", weight)
        drawn(page, weight=weight)
    slide(page, "#weight", 20)
    for wipe in (100, 0, 25, 50):
        slide(page, "#wipe", wipe)
        drawn(page, wipe=wipe / 100)
    names = {"clean": "clean", "noisy": "noisy", "map": "map Λ", "scalar": "TV, one λ = 0.20"}
    for kind in names:  # from each kind on the other side
        page.locator("#left").select_option(kind)
        for other in names:
            page.locator("#right").select_option(other)
            drawn(page, left=kind, right=other)
            assert page.locator("#captions span").all_text_contents() == [f"← {names[kind]}", f"{names[other]} →"]
    page.locator("#left").select_option("clean")
    page.locator("#image").select_option(label="second")
    drawn(page, left="clean", right="scalar", index=1)
    page.locator("#protocol").select_option(label="noise b")
    drawn(page, left="clean", right="scalar", index=2)
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


def attributes(page, selector, *names):
    """(elements, names): numbers that are attributes of elements."""
    script = "(all, names) => all.map(e => names.map(name => Number(e.getAttribute(name))))"
    return np.array(page.locator(selector).evaluate_all(script, names))


@pytest.mark.chromium
@pytest.mark.parametrize("name", SCORES)
def test_each_graph_is_of_its_scores(page, name):
    of_map, digits = CASES[0][SCORES[name][0]], SCORES[name][1]
    slide(page, "#weight", 60)
    points = page.locator(f"#{name} polyline").get_attribute("points")
    x, y = np.array([pair.split(",") for pair in points.split()], float).T
    np.testing.assert_allclose(x, 52 + (420 - 52 - 20) * np.sqrt(WEIGHTS / 0.8))
    slope, start = np.polyfit(CASES[0][name], y, 1)
    np.testing.assert_allclose(y, start + slope * CASES[0][name], atol=0.02)  # scores have four digits there
    assert slope < 0 and y.min() > 26 and y.max() < 250 - 44
    np.testing.assert_allclose(attributes(page, f"#{name} line.map", "y1", "y2"), start + slope * of_map, atol=0.02)
    np.testing.assert_allclose(attributes(page, f"#{name} circle", "cx", "cy"), [[x[60], y[60]]])
    ticks = page.locator(f"#{name} text[text-anchor=end]:not([style])")
    values = [float(text.replace("−", "-")) for text in ticks.all_text_contents()]
    heights = attributes(page, f"#{name} text[text-anchor=end]:not([style])", "y")[:, 0] - 5
    assert len(values) == 3
    np.testing.assert_allclose((heights - start) / slope, values, atol=0.51 * 10.0 ** (1 - digits))
    label = page.locator(f"#{name}").get_attribute("aria-label")
    assert label.startswith(f"{name.upper()}") and label.endswith(f"Map: {of_map:.{digits}f}")
    for letter, weight in zip("FPS", (20, 10, 12), strict=True):
        assert f"({letter}), λ = {WEIGHTS[weight]:.2f}: {CASES[0][name][weight]:.{digits}f}" in label


@pytest.mark.chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_at_one_weight_are_all_seen_and_told_apart_without_colour(browser, tmp_path, scheme):
    chosen = [one | {"weight": 0.4} for one in CASES[0]["chosen"]]
    page = opened(browser, written(tmp_path, [CASES[0] | {"chosen": chosen}]), color_scheme=scheme)
    for name in SCORES:
        shot = Image.open(io.BytesIO(page.locator(f"#{name}").screenshot())).convert("RGB")
        factor = shot.width / 420
        at = round((52 + (420 - 52 - 20) * np.sqrt(0.5)) * factor)
        rows = slice(round(30 * factor), round(150 * factor))  # above the letters
        strip = np.asarray(shot, int)[rows, at - 2 : at + 3]
        for mark in page.locator(f"#{name} line.mark:not(.map)").all():
            colour = re.findall(r"\d+", mark.evaluate("e => getComputedStyle(e).stroke"))
            near = (np.abs(strip - np.array(colour, int)).max(-1) < 30).any(1)
            assert 0.2 < near.mean() < 0.5, "a third of the line"
        assert page.locator(f"#{name} text.letter").all_text_contents() == ["F", "P", "S"]
        heights = sorted(attributes(page, f"#{name} text.letter", "y")[:, 0])
        assert min(np.diff(heights)) > 14, "none hides another"
    assert page.locator("#chosen button b").all_text_contents() == ["F", "P", "S"]
    close(page, page.path)


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
def test_the_grey_values_under_the_pointer(page):
    page.locator("#left").select_option("clean")
    page.locator("#right").select_option("noisy")
    ready(page)
    images = decoded(page.path, 0)
    for canvas, at in (("#compare", (3, 40)), ("#compare", (44, 5)), ("#map", (20, 21)), ("#map", (30, 9))):
        page.mouse.move(*place(page, canvas, *((v + 0.5) / SIZE for v in at))[0])
        clean, noisy = map(float, re.findall(r"grey value ([\d.]+)", page.locator("#pointer").text_content()))
        assert clean == pytest.approx(CASES[0]["clean"][at[1], at[0]], abs=0.0075)
        assert noisy == pytest.approx(images["noisy"][at[1], at[0]] / 255, abs=0.02)


@pytest.mark.chromium
def test_the_scale_and_the_choice_of_the_map(page):
    for shown, weight in enumerate(CASES[0]["maps"].values()):
        page.locator("#shown").select_option(index=shown)
        for log in (True, False):
            page.locator("#log").set_checked(log)
            drawn(page, shown=shown, log=log)
        ends = [float(page.locator(end).text_content()) for end in ("#low", "#high")]
        assert ends == pytest.approx(np.quantile(weight, [0.005, 0.995]), rel=0.05)
    bar = page.locator("#bar").evaluate("e => getComputedStyle(e).backgroundImage")
    stops = [[int(part) for part in stop.split(",")] for stop in re.findall(r"rgb\(([^)]*)\)", bar)]
    assert (stops[0], stops[-1]) == (explorer.COLOURS[0], explorer.COLOURS[-1])


@pytest.mark.chromium
def test_a_weight_too_small_to_be_coded_is_only_said_to_be_small(browser, tmp_path):
    weight = np.full((SIZE, SIZE), 0.1)
    weight[:24] = 1e-7
    page = opened(browser, written(tmp_path, [CASES[2] | {"maps": {"Λ": weight}}]))
    for y, text in ((0.2, "Λ < 0.00001;"), (0.8, "Λ = 0.100;")):
        page.mouse.move(*place(page, "#map", 0.5, y)[0])
        assert text in page.locator("#pointer").text_content()
    assert [page.locator(end).text_content() for end in ("#low", "#high")] == ["< 0.00001", "0.10"]
    close(page, page.path)


def views(page):
    return pixels(page), pixels(page, "map")


def turn(page, x, y):
    """Turn the wheel, and wait until the page was told."""
    page.evaluate("addEventListener('wheel', () => { window.turned = true; }, { once: true, capture: true })")
    page.mouse.wheel(x, y)
    page.wait_for_function("window.turned")
    page.evaluate("window.turned = false")


@pytest.mark.chromium
@pytest.mark.parametrize("canvas", ["#compare", "#map"])
def test_the_wheel_enlarges_both_views_by_as_much_as_it_turns(page, canvas):
    where, share = place(page, canvas, 0.3, 0.6)
    page.mouse.move(*where)

    def enlarged(zoom):
        drawn(page, zoom=zoom, at=fixed_point(share, zoom), cross=pixel(share))

    enlarged(1)
    turn(page, 0, -100)  # a notch of a mouse
    enlarged(np.exp(0.2))
    for _ in range(12):  # two fingers on a trackpad
        turn(page, 0, -4)
    enlarged(np.exp(0.296))
    turn(page, 100, 0)
    enlarged(np.exp(0.296))
    turn(page, 0, 48)
    enlarged(np.exp(0.2))
    turn(page, 0, 150)
    enlarged(1)
    # Lines of Firefox, and a pinch on a trackpad.
    script = "(e, [x, y, more]) => e.dispatchEvent(new WheelEvent('wheel', { clientX: x, clientY: y, ...more }))"
    for step, more in enumerate(({"deltaY": -4, "deltaMode": 1}, {"deltaY": -20, "ctrlKey": True}), 1):
        page.locator(canvas).evaluate(script, [*where, more])
        enlarged(np.exp(0.2 * step))
    for turned in (300, -100, 96):
        turn(page, 0, turned)
    enlarged(np.exp(0.008))  # it looks whole, so a press moves the line
    page.mouse.down()
    page.mouse.up()
    drawn(page, wipe=share[0] if canvas == "#compare" else 0.5, cross=pixel(share))


@pytest.mark.chromium
@pytest.mark.parametrize("canvas", ["#compare", "#map"])
def test_a_drag_moves_both_enlarged_views(page, canvas):
    for _ in range(2):
        page.locator("#in").click()
    drawn(page, zoom=4, at=(18, 18))
    start, began = place(page, canvas, 0.7, 0.6)
    end, ended = place(page, canvas, 0.3, 0.8)
    moved = tuple(18 - (ended[k] - began[k]) * SIZE / 4 for k in range(2))
    for button, at in (("right", (18, 18)), ("left", moved)):
        page.mouse.move(*start)
        page.mouse.down(button=button)
        page.mouse.move(*end, steps=3)
        page.mouse.up(button=button)
        drawn(page, zoom=4, at=at, cross=pixel(ended, 4, at))


@pytest.mark.chromium
def test_a_drag_on_the_whole_image_moves_the_line(page):
    start, began = place(page, "#compare", 0.3, 0.4)
    end, ended = place(page, "#compare", 0.75, 0.5)
    for button, wipes in (("right", (0.5, 0.5)), ("left", (began[0], ended[0]))):
        page.mouse.move(*start)
        page.mouse.down(button=button)
        drawn(page, wipe=wipes[0], cross=pixel(began))
        page.mouse.move(*end, steps=3)
        page.mouse.up(button=button)
        drawn(page, wipe=wipes[1], cross=pixel(ended))
        assert page.locator("#wipe").input_value() == str(round(100 * wipes[1]))
    page.mouse.move(*place(page, "#map", 0.2, 0.2)[0])
    page.mouse.down()
    page.mouse.move(*place(page, "#map", 0.9, 0.2)[0])
    page.mouse.up()
    drawn(page, wipe=ended[0], cross=pixel(place(page, "#map", 0.9, 0.2)[1]))


@pytest.mark.chromium
def test_the_first_key_leads_to_the_images(page):
    page.keyboard.press("Tab")
    link = page.locator(".skip")
    assert link.evaluate("e => e === document.activeElement") and link.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "compare"
    assert page.evaluate("document.getElementById('views').getBoundingClientRect().top") < 1000
    assert link.bounding_box()["x"] < 0


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


@pytest.fixture
def phone(browser, made_up):
    page = opened(browser, made_up, 390, 844, has_touch=True, is_mobile=True)
    yield page
    close(page, made_up)


def touching(page, canvas):
    """Function of the kind of a touch and the shares (x, y) of the canvas at which the fingers are."""
    page.locator(canvas).evaluate("e => e.scrollIntoView({ block: 'center' })")
    box, session = page.locator(canvas).bounding_box(), page.context.new_cdp_session(page)

    def touch(kind, *points):
        places = [
            {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": k}
            for k, (x, y) in enumerate(points)
        ]
        session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": places})
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # it was told

    return touch


@pytest.mark.chromium
def test_a_finger_sideways_or_a_tap_moves_the_line(phone):
    touch = touching(phone, "#compare")
    touch("Start", (0.5, 0.5))
    drawn(phone)
    for x in (0.6, 0.7, 0.8):
        touch("Move", (x, 0.55))
    drawn(phone, wipe=0.8, cross=pixel((0.8, 0.55)))
    touch("End")
    touch("Start", (0.2, 0.3))
    touch("End")
    drawn(phone, wipe=0.2, cross=pixel((0.2, 0.3)))
    touch = touching(phone, "#map")
    touch("Start", (0.71, 0.3))
    touch("End")
    drawn(phone, wipe=0.2, cross=pixel((0.71, 0.3)))


@pytest.mark.chromium
@pytest.mark.parametrize("canvas", ["#compare", "#map"])
def test_a_finger_upwards_scrolls_the_page_and_nothing_else(phone, canvas):
    touch, before = touching(phone, canvas), phone.evaluate("scrollY")
    touch("Start", (0.2, 0.9))
    for step in range(1, 9):
        touch("Move", (0.2 + 0.005 * step, 0.9 - 0.1 * step))
    touch("End")
    phone.wait_for_function(f"scrollY > {before} + 100")
    drawn(phone)


@pytest.mark.chromium
@pytest.mark.parametrize("direction", [(1, 0), (0, 1), (0.6, 0.8)])
@pytest.mark.parametrize("canvas", ["#compare", "#map"])
def test_two_fingers_enlarge_and_move_both_views(phone, canvas, direction):
    touch = touching(phone, canvas)

    def fingers(x, y, spread):
        return [(x + sign * spread * direction[0], y + sign * spread * direction[1]) for sign in (-1, 1)]

    touch("Start", fingers(0.4, 0.6, 0.1)[0])  # hardly ever do two come at once
    touch("Start", *fingers(0.4, 0.6, 0.1))
    for spread in (0.15, 0.2, 0.25, 0.3):
        touch("Move", *fingers(0.4, 0.6, spread))
    drawn(phone, zoom=3, at=fixed_point((0.4, 0.6), 3))
    for step in (0.04, 0.08):
        touch("Move", *fingers(0.4 + step, 0.6 - step, 0.3))
    at = tuple(v - sign * 0.08 * SIZE / 3 for v, sign in zip(fixed_point((0.4, 0.6), 3), (1, -1), strict=True))
    drawn(phone, zoom=3, at=at)
    touch("End")
    touch("Start", (0.5, 0.5))
    touch("Move", (0.45, 0.6))
    touch("Move", (0.4, 0.7))
    touch("End")
    at = at[0] + 0.1 * SIZE / 3, at[1] - 0.2 * SIZE / 3
    drawn(phone, zoom=3, at=at, cross=pixel((0.4, 0.7), 3, at))
    phone.evaluate("addEventListener('pointerdown', event => { window.lastDown = event.pointerId; }, true)")
    touch("Start", *fingers(0.5, 0.5, 0.3))
    for spread in (0.25, 0.2, 0.15, 0.103):
        touch("Move", *fingers(0.5, 0.5, spread))
    lift = "(e, pointerId) => e.dispatchEvent(new PointerEvent('pointerup', { pointerId }))"
    phone.locator(canvas).evaluate(lift, phone.evaluate("lastDown"))  # one of the two, which DevTools cannot
    for x in (0.4, 0.3, 0.2):
        touch("Move", (x, 0.5), fingers(0.5, 0.5, 0.103)[1])
    touch("End")
    drawn(phone, cross=pixel((0.4, 0.7), 3, at))  # a pinch leaves the cross
    assert phone.evaluate("state.zoom") == 1, "hardly enlarged is whole: the line can be dragged"


@pytest.mark.chromium
def test_a_phone_shows_the_image_the_slider_and_the_numbers_at_once(phone):
    top, bottom = (
        phone.evaluate("""["compare", "numbers"].map(id => document.getElementById(id).getBoundingClientRect())
        .map((box, k) => k ? box.bottom : box.top)""")
    )
    assert bottom - top < 664, "what the bars of a browser leave of 844"
    order = "(document.getElementById('compare').compareDocumentPosition(document.getElementById('weight')) & 4) > 0"
    assert phone.evaluate(order)
    slider = phone.locator("#weight").bounding_box()
    assert top < slider["y"] < slider["y"] + slider["height"] <= bottom


@pytest.mark.chromium
def test_maps_of_tgv_are_said_to_be_of_tgv(browser, made_up, of_tgv):
    texts = []
    for path in (made_up, of_tgv):
        page = opened(browser, path)
        drawn(page)
        labels = [page.locator(f"#{name}").get_attribute("aria-label") for name in SCORES]
        texts.append([page.locator("body").inner_text(), page.locator("#right").inner_text(), *labels])
        close(page, path)
    assert "TGV" not in "".join(texts[0]) and "Total variation denoising of" in texts[0][0]
    body, options, *labels = texts[1]
    for text in (
        "two maps of TGV?",
        "the gain is not the maps' alone",
        "TGV, two maps →",
        "TGV with maps: 31.50 dB, 0.930. TGV with maps minus TV with this λ: +",
    ):
        assert text in body
    assert "TGV, two maps" in options and "map Λ" not in body
    assert all("TGV with maps: " in label for label in labels) and body.count("– – TGV with maps") == 2


@pytest.mark.chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("study", ["made up", "of TGV", "small study"])
def test_it_fits_is_legible_and_accessible(browser, made_up, of_tgv, tmp_path_factory, width, scheme, study):
    from axe_playwright_python.sync_playwright import Axe

    path = {"made up": made_up, "of TGV": of_tgv}.get(study) or finished(tmp_path_factory) / RESULTS / "explorer.html"
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
    page, names = opened(browser, written(tmp_path, [fine])), []
    for k in range(len(WEIGHTS)):
        slide(page, "#weight", k)
        names.append(page.text_content("#numbers").split(":")[0])
    assert len({*names}) == len(WEIGHTS)
    assert [float(name.removeprefix("λ = ")) for name in names] == pytest.approx(WEIGHTS / 16, abs=1e-3)
    close(page, page.path)


def test_the_page_stays_small_or_says_why_not():
    noise = [dict(CASES[0], scalar=RANDOM.uniform(0, 1, (81, SIZE, SIZE)))] * 12
    small = rendered(noise)
    assert len(small.encode()) < explorer.LIMIT
    assert "To keep this page small" not in small


def many(side, weights, protocols):
    """Images of noise, which no coding makes small, three of each protocol."""
    images = {kind: RANDOM.uniform(0, 1, (side, side)) for kind in ("clean", "noisy", "map")}
    images |= {"maps": {"Λ": np.full((side, side), 0.1)}, "scalar": RANDOM.uniform(0, 1, (weights, side, side))}
    return [CASES[0] | images | {"protocol": protocol, "label": label} for protocol in protocols for label in "123"]


def test_a_page_that_would_be_large_shows_fewer_and_smaller_images(monkeypatch):
    monkeypatch.setattr(explorer, "LIMIT", 300_000)
    page = rendered(many(64, 21, "abcdef"))
    assert len(page.encode()) <= explorer.LIMIT
    assert "one image of each noise protocol is shown" in page and '"label": "2"' not in page
    assert page.count('"label": "1"') == 6
    assert '"size": 32,' in page


def test_the_page_of_a_whole_grid_of_256_pixels_is_below_ten_megabytes():
    page = rendered(many(256, 81, "a"))
    assert 2_000_000 < len(page.encode()) < 10_000_000


def test_codes_of_the_map_are_fine_enough():
    import base64

    weight = np.geomspace(1e-4, 1, 256).reshape(16, 16)
    coded = explorer.coded_map("Λ", weight)
    codes = np.frombuffer(base64.b64decode(coded["codes"]), "<u2")
    found = coded["low"] * (coded["high"] / coded["low"]) ** (codes / 65535)
    np.testing.assert_allclose(found, weight.ravel(), rtol=1e-4)
    assert explorer.coded_map("Λ", np.full((4, 4), 0.1))["low"] == pytest.approx(0.1)


def page_data(path):
    page = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def cases(folder):
    """[(protocol, kind, image id, case)] of the explorer in the `folder` of a study."""
    data = page_data(folder / "explorer.html")
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


@pytest.mark.parametrize("penalty", ["tv", "tgv"])
def test_its_step_passes_the_penalty_on(tmp_path_factory, tmp_path, penalty):
    folder = finished(tmp_path_factory) / RESULTS
    grid = pd.read_csv(folder / "tables/grid.csv")
    weights = np.unique(grid["weight"])
    tables = {name: folder / f"tables/{name}.csv" for name in ("per_image", "grid", "scalar_choice")}
    examples = {protocol: folder / f"examples/{protocol}.npz" for protocol in sorted(set(grid["protocol"]))}
    sweeps = {protocol: tmp_path / f"{protocol}.npz" for protocol in examples}  # the study's own are temporary
    for protocol, path in sweeps.items():
        ids = stacks.load_examples(examples[protocol])["ids"]
        stacks.save(path, ids=ids, weights=weights, images=np.zeros((len(ids), len(weights), 32, 32)))
    template, page = ROOT / "workflow/report/explorer.html.j2", tmp_path / "explorer.html"
    build_explorer.main(tables, examples, sweeps, template, page, "s", penalty, dict.fromkeys(examples, 0.1))
    assert page_data(page)["penalty"] == penalty
    assert ("of TGV?" in page.read_text(encoding="utf-8")) == (penalty == "tgv")
