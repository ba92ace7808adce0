"""A stand-in for conda: the calls that Snakemake makes, answered by the solver and the installer of rattler.

Its channel is made on the spot: Python, and the installed packages of the pip lock, each with the dependencies that its
wheel states. So an environment file is truly parsed, solved, installed and activated, and an environment lacks what
nobody asked for. Whether conda-forge has these versions, and what else its builds bring along, only a real conda can
tell; nor can it make `torch-cuda.yaml`, whose builds of PyTorch and gcc are no wheels.

    python tests/conda_stand_in.py FOLDER install PACKAGE...    a conda in FOLDER, these packages of PyPI in its channel
    FOLDER/bin/conda ...                                        what Snakemake calls
"""

import asyncio
import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

import yaml

# conda-forge's names where they differ from PyPI's: its matplotlib brings Qt along, its seaborn statsmodels.
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "seaborn": "seaborn-base"}
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n'


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def install(folder, names):
    """Make `folder` the prefix of a conda whose channel has the packages `names` of PyPI and what they need."""
    (folder / "bin").mkdir(parents=True)
    conda = folder / "bin/conda"
    conda.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "{folder}" "$@"\n')
    conda.chmod(0o755)
    (folder / "bin/activate").write_text(ACTIVATE)
    make_channel(folder / "channel", names)


def make_channel(folder, names):
    from rattler import Subdir
    from rattler.index import index_fs

    packages = folder / str(Subdir.current())
    for subfolder in (packages, folder / "noarch"):
        subfolder.mkdir(parents=True)
    relative, interpreter = python_files()
    write_package(packages, "python", sys.version.split()[0], [], interpreter)
    waiting, done = [normal(name) for name in names], set()
    while waiting:
        name = waiting.pop()
        if name not in done:
            done.add(name)
            distribution = importlib.metadata.distribution(name)
            needed = list(requirements(distribution))
            waiting += [normal(requirement.name) for requirement in needed]
            depends = [f"python {PYTHON}.*", *sorted({spec(requirement) for requirement in needed})]
            files = {f"{relative}/{file}": file.locate() for file in distribution.files if ".." not in file.parts}
            version = distribution.version.partition("+")[0]  # torch==2.13.0+cpu
            write_package(packages, CONDA_NAMES.get(name, name), version, depends, files)
    asyncio.run(index_fs(folder))


def python_files():
    """Where an environment has its packages, and {path in it: path here} of the interpreter and its library."""
    base, library = Path(sys.base_prefix), Path(sysconfig.get_path("stdlib"))
    files = {"bin/python": Path(sys._base_executable).resolve()}
    files |= {f"lib/{path.name}": path for path in (base / "lib").glob("libpython*.so.*")}
    for folder, folders, names in os.walk(library):
        folders[:] = [name for name in folders if name not in ("site-packages", "dist-packages", "test")]
        files |= {str((Path(folder) / name).relative_to(base)): Path(folder) / name for name in names}
    ask = [sys._base_executable, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    return Path(packages).relative_to(base), files


def requirements(distribution, extras=()):
    """What an installed package says it needs on this machine, extras of what it needs included."""
    from packaging.requirements import Requirement

    for requirement in map(Requirement, distribution.requires or []):
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement
            if requirement.extras:
                yield from requirements(importlib.metadata.distribution(requirement.name), requirement.extras)


def spec(requirement):
    name = normal(requirement.name)
    return f"{CONDA_NAMES.get(name, name)} {requirement.specifier}".strip()


def write_package(folder, name, version, depends, files):
    """Write a package in conda's format; `files`: {path in the environment: path here}."""
    import zstandard

    build = "wheel_0"
    full_name = f"{name}-{version}-{build}"
    index = {"name": name, "version": version, "build": build, "build_number": 0, "depends": depends}
    index["subdir"] = folder.name
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "size_in_bytes": source.stat().st_size,
        }
        for path, source in files.items()
    ]
    information = {"index.json": index, "paths.json": {"paths": paths, "paths_version": 1}}
    with zipfile.ZipFile(folder / f"{full_name}.conda", "w") as archive, tempfile.TemporaryDirectory() as temporary:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        for file, content in information.items():
            (Path(temporary) / file).write_text(json.dumps(content))
        parts = {"pkg": files, "info": {f"info/{file}": Path(temporary) / file for file in information}}
        for part, members in parts.items():
            with (
                archive.open(f"{part}-{full_name}.tar.zst", "w", force_zip64=True) as file,
                zstandard.ZstdCompressor(level=1).stream_writer(file) as compressed,
                tarfile.open(fileobj=compressed, mode="w|", dereference=True) as tar,
            ):
                for path, source in members.items():
                    tar.add(source, path)


async def create(folder, file, prefix):
    """Make the environment of a file in the new folder `prefix`."""
    import rattler

    environment = yaml.safe_load(Path(file).read_text())
    if environment["channels"] != ["conda-forge", "nodefaults"]:
        sys.exit(f"conda stand-in: {file}: the only channel it can take the place of is conda-forge")
    platforms = [rattler.Subdir.current(), rattler.Subdir("noarch")]
    channel = (folder / "channel").as_uri()
    try:
        records = await rattler.solve([channel], environment["dependencies"], platforms=platforms)
    except rattler.exceptions.SolverError as error:
        sys.exit(f"conda stand-in: {file}: {error}")
    await rattler.install(records, prefix, cache_dir=folder / "cache", show_progress=False)


def main(folder, *arguments):
    match arguments:
        case ["--version"]:
            print("conda 24.7.1")  # the oldest that Snakemake takes
        case ["info", "--json"]:
            import rattler

            print(json.dumps({"conda_prefix": folder, "platform": str(rattler.Subdir.current())}))
        case ["config", "--get", "channel_priority", "--json"]:
            print('{"get": {"channel_priority": "strict"}}')
        case ["env", "create", "--quiet", "--no-default-packages", "--file", file, "--prefix", prefix]:
            asyncio.run(create(Path(folder), file, prefix))
        case ["clean", "-y", "--tarballs"]:
            pass  # rattler keeps none
        case ["install", *names]:
            install(Path(folder), names)
        case _:
            sys.exit(f"conda stand-in: no answer to `conda {' '.join(arguments)}`; add it to tests/conda_stand_in.py")
    sys.stdout.flush()
    os._exit(0)  # a thread of rattler's may outlive the interpreter and crash it in its last moment


if __name__ == "__main__":
    main(*sys.argv[1:])
