"""Fingerprint of the code a script runs: its own and that of the modules beside it that it imports."""

import ast
import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .files import PathLike

Imports = list[tuple[str, int]]  # names, and the numbers of dots before them


def code_version(script_path: PathLike) -> str:
    """Return 12 hexadecimal digits that change with the code of a script or of a module it imports, at any depth.

    Comments, docstrings and layout do not count. Imports within functions do; imported libraries do not.
    """
    digest = hashlib.sha256()
    for name, path in sorted(local_modules(script_path).items()):
        code, _ = _parsed(path)
        digest.update(f"{name}\n{code}\n".encode())
    return digest.hexdigest()[:12]


@functools.cache
def code_version_once(script_path: PathLike) -> str:
    """The same, of the code as it was when this process first asked: a study and each of its variants ask for it."""
    return code_version(script_path)


def common_version(script_paths: Iterable[Path], version: Callable[[Path], str] = code_version) -> str:
    """One such fingerprint of several scripts, in whatever order they are given."""
    return hashlib.sha256("".join(map(version, sorted(script_paths))).encode()).hexdigest()[:12]


def local_modules(script_path: PathLike) -> dict[str, Path]:
    """Return {name: path} of a script and of all modules of its folder that it imports, directly or through others.

    The script's own name is "__main__". Packages are named as they are imported, such as `tvmap` and `tvmap.images`.
    """
    script_path = Path(script_path)
    found = {"__main__": script_path}
    waiting, beside, seen = ["__main__"], {path.stem for path in script_path.parent.iterdir()}, set()
    while waiting:
        importer = waiting.pop()
        is_package = found[importer].name == "__init__.py"
        package = importer if is_package else importer.rpartition(".")[0]
        _, imports = _parsed(found[importer])
        for module in (_absolute(name, level, package) for name, level in imports):
            if module[0] not in beside:  # a library: not worth a look for its files
                continue
            # Importing a.b.c runs a and a.b as well.
            for name in {module[: end + 1] for end in range(len(module))} - seen:
                seen.add(name)
                if path := _file(script_path.parent, name):
                    found[".".join(name)] = path
                    waiting.append(".".join(name))
    return found


def _file(folder: Path, name: Sequence[str]) -> Path | None:
    path = folder.joinpath(*name)
    return next((p for p in (path / "__init__.py", path.with_name(path.name + ".py")) if p.is_file()), None)


def _absolute(name: str, level: int, package: str) -> tuple[str, ...]:
    """Parts of a module's absolute name; `level` dots lead from `package` to its parents."""
    base = package.split(".")[: len(package.split(".")) - level + 1] if level else []
    return (*base, *name.split("."))


def _parsed(path: Path) -> tuple[str, Imports]:
    return _parsed_text(path.read_text(encoding="utf-8"), str(path))


@functools.cache
def _parsed_text(text: str, path: str) -> tuple[str, Imports]:
    """Code of a module as text that only the code changes, and its imports as (name, number of leading dots)."""
    tree = ast.parse(text, path)
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from a import b` may name the module a.b or an object in a: what has no file is left out later.
            prefix = f"{node.module}." if node.module else ""
            imports += [(prefix + alias.name, node.level) for alias in node.names]
    return _dump(tree), imports


def _dump(node: object) -> str:
    """Text of a syntax tree without docstrings and positions, the same whatever new optional fields Python adds."""
    if isinstance(node, list):
        return f"[{','.join(map(_dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and _has_docstring(node):
        fields["body"] = node.body[1:]
    shown = [f"{name}={_dump(value)}" for name, value in fields.items() if value is not None and value != []]
    return f"{type(node).__name__}({','.join(shown)})"


def _has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
