"""The command `tvmap`, called as a user calls it."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

import hostile
import numpy as np
import pytest
import tifffile
import torch
from packaging.requirements import Requirement
from PIL import Image
from skimage import data
from smoke import ENVIRONMENT, ROOT, fresh

from tvmap import commands, denoising, devices, map_files, parameter_choice, pdhg, pictures, solver, tgv
from tvmap.errors import StudyError
from tvmap.operators import BOUNDARIES, NORMS
from tvmap.provenance import REFERENCE

CAT = data.chelsea()[60:124, 90:154]
NOISY = (CAT / 255 + 0.06 * np.random.default_rng(2).normal(size=CAT.shape)).clip(0, 1)
GREY = NOISY.mean(axis=-1)


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "in"
    (source / "deeper").mkdir(parents=True)
    Image.fromarray(np.uint8(np.rint(255 * GREY))).save(source / "grey.png")
    Image.fromarray(np.uint8(np.rint(255 * NOISY))).save(source / "colour.jpg", quality=98)
    tifffile.imwrite(source / "deeper/sixteen.tif", np.uint16(np.rint(65535 * NOISY)), photometric="rgb")
    tifffile.imwrite(source / "deeper/float.tiff", GREY.astype(np.float32))
    np.save(source / "array.npy", 1000 * GREY)
    return source


def tvmap(*arguments):
    return commands.main([str(argument) for argument in arguments])


def size(path):
    with Image.open(path) as picture:
        return picture.size


def grey(path):
    return pictures.read(path).channels


def test_a_folder_is_denoised_with_the_map_and_keeps_structure_and_depth(folder, tmp_path, capsys):
    output = tmp_path / "out"
    assert tvmap("denoise", folder, "-o", output, "--save-map") == 0
    written = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    images = {"grey.png", "colour.png", "deeper/sixteen.tif", "deeper/float.tif", "array.npy"}
    maps = {f"{Path(name).with_suffix('')}_map.tif" for name in images}
    assert written == images | maps
    assert np.asarray(Image.open(output / "grey.png")).dtype == np.uint8
    assert tifffile.imread(output / "deeper/sixteen.tif").dtype == np.uint16
    assert tifffile.imread(output / "deeper/sixteen.tif").shape == NOISY.shape
    assert tifffile.imread(output / "deeper/float.tif").dtype == np.float32
    assert np.load(output / "array.npy").dtype == np.float64
    assert tifffile.imread(output / "grey_map.tif").shape == (2, *GREY.shape)
    said = capsys.readouterr().err
    assert "5 of 5 images denoised" in said and "array.npy: its values" in said and "Traceback" not in said
    trained, _, _ = denoising.load_trained()
    expected = denoising.by_network(grey(folder / "grey.png"), trained)
    np.testing.assert_array_equal(np.asarray(Image.open(output / "grey.png")), np.rint(255 * expected.x[0]))
    clean = CAT.mean(axis=-1) / 255
    assert np.mean((expected.x[0] - clean) ** 2) < np.mean((grey(folder / "grey.png")[0] - clean) ** 2) / 2


def test_a_saved_map_gives_the_same_image_again(folder, tmp_path):
    first, again = tmp_path / "first.tif", tmp_path / "again.tif"
    assert tvmap("denoise", folder / "grey.png", "-o", first, "--float", "--save-map") == 0
    weight = tmp_path / "first_map.tif"
    assert tvmap("tv", folder / "grey.png", "-o", again, "--weight", weight, "--float") == 0
    np.testing.assert_array_equal(tifffile.imread(first), tifffile.imread(again))
    assert tvmap("tv", folder / "grey.png", "-o", again, "--weight", weight, "--penalty", "tv") == 1
    assert tvmap("denoise", folder / "colour.jpg", "-o", first, "--float", "--save-map") == 0
    assert tvmap("tv", folder / "colour.jpg", "-o", again, "--weight", weight, "--float") == 0
    np.testing.assert_array_equal(tifffile.imread(first), tifffile.imread(again))
    assert tvmap("tv", folder / "colour.jpg", "-o", first, "--weight", "0.05", "--float", "--save-map") == 0
    assert tvmap("tv", folder / "colour.jpg", "-o", again, "--weight", weight, "--float") == 0
    np.testing.assert_array_equal(tifffile.imread(first), tifffile.imread(again))


@pytest.mark.parametrize("given", [["--boundary", "neumann"], ["--norm", "isotropic"], ["--iterations", "256"]])
def test_a_saved_map_brings_its_boundary_and_norm(folder, tmp_path, given):
    first, again, other = (tmp_path / f"{name}.tif" for name in ("first", "again", "other"))
    np.save(tmp_path / "one.npy", np.full(GREY.shape, 0.1))
    arguments = ["tv", folder / "grey.png", "--float", "--weight"]
    assert tvmap(*arguments, tmp_path / "one.npy", "-o", first, "--save-map", *given) == 0
    assert tvmap(*arguments, tmp_path / "first_map.tif", "-o", again) == 0
    np.testing.assert_array_equal(tifffile.imread(first), tifffile.imread(again))
    plain = ["--boundary", "periodic", "--norm", "anisotropic"]
    assert tvmap(*arguments, tmp_path / "first_map.tif", "-o", other, *plain) == 0
    assert (tifffile.imread(first) == tifffile.imread(other)).all() == ("--iterations" in given)


def test_a_saved_map_brings_the_steps_of_its_network(folder, tmp_path, monkeypatch):
    """p₀ = z, L = √13 and a learned ratio of the steps, after few of which the image depends on them."""
    trained, _, _ = denoising.load_trained(ROOT / "results/reference/xray-fast/model/last.safetensors")
    trained.log_ratio = torch.nn.Parameter(torch.tensor(0.5))
    solver = {"boundary": "neumann", "norm": "anisotropic", "dual_start": "image", "lipschitz": "sqrt13"}
    monkeypatch.setattr(denoising, "load_trained", lambda path: (trained, None, solver))
    first, again = tmp_path / "first.tif", tmp_path / "again.tif"
    arguments = [folder / "grey.png", "--float", "--iterations", "9"]
    assert tvmap("denoise", *arguments, "-o", first, "--save-map") == 0
    assert map_files.read_weight(tmp_path / "first_map.tif")[1] == {"penalty": "tv", "log_ratio": 0.5, **solver}
    assert tvmap("tv", *arguments, "-o", again, "--weight", tmp_path / "first_map.tif") == 0
    np.testing.assert_array_equal(tifffile.imread(first), tifffile.imread(again))


@pytest.mark.parametrize("command", ["denoise", "tv"])
def test_a_number_is_plain_tv(folder, tmp_path, command):
    output = tmp_path / "out.npy"
    arguments = ["--weight", "0.05", "--iterations", "40", "--boundary", "neumann", "--float"]
    assert tvmap(command, folder / "grey.png", "-o", tmp_path / "out.tif", *arguments) == 0
    expected = denoising.denoise_tv(grey(folder / "grey.png")[0], 0.05, iterations=40, boundary="neumann")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected)
    assert tvmap(command, folder / "array.npy", "-o", output, "--range", 0, 1000, "--weight", "0.05") == 0
    expected = 1000 * denoising.denoise_tv(GREY.astype(np.float32), 0.05)
    np.testing.assert_allclose(np.load(output), expected, rtol=1e-5)


def test_every_norm_and_gap(folder, tmp_path, capsys):
    output = tmp_path / "out.tif"
    arguments = ["--norm", "isotropic", "--gap", "1e-5", "--weight", "0.05", "--float"]
    assert tvmap("tv", folder / "grey.png", "-o", output, *arguments) == 0
    expected = denoising.denoise_tv(grey(folder / "grey.png")[0], 0.05, gap=1e-5, norm="isotropic")
    np.testing.assert_array_equal(tifffile.imread(output), expected)
    assert tvmap("tv", folder / "colour.jpg", "-o", output, "--weight", "0.05,0.1", "--penalty", "tgv") == 0
    assert "relative gap" in capsys.readouterr().err


def test_a_gap_that_is_not_reached_is_said_and_the_result_is_written(folder, tmp_path, capsys, monkeypatch):
    """And the other images are denoised; the status is that of images that failed."""
    monkeypatch.setattr(denoising, "MOST_ITERATIONS", 128)
    noise = 0.3 * np.random.default_rng(0).normal(size=(64, 64))
    tifffile.imwrite(folder / "deeper/rough.tif", np.float32(noise + 0.5).clip(-0.9, 1.9))
    sources = [folder / "grey.png", folder / "deeper/rough.tif"]
    arguments = [*sources, "-o", tmp_path / "out", "--weight", "0.2", "--gap"]
    assert tvmap("tv", *arguments, "1e-6", "--sheet") == 1
    said = capsys.readouterr().err
    assert said.count("--gap 1e-06 is not reached but ") == 2 and "2 of 2 images denoised" in said
    assert "give a wider gap" in said and "128 steps, relative gap" in said and "not certified" not in said
    expected = denoising.denoise_tv(grey(sources[1])[0], 0.2, iterations=128)
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out/rough.tif"), expected, atol=1e-6)
    assert tvmap("tv", *arguments, "0.5") == 0
    assert " is not reached" not in capsys.readouterr().err


def test_a_gap_that_certifies_nothing_is_said(folder, tmp_path, capsys):
    arguments = [folder / "grey.png", "-o", tmp_path / "out.tif", "--float", "--iterations", "2", "--weight"]
    for weight, said in ((9, True), (0, False)):
        assert tvmap("tv", *arguments, weight) == 0
        err = capsys.readouterr().err
        assert (": not certified, the result may differ from the solution by " in err) == said
        assert ("give more --iterations, or a --gap such as 1e-3" in err) == said


def test_a_channel_outside_the_training_is_said(tmp_path, capsys):
    clean = np.linspace(0, 1, 64)[:, None, None] * np.ones((64, 3))
    noise = np.random.default_rng(0).normal(size=clean.shape) * (0.05, 0.05, 0.3)
    image = clean + noise * clean.std()
    tifffile.imwrite(tmp_path / "colour.tif", image.astype(np.float32), photometric="rgb")
    assert tvmap("denoise", tmp_path / "colour.tif", "-o", tmp_path / "out.tif", "--iterations", "9") == 0
    said = capsys.readouterr().err
    levels = denoising.noise_levels(grey(tmp_path / "colour.tif"))
    assert f"colour.tif: red, green: noise level about {levels[0]:.2g}, {levels[1]:.2g}, below the 0.1 to 0.5" in said


def test_sure_and_the_sheet(folder, tmp_path):
    output = tmp_path / "out.png"
    assert tvmap("denoise", folder / "grey.png", "-o", output, "--weight", "sure", "--sheet", "--save-map") == 0
    weight = tifffile.imread(tmp_path / "out_map.tif")
    expected = denoising.by_sure(grey(folder / "grey.png"))
    assert weight.item() == expected.weight[0]
    assert size(tmp_path / "out_sheet.png")[0] > 800


@pytest.mark.parametrize("name", ["grey.png", "colour.jpg"])
def test_the_sheet_of_maps(folder, tmp_path, name):
    strange = folder / f"x$\\frac$ {name}"
    shutil.copyfile(folder / name, strange)
    assert tvmap("denoise", strange, "-o", tmp_path / "out.png", "--sheet") == 0
    np.save(folder / "flat.npy", np.zeros((3, 4)))
    assert tvmap("tv", folder / "flat.npy", "-o", tmp_path / "flat.npy", "--weight", 0, "--sheet", "--range", 0, 1) == 0
    width, height = size(tmp_path / "out_sheet.png")
    assert height > width > 800


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_counts_the_images_and_lines_stand_above_it(folder, tmp_path, capsys, monkeypatch, terminal):
    (folder / "bad.png").write_bytes(b"no image")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert tvmap("tv", folder, "-o", tmp_path / "out", "--weight", "0.05", "--iterations", "64") == 1
    said = capsys.readouterr().err
    assert ("6/6" in said) == ("image/s" in said) == terminal
    lines = re.split(r"[\r\n]+", said)
    assert [line for line in lines if line.startswith("tvmap: ") and "bad.png: cannot be read" in line]
    assert sum(line.startswith("tvmap: ") for line in lines) == said.count("tvmap: ") == 8  # of array.npy two
    assert tvmap("tv", folder / "grey.png", "-o", tmp_path / "out.png", "--weight", "0.05", "--iterations", "64") == 0
    assert "image/s" not in capsys.readouterr().err, "one image needs no bar"


@pytest.mark.parametrize(
    ("arguments", "function"),
    [
        (["tv", "--weight", "0.05"], "by_weight"),
        (["denoise", "--weight", "sure"], "by_sure"),
        (["denoise"], "by_network"),
    ],
)
def test_the_device_asked_for_is_the_one_that_computes(folder, tmp_path, monkeypatch, arguments, function):
    asked, devices_used, compute = [], [], getattr(denoising, function)

    def pick(key):
        asked.append(key)
        return torch.device("cpu", 0)

    def computed(*values, **options):
        devices_used.append(options["device"])
        return compute(*values, **options)

    monkeypatch.setattr(devices, "pick", pick)
    monkeypatch.setattr(denoising, function, computed)
    for chosen in ([], ["--device", "cuda"]):
        output = tmp_path / "out.tif"
        assert tvmap(*arguments, folder / "grey.png", "-o", output, "--iterations", "2", *chosen) == 0
    assert asked == ["auto", "cuda"] and devices_used == [torch.device("cpu", 0)] * 2


def test_it_says_that_sure_takes_its_time_and_searches_on_the_cpu(folder, tmp_path, monkeypatch, capsys):
    solved = denoising._solved
    monkeypatch.setattr(devices, "pick", lambda key: torch.device("cuda" if key == "cuda" else "cpu"))
    monkeypatch.setattr(denoising, "_solved", lambda *args, device, **options: solved(*args, **options))
    for chosen, said in (([], False), (["--device", "cuda"], True)):
        arguments = [folder / "grey.png", "-o", tmp_path / "out.tif", "--weight", "sure", "--iterations", "2", *chosen]
        assert tvmap("denoise", *arguments) == 0
        err = capsys.readouterr().err
        assert "up to 23 exact solutions a channel; large images take minutes" in err
        assert ("λ is sought on the CPU, the image then denoised on cuda" in err) == said


@pytest.mark.parametrize(
    "arguments",
    [
        *(["tv", "--weight", "0.05", "--boundary", b, "--norm", n] for b in BOUNDARIES for n in NORMS),
        ["tv", "--weight", "0.05", "--norm", "isotropic", "--gap", "1e-3"],
        ["tv", "--weight", "{map}"],
        ["tv", "--weight", "0.05,0.1", "--penalty", "tgv"],
        ["denoise"],
        ["denoise", "--weight", "0.05"],
        ["denoise", "--weight", "sure"],
    ],
    ids=" ".join,
)
def test_on_a_cpu_the_compiled_solver_runs_and_never_the_reference(folder, tmp_path, monkeypatch, arguments):
    np.save(tmp_path / "map.npy", np.full((2, *GREY.shape), 0.05))
    for module in (pdhg, tgv, solver):
        for name in ("pdhg", "tgv", "ratio_derivative"):
            monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("the reference runs"), raising=False)
    arguments = [argument.format(map=tmp_path / "map.npy") for argument in arguments]
    arguments += [] if "--gap" in arguments else ["--iterations", "5"]
    sources = ["grey.png"] if "sure" in arguments else ["grey.png", "colour.jpg"]
    output = ["-o", tmp_path / "out", "--device", "cpu", "--sheet"]
    assert tvmap(*arguments, *(folder / name for name in sources), *output) == 0


@pytest.mark.parametrize(
    "arguments",
    [["tv", "--weight", "0.05"], ["tv", "--weight", "{map}"], ["denoise", "--weight", "sure"], ["denoise"]],
    ids=["number", "map", "sure", "network"],
)
def test_too_little_memory_is_said_once_and_before_it_is_taken(folder, tmp_path, monkeypatch, capsys, arguments):
    said, batch, choose = [], denoising._batch, parameter_choice.choose_by_sure

    def then(function):
        def called(*values):
            said.append(capsys.readouterr().err)
            return function(*values)

        return called

    np.save(tmp_path / "map.npy", np.full(GREY.shape, 0.05))
    monkeypatch.setattr(denoising, "_batch", then(batch))
    monkeypatch.setattr(parameter_choice, "choose_by_sure", then(choose))
    arguments = [argument.format(map=tmp_path / "map.npy") for argument in arguments]
    arguments += [folder / "grey.png", "-o", tmp_path / "out.png", "--iterations", "3", "--sheet", "--device", "cpu"]
    monkeypatch.setattr(denoising.machine, "free_memory", lambda: 10**5)
    assert tvmap(*arguments) == 0
    said.append(capsys.readouterr().err)
    message = "GB are needed for this image, 0.0 are free; if it ends here, cut the image into pieces"
    assert message in said[0] and "".join(said).count(message) == 1
    said.clear()
    monkeypatch.setattr(denoising.machine, "free_memory", lambda: 10**12)
    assert tvmap(*arguments) == 0
    assert "needed" not in "".join([*said, capsys.readouterr().err])


def test_without_a_gpu_cuda_is_refused_in_a_line(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments = ["--weight", "0.05", "--device", "cuda"]
    assert tvmap("tv", folder / "grey.png", "-o", tmp_path / "out.png", *arguments) == 1
    assert capsys.readouterr().err == "tvmap: device: cuda, but no CUDA device is usable here; set it to cpu or auto\n"


def test_one_bad_image_does_not_stop_the_others(folder, tmp_path, capsys):
    (folder / "bad.png").write_bytes(b"no image")
    assert tvmap("tv", folder, "-o", tmp_path / "out", "--weight", "0.05") == 1
    said = capsys.readouterr().err
    assert "bad.png: cannot be read" in said and "5 of 6 images denoised" in said
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 5


def test_a_result_that_cannot_be_written_is_said_with_its_image(folder, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/deeper").write_text("x")
    assert tvmap("tv", folder, "-o", tmp_path / "out", "--weight", "0.05", "--iterations", "2") == 1
    said = capsys.readouterr().err
    assert "3 of 5 images denoised" in said
    for name in ("sixteen.tif", "float.tiff"):
        assert f"tvmap: {folder / 'deeper' / name}: its result cannot be written (" in said
    assert said.count("; make room, or give another -o\n") == 2


def test_names_are_kept_free_only_for_what_is_written(folder, tmp_path):
    shutil.copyfile(folder / "deeper/float.tiff", folder / "grey_map.tif")
    shutil.copyfile(folder / "grey.png", folder / "grey_sheet.png")
    assert tvmap("tv", folder, "-o", tmp_path / "out", "--weight", "0.05", "--iterations", "2") == 0
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 7
    for kind, name in (("map", "grey_map.tif"), ("sheet", "grey_sheet.png")):
        with pytest.raises(StudyError, match=f"{name}: would be written for .*grey"):
            commands.destinations([folder], tmp_path / "out", kinds=[kind])
    images = [folder / "grey_map.tif"], folder / "grey.tif"
    assert commands.destinations(*images) == [(folder / "grey_map.tif", folder / "grey.tif")]
    with pytest.raises(StudyError, match="grey_map.tif: is an input"):
        commands.destinations(*images, kinds=["map"])


@pytest.mark.parametrize("options", [[], ["--float"], ["--sheet", "--save-map"]], ids=str)
def test_images_that_differ_in_their_suffix_alone_keep_it(folder, tmp_path, capsys, options):
    """A folder cannot be given apart; the others are named as ever."""
    for name in ("IMG_1.png", "IMG_1.bmp"):
        Image.fromarray(np.uint8(np.rint(255 * GREY))).save(folder / name)
    shutil.copyfile(folder / "colour.jpg", folder / "IMG_1.jpg")
    shutil.copyfile(folder / "deeper/float.tiff", folder / "deeper/sixteen.tiff")
    assert tvmap("tv", folder, "-o", tmp_path / "out", "--weight", "0.05", "--iterations", "9", *options) == 0
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    expected = {"IMG_1.bmp.png", "IMG_1.jpg.png", "IMG_1.png", "array.npy", "colour.png", "deeper/float.tif"}
    expected |= {"deeper/sixteen.tif", "deeper/sixteen.tiff.tif", "grey.png"}
    if options == ["--float"]:
        expected = {name.replace("IMG_1.png", "IMG_1.png.png") for name in expected}
        expected = {str(Path(name).with_suffix(".tif")) for name in expected}
    if "--sheet" in options:
        stems = {str(Path(name).with_suffix("")) for name in expected}
        expected |= {f"{stem}_{kind}" for stem in stems for kind in ("map.tif", "sheet.png")}
    assert written == expected
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "suffix alone" in line]
    n = 4 if options == ["--float"] else 3
    assert f"IMG_1.bmp is written as IMG_1.bmp.{'tif' if n == 4 else 'png'}, one of {n}" in said


def test_the_files_beside_images_of_one_name_are_kept_apart(folder):
    """PNG stays PNG and TIFF stays TIFF: only their sheets would have one name."""
    shutil.copyfile(folder / "deeper/float.tiff", folder / "grey.tif")
    for kinds, names in (([], ["grey.png", "grey.tif"]), (["sheet"], ["grey.png.png", "grey.tif.tif"])):
        found = [target.name for _, target in commands.destinations([folder], folder / "out", kinds=kinds)]
        assert sorted(name for name in found if name.startswith("grey")) == names
    with pytest.raises(StudyError, match="grey_sheet.png: would be written for"):
        commands.destinations([folder / "grey.png", folder / "grey.tif"], folder / "out", kinds=["sheet"])
    shutil.copyfile(folder / "grey.png", folder / "grey.png.png")
    with pytest.raises(StudyError, match="grey.png.png: would be written for .*; give them apart"):
        commands.destinations([folder], folder / "out", kinds=["sheet"])


@pytest.mark.parametrize(("top", "bits"), [(200, 8), (900, 10), (4000, 12), (4095, 12), (5000, 14), (9000, 0), (0, 0)])
def test_sixteen_bits_that_hold_fewer_are_said(tmp_path, capsys, top, bits):
    values = np.uint16(np.rint(GREY / GREY.max() * top))
    arguments = [tmp_path / "dim.tif", "-o", tmp_path / "out.tif", "--weight", "0.05", "--iterations", "99"]
    tifffile.imwrite(tmp_path / "dim.tif", values)
    for options in ([], ["--float"]):
        assert tvmap("tv", *arguments, *options) == 0
        said = capsys.readouterr().err
        assert ("of 65535" in said) == bool(bits)
        limits = ["--range", "0", str(2**bits - 1)]
        assert not bits or f"values up to {top} of 65535; if it holds {bits} bits, give {' '.join(limits)}\n" in said
    if bits:
        assert tvmap("tv", *arguments, *limits) == 0
        assert "of 65535" not in capsys.readouterr().err
        expected = denoising.denoise_tv(values.astype(np.float32) / (2**bits - 1), 0.05, iterations=99)
        np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), expected * (2**bits - 1), atol=0.51)


@pytest.mark.parametrize(
    ("arguments", "weights"),
    [
        (["denoise", "--weight", "sure", "{}/grey.png"], r"λ = 0\.0\d+"),
        (["denoise", "--weight", "sure", "{}/colour.jpg"], r"λ = 0\.0\d+, 0\.0\d+, 0\.0\d+"),
        (["tv", "--weight", "1000", "{}/colour.jpg", "--iterations", "2000"], r"λ = 1000"),
        (["tv", "--weight", "0.05,0.125", "--penalty", "tgv", "{}/colour.jpg"], r"λ₁, λ₀ = 0\.05, 0\.125"),
        (["denoise", "{}/grey.png"], None),
    ],
)
def test_the_closing_line_names_the_number(folder, tmp_path, capsys, arguments, weights):
    assert tvmap(*(argument.format(folder) for argument in arguments), "-o", tmp_path / "out.png") == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(rf"steps, relative gap [\d.e+-]+{f', {weights}' if weights else ''} → ", last), last


def test_a_second_run_does_not_denoise_what_the_first_one_wrote(folder):
    for _ in range(2):
        assert tvmap("tv", folder, "-o", folder / "out", "--weight", "0.05", "--save-map") == 0
    assert len([path for path in (folder / "out").rglob("*") if path.is_file()]) == 10


def test_files_without_a_suffix_are_said_and_others_that_are_no_images_are_not(folder, caplog):
    expected = commands.destinations([folder], folder / "out")
    (folder / "out").mkdir()
    for name in (".DS_Store", "notes.txt", "study.xml", "out/IM0001"):
        (folder / name).write_bytes(b"x")
    assert commands.destinations([folder], folder / "out") == expected and not caplog.records
    for name in ("IM0001", "deeper/IM0002"):
        hostile.dicom(folder / name, np.uint8(255 * GREY))
    assert commands.destinations([folder], folder / "out") == expected
    assert [image for image, _ in commands.destinations([folder], folder.parent)] == [image for image, _ in expected]
    said = f"{folder}: files without a suffix are left out, {{}} of them; rename images, such as DICOM to .dcm"
    assert caplog.messages == [said.format(2), said.format(3)]  # one lies in out/, which is no output the second time


@pytest.mark.parametrize("limits", [["-1e3", "1e3"], ["-1E+3", "1000"], ["-.1e4", "1000"], ["-1000", "1e3"]])
def test_limits_may_have_an_exponent(folder, tmp_path, limits):
    arguments = ["--weight", "0.05", "--range", *limits, "--iterations", "9"]
    assert tvmap("tv", folder / "array.npy", "-o", tmp_path / "out.npy", *arguments) == 0
    half = denoising.denoise_tv((GREY.astype(np.float32) + 1) / 2, 0.05, iterations=9)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), 2000 * half - 1000, atol=1e-2)


def test_hidden_files_of_a_folder_are_no_images(folder):
    expected = commands.destinations([folder], folder / "out")
    for name in ("._grey.png", ".ipynb_checkpoints/grey.png", "__MACOSX/grey.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / "grey.png", folder / name)
    assert commands.destinations([folder], folder / "out") == expected


def test_results_lie_in_the_folder_above_or_replace_nothing(folder, monkeypatch):
    n_images = len(commands.destinations([folder], folder / "out"))
    assert len(commands.destinations([folder / "deeper"], folder / "results/of")) == 2
    for output in (folder.parent, Path(".")):  # the folder above
        monkeypatch.chdir(folder.parent)
        pairs = commands.destinations([folder], output)
        assert len(pairs) == n_images and all(folder not in target.resolve().parents for _, target in pairs)
    for output in (folder, Path(".")):  # the folder itself
        monkeypatch.chdir(folder)
        with pytest.raises(StudyError, match="is an input; results must not replace it"):
            commands.destinations([folder], output)


def test_ctrl_c_says_how_many_images_are_written(folder, tmp_path, capsys, monkeypatch):
    whole, sources = commands.denoise_one, []

    def stopped(source, *others):
        sources.append(source)
        if len(sources) == 3:
            raise KeyboardInterrupt
        whole(source, *others)

    monkeypatch.setattr(commands, "denoise_one", stopped)
    assert tvmap("tv", folder, "-o", tmp_path / "out", "--weight", "0.05") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "tvmap: interrupted; 2 of 5 images are written"
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 2
    monkeypatch.setattr(commands, "destinations", stopped)
    sources[:] = [None, None]
    assert tvmap("tv", folder, "-o", tmp_path / "out", "--weight", "0.05") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "tvmap: interrupted; nothing is written"


def test_a_format_that_cannot_hold_the_result_is_said_before_the_work(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(denoising, "by_sure", None)
    arguments = ("denoise", folder / "grey.png", "-o", tmp_path / "out.png", "--weight", "sure", "--float")
    assert tvmap(*arguments) == 1
    assert "out.png: this format does not hold float32 grey values" in capsys.readouterr().err


def test_an_image_without_an_estimable_noise_is_said(tmp_path, capsys):
    image = np.zeros((64, 64), np.float32)
    image[20:44, 20:44] = 0.5 + np.random.default_rng(0).normal(0, 0.1, (24, 24))
    np.save(tmp_path / "margin.npy", image)
    for weight, status in (("map", 0), ("sure", 1)):
        assert tvmap("denoise", tmp_path / "margin.npy", "-o", tmp_path / "out.npy", "--weight", weight) == status
        said = capsys.readouterr().err
        assert "no noise can be estimated: it is one row or column, or more than half of it is flat" in said
        assert "compare with --weight sure" not in said


def test_a_flat_margin_is_said(folder, tmp_path, capsys):
    np.save(tmp_path / "margin.npy", np.pad(GREY, ((0, 0), (27, 0))))
    for weight, expected in (
        ("map", ": the noise is underestimated; cut a margin off"),
        ("sure", " from the rest; cut"),
    ):
        for source, flat in ((tmp_path / "margin.npy", True), (folder / "grey.png", False)):
            arguments = ["-o", tmp_path / "out.tif", "--float", "--weight", weight, "--iterations", "9"]
            assert tvmap("denoise", source, *arguments) == 0
            said = capsys.readouterr().err
            assert (f"{source}: 29 % of it is flat, such as a margin" in said) == (expected in said) == flat
            assert ("is flat" in said) == flat
    assert tvmap("tv", tmp_path / "margin.npy", "-o", tmp_path / "out.tif", "--float", "--weight", "0.1") == 0
    assert "is flat" not in capsys.readouterr().err


def test_a_level_outside_the_training_is_said(tmp_path, capsys):
    slope = np.linspace(0, 1, 64) * np.ones((64, 1))
    np.save(tmp_path / "quiet.npy", slope + 0.01 * np.random.default_rng(0).normal(size=slope.shape))
    noise = np.random.default_rng(0).normal(0.5, 0.3, (64, 64)).clip(-0.9, 1.9)
    np.save(tmp_path / "noise.npy", noise)
    assert tvmap("denoise", tmp_path / "quiet.npy", tmp_path / "noise.npy", "-o", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert "below the 0.1 to 0.5" in said and "above the 0.1 to 0.5" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["denoise", "{in}", "-o", "{out}.png"], "one file for 5 images"),
        (["denoise", "{in}/grey.png", "-o", "{out}.jp2"], "choose one of them"),
        (["denoise", "{in}/grey.png", "-o", "{file}/x/y.png"], "file is a file; give a folder"),
        (["denoise", "{in}", "-o", "{file}/x"], "file is a file; give a folder"),
        (["denoise", "{in}/none", "-o", "{out}"], "none: no such file or folder"),
        (["tv", "{in}/array.npy", "-o", "{out}.npy", "--weight", "0.1", "--range", "0", "inf"], "low < high"),
        (["tv", "{in}/array.npy", "-o", "{out}.npy", "--weight", "0.1", "--range", "0", "1e-40"], "further apart"),
        (["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "1e39"], "one number ≥ 0"),
        (["tv", "{loop}", "-o", "{out}.png", "--weight", "0.1"], "loop.png: "),
        (["tv", "{in}/grey.png", "-o", "{long}", "--weight", "0.1"], "File name too long"),
        (["denoise", "{flat}", "-o", "{out}.npy", "--weight", "sure"], "flat.npy: no noise"),
        (["denoise", "{in}/none.png", "-o", "{out}.png"], "no such file"),
        (["denoise", "{in}/grey.png", "-o", "{in}"], "is an input"),
        (["denoise", "{in}/grey.png", "-o", "{in}/grey.png"], "is an input"),
        (["denoise", "{in}/grey.png", "-o", "{out}.jpg"], "without loss"),
        (["denoise", "{in}/grey.png", "{in}/grey.png", "-o", "{out}"], "would be written for"),
        (["denoise", "{empty}", "-o", "{out}"], "no image in this folder"),
        (["denoise", "{in}/grey.png", "-o", "{out}.png", "--weight", "much"], "map, sure or a number"),
        (["denoise", "{in}/grey.png", "-o", "{out}.png", "--weight", "-1"], "≥ 0"),
        (["denoise", "{in}/grey.png", "-o", "{out}.png", "--model", "none.safetensors"], "none.safetensors"),
        (
            ["denoise", "{in}/grey.png", "-o", "{out}.png", "--weight", "sure", "--model", "x"],
            "belongs to --weight map, not sure; leave one of them out",
        ),
        (["denoise", "{in}/grey.png", "-o", "{out}.png", "--iterations", "0"], "at least 1"),
        (["denoise", "{in}/deeper/float.tiff", "-o", "{out}.png"], "ends in .tif"),
        (["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "none.tif"], "no such file"),
        (["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "{small}"], "must be the same"),
        (["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "0.1", "--penalty", "tgv"], "two numbers ≥ 0"),
        (["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "0,07"], "one number ≥ 0 is needed, such as 0.07"),
        (["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "sure"], "is for tvmap denoise"),
        (["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "{complex}"], "complex128 values; a map holds real"),
        (["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "0.1", "--gap", "0"], "--gap 0: a number > 0"),
        (
            ["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "{tgv}", "--penalty", "tv"],
            "tgv; leave --penalty out",
        ),
        (["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "{tgv}", "--norm", "isotropic"], "leave --norm out"),
        (["tv", "{in}/grey.png", "-o", "{file}", "--weight", "0.1"], "is a file that is no image"),
        (["tv", "{in}/grey.png", "-o", "{tgv}", "--weight", "{tgv}"], "tgv.tif: is an input; results must not replace"),
        (["tv", "{in}", "-o", "{dir}", "--weight", "{dir}/array.npy"], "array.npy: is an input; results must not"),
        (
            ["tv", "{in}/grey.png", "-o", "{dir}/n.png", "--save-map", "--weight", "{dir}/n_map.tif"],
            "n_map.tif: is an input; results must not replace it",
        ),
        (["denoise", "{in}/grey.png", "-o", "{small}", "--model", "{small}"], "small.npy: is an input; results must"),
        (
            ["tv", "{even}", "-o", "{out}.npy", "--weight", "0.1"],
            "give limits low < high, with tvmap by --range",
        ),
        (["tv", "{in}/grey.png", "-o", "{out}.png", "--weight", "0.1", "--range", "-1e3", "-2.5E3"], "--range"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    np.save(tmp_path / "small.npy", np.ones((5, 5)))
    places = {"in": folder, "out": tmp_path / "out", "empty": tmp_path / "empty", "file": tmp_path / "file"}
    places["dir"] = tmp_path
    np.save(tmp_path / "even.npy", np.full((4, 4), 9.0))
    np.save(tmp_path / "flat.npy", np.linspace(0, 1, 9)[None])
    np.save(tmp_path / "complex.npy", np.full(GREY.shape, 0.1 + 1j))
    map_files.write_maps(tmp_path / "tgv.tif", np.full((2, *GREY.shape), 0.1, np.float32), "tgv")
    files = ("small.npy", "even.npy", "flat.npy", "complex.npy", "tgv.tif")
    places |= {Path(name).stem: tmp_path / name for name in files} | {"long": tmp_path / ("n" * 300 + ".png")}
    (tmp_path / "loop.png").symlink_to("loop.png")
    places["loop"] = tmp_path / "loop.png"
    assert tvmap(*(argument.format(**places) for argument in arguments)) == 1
    lines = capsys.readouterr().err.splitlines()
    (said,) = [line for line in lines if "large images take minutes" not in line]
    assert message in said and said.startswith("tvmap: ")
    assert not (tmp_path / "out.png").exists()


def test_help_names_the_formats_and_both_commands_are_installed():
    for command in ([Path(sys.executable).parent / "tvmap"], [sys.executable, "-m", "tvmap"]):
        run = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
        assert "DICOM" in run.stdout and "tvmap denoise noisy.png -o clean.png" in run.stdout
        assert "{denoise,tv}" in run.stdout and "|" not in run.stdout.splitlines()[0], "a shell takes | for a pipe"


@pytest.mark.parametrize("command", ["denoise", "tv"])
def test_every_option_has_its_help(command, capsys):
    with pytest.raises(SystemExit):
        tvmap(command, "--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "auto, the default, takes an NVIDIA GPU (cuda) where there is one" in said
    assert "1e-3, which the study asks for, is good" in said and "the exit status is 1" in said
    (subparsers,) = commands.parser()._subparsers._group_actions
    assert [action.dest for action in subparsers.choices[command]._actions if not action.help] == []


def needed(requirements, seen=None):
    """What the packages that these requirements name, and those that they need in turn, have in their site."""
    seen = set() if seen is None else seen
    for requirement in map(Requirement, requirements or ()):
        name = requirement.name.lower()
        if name not in seen and (not requirement.marker or requirement.marker.evaluate({"extra": ""})):
            seen.add(name)
            found = distribution(name)
            yield from {Path(found.locate_file(file.parts[0])) for file in found.files} - {
                Path(found.locate_file(".."))
            }
            yield from needed(found.requires, seen)


def test_a_wheel_brings_the_weights_along(folder, tmp_path):
    """Built from a copy, installed beside those packages that it asks for, called where no repository is near."""
    source, wheels, elsewhere = (tmp_path / name for name in ("source", "wheels", "elsewhere"))
    shutil.copytree(ROOT / "results/reference" / REFERENCE, fresh(source) / "results/reference" / REFERENCE)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, source]
    subprocess.run([*pip, *build], env=ENVIRONMENT, check=True)
    shutil.rmtree(source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", elsewhere], check=True)
    (site,) = elsewhere.glob("lib/python*/site-packages")
    install = ["install", "--no-deps", "--no-index", "--ignore-installed", *wheels.glob("*.whl")]
    subprocess.run([*pip, "--python", elsewhere / "bin/python", *install], env=ENVIRONMENT, check=True)
    (metadata,) = site.glob("tvmap-*.dist-info/METADATA")
    for path in needed(PathDistribution(metadata.parent).requires):
        if not (site / path.name).exists():
            (site / path.name).symlink_to(path)
    (card,) = site.glob("tvmap/reference/model/README.md")
    assert card.read_text().startswith(f"# Model card: {REFERENCE}\n")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", card.read_text()) if "://" not in link]
    assert links and all((card.parent / link).is_file() for link in links), links
    command = [elsewhere / "bin/tvmap", "denoise", folder / "grey.png", "-o"]
    for arguments in (["there.png", "--sheet", "--save-map"], ["sure.png", "--weight", "sure"]):
        subprocess.run([*command, *arguments], cwd=elsewhere, env=ENVIRONMENT, check=True)
    hostile.dicom(folder / "a.dcm", np.uint8(255 * GREY))
    command = [elsewhere / "bin/tvmap", "tv", folder / "a.dcm", "-o", "dicom.tif", "--weight", "0.07"]
    subprocess.run(command, cwd=elsewhere, env=ENVIRONMENT, check=True)
    assert tvmap("denoise", folder / "grey.png", "-o", tmp_path / "here.png") == 0
    assert (elsewhere / "there.png").read_bytes() == (tmp_path / "here.png").read_bytes()
