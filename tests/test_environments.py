"""One set of versions in the pip lock, the conda environments and the Snakefile; each has what its rules need."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
import yaml
from conda_stand_in import CONDA_NAMES, normal
from smoke import ROOT

from tvmap import machine
from tvmap.fingerprint import local_modules

ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
DISTRIBUTIONS = packages_distributions()
NEVER_IMPORTED = {"tqdm"}  # pooch finds it for its progress bar
FOR_WHO_WANTS_IT = {"bm3d", "wandb"}
NOT_NAMED = {"triton", *FOR_WHO_WANTS_IT}  # PyTorch's CUDA build brings Triton along
OUTSIDE_THE_LOCK = {"python", "gcc"}  # gcc: Triton compiles its launcher with it

each_environment = pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)


def lock():
    lines = (ROOT / "envs/requirements.txt").read_text().splitlines()
    pins = [line.split(";")[0].split("==") for line in lines if not line.startswith("#")]
    return {normal(name): version for name, version in pins}


def conda_pins(path):
    """{name: version} of a conda environment, without build strings and without what no lock holds."""
    pins = [pin.split("=") for pin in yaml.safe_load(path.read_text())["dependencies"]]
    return {name: version for name, version, *_ in pins if name not in OUTSIDE_THE_LOCK}


def direct_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    names = project["dependencies"] + extras["study"] + extras["test"]
    return {normal(re.match(r"[\w.-]+", name)[0]) for name in names}


def scripts_by_environment():
    """{environment: scripts} as the rules name them; every rule with a script names an environment."""
    found = {}
    for rules in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for rule in re.split(r"^\s*(?:rule|checkpoint) ", rules.read_text(), flags=re.MULTILINE)[1:]:
            scripts, environments = (directive_files(rule, name) for name in ("script", "conda"))
            assert environments or not scripts, f"{rules.name}: {rule.splitlines()[0]} has no conda environment"
            for environment in environments:
                found.setdefault((rules.parent / environment).resolve(), set()).update(
                    (rules.parent / script).resolve() for script in scripts
                )
    for scripts in found.values():  # draw_figure.py imports the script of a figure by its name
        if ROOT / "workflow/scripts/draw_figure.py" in scripts:
            scripts.update((ROOT / "workflow/scripts").glob("draw_*.py"))
    return found


def directive_files(rule, name):
    """Files that the directive `name` of a rule or a constant in it has in quotes, more than one under a condition."""
    match = re.search(rf"^( +){name}:(.*(?:\n\1 +.*)*)", rule, flags=re.MULTILINE)
    text = match[2] if match else ""
    for constant in re.findall(r"\b[A-Z_]+\b", text):
        for rules in (ROOT / "workflow/rules").glob("*.smk"):
            text += "".join(re.findall(rf"^{constant} = (.*(?:\n[ )].*)*)", rules.read_text(), flags=re.MULTILINE))
    return re.findall(r"""["']([^"']+\.(?:py|yaml))["']""", text)


def third_party(script):
    """{module: package} of what a script imports from installed packages, itself or through the modules beside it."""
    not_installed = {*sys.stdlib_module_names, *(name.split(".")[0] for name in local_modules(script))}
    modules = set()
    for path in local_modules(script).values():
        for node in imports(ast.parse(path.read_text())):
            modules |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else {node.module}
    tops = {module: module.split(".")[0] for module in modules}
    return {
        module: normal(DISTRIBUTIONS.get(top, [top])[0]) for module, top in tops.items() if top not in not_installed
    }


def imports(node):
    """Absolute imports in a syntax tree that run, so none below `if TYPE_CHECKING`."""
    if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level):
        yield node
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        children = node.orelse
    for child in children:
        yield from imports(child)


def gaps(path, pins):
    """What scripts import that `pins` of their environment lack, script by script, and what no script imports."""
    packages = {script.name: set(third_party(script).values()) for script in scripts_by_environment()[path]}
    needed = {script: {CONDA_NAMES.get(name, name) for name in names - NOT_NAMED} for script, names in packages.items()}
    missing = {script: names - set(pins) for script, names in needed.items() if names - set(pins)}
    return missing, set(pins) - NEVER_IMPORTED - set().union(*needed.values())


def test_lock_is_exact_and_sorted_and_holds_every_direct_dependency():
    lines = [line for line in (ROOT / "envs/requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*(; .+)?", line) for line in lines)
    assert lines == sorted(lines, key=str.lower)
    assert direct_dependencies() <= set(lock())


def test_every_import_of_a_script_is_a_direct_dependency():
    scripts = (ROOT / "workflow/scripts").glob("*.py")
    imported = {name for script in scripts for name in third_party(script).values()}
    assert imported - FOR_WHO_WANTS_IT <= direct_dependencies()


@each_environment
def test_conda_pins_equal_the_lock(path):
    names = {conda: pip for pip, conda in CONDA_NAMES.items()}
    pins = conda_pins(path)
    assert pins == {name: lock()[normal(names.get(name, name))] for name in pins}


@each_environment
def test_conda_takes_one_channel_and_a_python_that_the_package_allows(path):
    environment = yaml.safe_load(path.read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"python={project['requires-python'].removeprefix('>=')}" in environment["dependencies"]


def test_cuda_environment_has_the_pins_of_the_other():
    """It serves fewer rules, so it may hold less; its PyTorch is the CUDA build, and Triton finds a C compiler."""
    cuda, cpu = conda_pins(ROOT / "envs/torch-cuda.yaml"), conda_pins(ROOT / "envs/torch.yaml")
    assert cuda.items() <= cpu.items()
    text = (ROOT / "envs/torch-cuda.yaml").read_text()
    assert "pytorch=" + cuda["pytorch"] + "=cuda*" in text and "- gcc=" in text


@each_environment
def test_conda_environment_holds_what_its_rules_import_and_no_more(path):
    assert gaps(path, conda_pins(path)) == ({}, set())


def test_a_package_too_few_or_too_many_is_found():
    pins = conda_pins(ROOT / "envs/data.yaml")
    del pins["pooch"]
    assert gaps(ROOT / "envs/data.yaml", pins | {"scipy": "1"}) == ({"retrieve_archive.py": {"pooch"}}, {"scipy"})


def test_imports_are_found_in_other_modules_and_in_functions_but_not_for_type_checkers(tmp_path):
    (tmp_path / "script.py").write_text("import json\nfrom helper import act\n")
    helper = "def act():\n    import yaml.nodes\n\nif typing.TYPE_CHECKING:\n    import torch\n"
    (tmp_path / "helper.py").write_text(helper)
    assert third_party(tmp_path / "script.py") == {"yaml.nodes": "pyyaml"}


def test_snakefile_asks_for_the_locked_snakemake():
    rules = (ROOT / "workflow/rules/common.smk").read_text()
    minimum = re.search(r"""min_version\(["']([0-9.]+)["']\)""", rules)[1].split(".")
    assert lock()["snakemake"].split(".")[: len(minimum)] == minimum


def test_readme_says_why_for_each_direct_dependency():
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    named = {normal(name) for row in rows for name in re.findall(r"[\w.-]+", row.split("|")[1])}
    assert direct_dependencies() <= named


def test_what_the_numbers_depend_on_is_found_by_the_name_of_its_import():
    """Provenance names the versions of what each job had imported."""
    installed = machine.versions(machine.PACKAGES.values())
    assert set(installed) >= {"python", *machine.PACKAGES} - {"bm3d"}  # BM3D need not be there
    for package in set(installed) - {"python", "bm3d"}:
        assert package in map(normal, DISTRIBUTIONS[machine.PACKAGES[package]])
        assert installed[package].startswith(lock()[package])  # torch's also says for which processor
    assert machine.versions({"numpy", "PIL"}) == {name: installed[name] for name in ("python", "numpy", "pillow")}
