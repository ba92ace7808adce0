"""`snakemake --use-conda` from an environment that holds Snakemake alone: each rule in an environment of its own.

The conda on the PATH is used; where there is none, the stand-in of `conda_stand_in.py`, which says what it can show and
what not. The names of the tests say which one it was.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conda_stand_in import CONDA_NAMES, normal
from smoke import ENVIRONMENT, RESULTS, ROOT, command, copy, finished, fresh
from test_environments import (
    ENVIRONMENTS,
    NEVER_IMPORTED,
    NOT_NAMED,
    OUTSIDE_THE_LOCK,
    conda_pins,
    each_environment,
    lock,
    scripts_by_environment,
    third_party,
)

pytestmark = [pytest.mark.conda, pytest.mark.timeout(2400)]

KIND = "conda" if shutil.which("conda") else "stand-in"
PIP_NAMES = {conda: pip for pip, conda in CONDA_NAMES.items()}
# The small study has no rival, so envs/baselines.yaml would not be used: what each of its rules makes.
OF_RIVALS = [
    f"{RESULTS}/weights/test_fixed0.5_0_scalar-features.npz",
    f"{RESULTS}/weights/test_fixed0.5_0_scalar-sure.npz",
    f"{RESULTS}/weights/test_fixed0.5_0_tgv-oracle.npz",
    f"{RESULTS}/weights/test_fixed0.5_0_map-oracle.npz",
    f"{RESULTS}/denoised/test_fixed0.5_0_unet-direct.npz",
    *(f"{RESULTS}/denoised/test_fixed0.5_0_{name}.npz" for name in ("wavelet", "nlm", "tgv", "tv-isotropic")),
]
TIMES = ("times.csv", "steps.csv", "courses.csv")

# Put into each environment. Snakemake adds its own site-packages to the path of a script, so a missing package would be
# borrowed from there without a word: now only Snakemake is found there. As a script ends, it tells where it ran.
GUARD = """
import atexit, json, os, sys
from importlib.machinery import PathFinder

