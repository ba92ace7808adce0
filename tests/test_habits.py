"""What runs before a commit and on GitHub is what runs everywhere: `make lint` and `.ci/run`."""

import re
import shutil
import subprocess
from pathlib import Path

import yaml
from smoke import ROOT

import tvmap


def recipes():
    """{target of the Makefile: lines of its recipe}"""
    found = re.findall(r"^([\w-]+):[^\n]*\n((?:\t[^\n]*\n)+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    return {target: [line.strip() for line in lines.splitlines()] for target, lines in found}


def test_github_runs_what_runs_everywhere():
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step and not step["run"].startswith("git config")]
    assert commands == ["bash .ci/run"]
    assert "--privileged" in job["container"]["options"], "test_faults mounts small disks"
    assert job["timeout-minutes"] == 90


def test_every_target_of_tests_is_called():
    script = (ROOT / ".ci/run").read_text()
    called = re.findall(r"^ *make (test[\w-]*)", script, flags=re.MULTILINE)
    assert {*called} == {target for target in recipes() if target.startswith("test")}
    assert "export TVMAP_CI=1\n" in script.split("make ")[0], "nothing is skipped anywhere but what needs a GPU"


def test_before_a_commit_make_lint_runs():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [(hook["entry"], hook["pass_filenames"]) for hook in repository["hooks"]] == [("make lint", False)]
    tools = [line.split()[0] for line in recipes()["lint"]]
    assert {"ruff", "snakefmt", "mypy", "snakemake"} == {*tools}
    assert "test: lint" in (ROOT / "Makefile").read_text(), "and before the tests"


def test_the_package_says_where_each_module_is():
    """In two columns of modules, each with what is in it, and in lists of them with a name in front."""
    modules = sorted(path.stem for path in Path(tvmap.__file__).parent.glob("*.py") if not path.stem.startswith("__"))
    columns, lists = (
        [line.strip() for line in block.splitlines()]
        for block in tvmap.__doc__.split("\n\n")
        if re.match(r" {4}\w+( \w+)?  ", block)
    )
    named = [name for line in columns for name in re.fullmatch(r"(\w+) +\S+(?: \S+)* {2,}(\w+) +\S.*", line).groups()]
    parts = [part.partition(":")[0] for line in lists for part in re.split(" {2,}", line)[1].split(";")]
    named += [name.split()[0] for part in parts for name in re.split(", | and ", part)]
    assert sorted(named) == modules


def test_a_study_that_is_not_there_is_said_by_make(tmp_path):
    """Before Snakemake is called; of several the one that is missing."""
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    shutil.copytree(ROOT / "workflow/studies", tmp_path / "workflow/studies")
    for path in ("envs/requirements.txt", ".venv/built"):  # in this order: the environment is up to date
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    command = ["make", "--no-print-directory", "study", "STUDY=xray-tgv nowhere"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and "make: STUDY=nowhere is not in workflow/studies; there are: diss" in run.stderr
    assert "quickstart" in run.stderr and "snakemake" not in run.stdout
