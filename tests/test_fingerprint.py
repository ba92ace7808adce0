"""The code version follows code, through imports of every form, and nothing else."""

import ast

import pytest

from tvmap.fingerprint import code_version, common_version, local_modules

SCRIPT = '''"""What the script does."""
import numpy
from tvmap import first

def main(path):
    """Say what it does."""
    return first.double(path)  # twice
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tvmap").mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "tvmap/__init__.py").write_text("")
    (tmp_path / "tvmap/first.py").write_text("from .second import FACTOR\n\ndef double(x):\n    return FACTOR * x\n")
    (tmp_path / "tvmap/second.py").write_text("FACTOR = 2\n")
    (tmp_path / "tvmap/unrelated.py").write_text("FACTOR = 2\n")
    return tmp_path


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_is_twelve_hexadecimal_digits_and_independent_of_the_place(folder, tmp_path_factory):
    version = code_version(folder / "script.py")
    assert len(version) == 12 and int(version, 16) >= 0
    copy = tmp_path_factory.mktemp("copy") / "moved"
    folder.rename(copy)
    assert code_version(copy / "script.py") == version


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # twice", ""),
        ("What the script does.", "Other words."),
        ('    """Say what it does."""\n', ""),
        ("\ndef", "\n\n\ndef"),
        ("double(path)", "double(\n        path\n    )"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(folder, old, new):
    version = code_version(folder / "script.py")
    replace(folder / "script.py", old, new)
    assert code_version(folder / "script.py") == version


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("script.py", "first.double", "first.triple"),
        ("tvmap/first.py", "FACTOR * x", "FACTOR + x"),
        ("tvmap/second.py", "2", "3"),
        ("tvmap/second.py", "2", "2.0"),
        ("tvmap/second.py", "2", "None"),
        ("tvmap/__init__.py", "", "import os\n"),
    ],
)
def test_code_counts_at_any_depth(folder, name, old, new):
    version = code_version(folder / "script.py")
    replace(folder / name, old, new)
    assert code_version(folder / "script.py") != version


def test_string_that_is_no_docstring_counts(folder):
    (folder / "tvmap/second.py").write_text('FACTOR = "a"\n"b"\n')
    version = code_version(folder / "script.py")
    replace(folder / "tvmap/second.py", '"a"', '"c"')
    assert code_version(folder / "script.py") != version


def test_module_that_is_not_imported_does_not_count(folder):
    version = code_version(folder / "script.py")
    replace(folder / "tvmap/unrelated.py", "2", "3")
    assert code_version(folder / "script.py") == version


@pytest.mark.parametrize(
    "form",
    [
        "from tvmap import second",
        "from tvmap import unrelated, second",
        "from tvmap import second as _",
        "from tvmap.second import FACTOR",
        "from tvmap.second import FACTOR as _factor",
        "from tvmap.second import *",
        "import tvmap.second",
        "import os, tvmap.second as _second",
        "from tvmap import (\n    second,\n)",
        "def late():\n    from tvmap import second",
        "try:\n    import tvmap.second\nexcept ImportError:\n    pass",
    ],
)
def test_every_form_of_import_is_followed(folder, form):
    (folder / "script.py").write_text(form + "\n")
    assert "tvmap.second" in local_modules(folder / "script.py")


@pytest.mark.parametrize("form", ["from . import second", "from .second import *", "from .second import FACTOR as _"])
def test_relative_imports_are_followed(folder, form):
    (folder / "tvmap/first.py").write_text(form + "\n")
    assert set(local_modules(folder / "script.py")) == {"__main__", "tvmap", "tvmap.first", "tvmap.second"}


def test_packages_and_their_parents_are_followed(folder):
    (folder / "tvmap/inner").mkdir()
    (folder / "tvmap/inner/__init__.py").write_text("from .deep import x\n")
    (folder / "tvmap/inner/deep.py").write_text("from .. import second\nfrom ..unrelated import FACTOR\nx = 1\n")
    (folder / "script.py").write_text("from tvmap.inner import x\n")
    assert set(local_modules(folder / "script.py")) == {
        "__main__",
        "tvmap",
        "tvmap.inner",
        "tvmap.inner.deep",
        "tvmap.second",
        "tvmap.unrelated",
    }


def test_cycles_end(folder):
    (folder / "tvmap/second.py").write_text("from . import first\nFACTOR = 2\n")
    version = code_version(folder / "script.py")
    replace(folder / "tvmap/second.py", "2", "3")
    assert code_version(folder / "script.py") != version


def test_several_scripts_have_one_version_in_any_order_and_the_code_of_each_counts(folder):
    paths = [folder / "script.py", folder / "tvmap/second.py"]
    version = common_version(paths)
    assert version == common_version(reversed(paths)) != common_version(paths[:1])
    replace(folder / "script.py", "  # twice", "")
    assert common_version(paths) == version
    (folder / "tvmap/second.py").write_text("FACTOR = 3\n")
    assert common_version(paths) != version


def test_syntax_error_names_its_file(folder):
    (folder / "tvmap/second.py").write_text("FACTOR = \n")
    with pytest.raises(SyntaxError) as caught:
        code_version(folder / "script.py")
    assert caught.value.filename == str(folder / "tvmap/second.py")


def test_fields_that_a_newer_python_adds_do_not_count(folder, monkeypatch):
    version = code_version(folder / "script.py")
    monkeypatch.setattr(ast.FunctionDef, "_fields", (*ast.FunctionDef._fields, "new_list", "new_option"))
    monkeypatch.setattr(ast.FunctionDef, "new_list", [], raising=False)
    monkeypatch.setattr(ast.FunctionDef, "new_option", None, raising=False)
    replace(folder / "script.py", "  # twice", "")
    assert code_version(folder / "script.py") == version
