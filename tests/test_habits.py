"""What runs before a commit and on GitHub is what runs everywhere: `make lint` and `.ci/run`."""

import re
from pathlib import Path

import yaml

import tvmap

ROOT = Path(__file__).parents[1]


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
    modules = {path.stem for path in Path(tvmap.__file__).parent.glob("*.py") if not path.stem.startswith("__")}
    assert modules - {*re.findall(r"\w+", tvmap.__doc__)} == set()