class Guard(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if path is None and not name.startswith("snakemake"):
            path = [folder for folder in sys.path if not folder.startswith(LAUNCHER)]
        return super().find_spec(name, path, target)

def tell():
    if ".snakemake/scripts" in sys.argv[0]:
        with open(os.path.join(TOLD, str(os.getpid())), "w") as file:
            json.dump([os.path.basename(sys.argv[0]).split(".", 1)[1], sys.prefix], file)

sys.meta_path[sys.meta_path.index(PathFinder)] = Guard
atexit.register(tell)
"""


@pytest.fixture(scope="module", params=[KIND])
def launcher(request, tmp_path_factory):
    """Folder of a virtual environment with nothing but Snakemake, and of the stand-in if there is no conda."""
    folder = tmp_path_factory.mktemp("launcher")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", ROOT / "envs/requirements.txt", "snakemake"], check=True)
    if request.param == "stand-in":
        names = {PIP_NAMES.get(name, name) for path in ENVIRONMENTS for name in conda_pins(path)}
        stand_in = [sys.executable, ROOT / "tests/conda_stand_in.py", folder / "conda", "install"]
        subprocess.run([*stand_in, *sorted(names)], check=True)
    yield folder
    shutil.rmtree(folder)


def snakemake(launcher, folder, *arguments):
    """Run the small study with conda in `folder`: exit status, all output, and (script, environment) of each job."""
    here = [str(launcher / "venv/bin"), str(launcher / "conda/bin")]
    others = [path for path in os.environ["PATH"].split(os.pathsep) if Path(path) != Path(sys.executable).parent]
    environment = ENVIRONMENT | {"PATH": os.pathsep.join(here + others)}
    call = ["snakemake", *command(folder, *arguments)[3:], "--use-conda"]
    told, output = folder / "told", ""
    told.mkdir()
    for create_only in (["--conda-create-envs-only"], []):
        run = subprocess.run(
            [*call, *create_only],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2000,
        )
        output += run.stdout
        if create_only:
            assert run.returncode == 0, output[-5000:]
            for prefix in environments(folder):
                ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
                packages = Path(python(prefix, ask).strip())
                (packages / "guard.py").write_text(f"LAUNCHER, TOLD = {str(launcher)!r}, {str(told)!r}\n{GUARD}")
                (packages / "guard.pth").write_text("import guard\n")
    return run.returncode, output, [json.loads(path.read_text()) for path in told.iterdir()]


def environments(folder):
    """{folder of an environment: its name under envs/}; Snakemake keeps a copy of the file beside the folder."""
    names = {path.read_text(): path.stem for path in (folder / "envs").glob("*.yaml")}
    prefixes = [path for path in (folder / ".snakemake/conda").iterdir() if path.is_dir()]
    return {prefix: names[prefix.with_name(f"{prefix.name}.yaml").read_text()] for prefix in prefixes}


def python(prefix, code):
    """What `code` prints in an environment, without any package from elsewhere."""
    call = [prefix / "bin/python", "-I", "-c", code]
    run = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.returncode == 0, f"{prefix}: {run.stdout}"
    return run.stdout


@pytest.fixture(scope="module")
def study(launcher, tmp_path_factory):
    """Folder, output and jobs of the small study, and of some rivals, run to the end with conda."""
    folder = fresh(tmp_path_factory.mktemp("conda") / "study", compiled=False)
    status, output, jobs = snakemake(launcher, folder, "all", *OF_RIVALS)
    assert status == 0, output[-5000:]
    yield folder, output, jobs
    shutil.rmtree(folder)


def test_results_are_those_of_the_study_without_conda(study, tmp_path_factory):
    """To the bit, if the packages are the same files: conda-forge builds its own."""
    folder, alone = study[0] / RESULTS, finished(tmp_path_factory) / RESULTS
    paths = [path for name in ("tables/*.csv", "model/*.safetensors", "weights/*.npz") for path in alone.glob(name)]
    names = [str(path.relative_to(alone)) for path in paths if path.name not in TIMES]
    assert {"tables/per_image.csv", "model/last.safetensors", "weights/test_uniform_0_map.npz"} <= set(names)
    assert all((folder / name).stat().st_size for name in names)
    written, installed = (json.loads((path / "provenance.json").read_text())["versions"] for path in (folder, alone))
    installed.pop("scipy")  # numba imports it where it is, and the environment of the solvers has none
    assert set(written) == set(installed)
    if KIND == "stand-in":
        assert written == installed
        differ = [name for name in names if (folder / name).read_bytes() != (alone / name).read_bytes()]
        assert not differ


def test_each_job_ran_in_the_environment_of_its_rule(study):
    folder, output, jobs = study
    names, rules = environments(folder), scripts_by_environment()
    assert set(names.values()) == {path.stem for path in ENVIRONMENTS} - {"torch-cuda"}
    for script, prefix in jobs:
        path = ROOT / "workflow/scripts" / script
        assert path in rules[ROOT / f"envs/{names[Path(prefix)]}.yaml"], f"{script} ran in {names[Path(prefix)]}"
    assert {names[Path(prefix)] for _, prefix in jobs} == set(names.values())
    steps = int(re.search(r"(\d+) of \1 steps \(100%\) done", output)[1])
    assert len(jobs) == steps - 1  # the rule all runs nothing


def test_each_environment_has_by_itself_what_its_scripts_import(study):
    """Those imports, too, that no job of the small study comes to."""
    for prefix, name in environments(study[0]).items():
        scripts = [third_party(script) for script in scripts_by_environment()[ROOT / f"envs/{name}.yaml"]]
        modules = {module for found in scripts for module, package in found.items() if package not in NOT_NAMED}
        modules |= NEVER_IMPORTED & set(conda_pins(ROOT / f"envs/{name}.yaml"))
        python(prefix, f"import {', '.join(sorted(modules))}")


def test_a_package_missing_from_an_environment_shows_though_the_launcher_has_it(launcher, tmp_path_factory):
    folder = copy(tmp_path_factory)
    path = folder / "envs/report.yaml"
    environment = yaml.safe_load(path.read_text())
    environment["dependencies"] = [pin for pin in environment["dependencies"] if not pin.startswith("pyyaml=")]
    path.write_text(yaml.safe_dump(environment))
    status, output, jobs = snakemake(launcher, folder, f"{RESULTS}/report.html", "--force", "--rerun-triggers", "mtime")
    assert status == 1 and "Error in rule build_report" in output
    assert "ModuleNotFoundError: No module named 'yaml'" in output
    assert [script for script, _ in jobs] == ["build_report.py"]
    shutil.rmtree(folder)


@each_environment
def test_conda_reads_each_pin_as_the_locked_version_alone(path):
    rattler = pytest.importorskip("rattler", reason="needs py-rattler: pip install -r envs/requirements-conda.txt")
    from rattler.package import BuildString

    for pin in yaml.safe_load(path.read_text())["dependencies"]:
        spec = rattler.MatchSpec(pin)
        name = spec.name.normalized
        if name not in OUTSIDE_THE_LOCK:
            build = BuildString("cuda_0" if path.stem == "torch-cuda" else "cpu_0")
            locked = lock()[normal(PIP_NAMES.get(name, name))]
            for version, matches in ((locked, True), ("0", False), ("9999", False)):
                assert spec.matches(rattler.PackageRecord(name, version, build, 0, "linux-64")) == matches, pin
