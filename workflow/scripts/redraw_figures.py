"""Draw every figure of a finished study again from its tables: no data, no training.

python workflow/scripts/redraw_figures.py results/reference/xray-fast
"""

import argparse
import importlib
import sys
from pathlib import Path

from tvmap import figures, provenance
from tvmap.errors import StudyError
from tvmap.files import writing


def main(folder, output=None):
    """Draw into `output` (default: `folder`/figures) what the files of `folder` allow; return the names drawn.

    `folder` is results/<study> or a published copy of it. The settings come from the config in its provenance.json.
    A figure whose files are not all there is left out with one line that says which are missing.
    """
    folder = Path(folder)
    output = Path(output or folder / "figures")
    config = provenance.read(folder / "provenance.json")["config"]
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, figure in figures.figures(config).items():
        inputs = {argument: folder / path for argument, path in figure.inputs.items()}
        missing = [str(path.relative_to(folder)) for path in inputs.values() if not path.is_file()]
        if missing:
            print(f"{name}: left out, {', '.join(missing)} is not in {folder}")
            continue
        draw = importlib.import_module(figure.script).main
        draw(**inputs, png_path=output / f"{name}.png", pdf_path=output / f"{name}.pdf", **figure.settings)
        drawn.append(name)
    print(f"{len(drawn)} figures drawn in {output}")
    return drawn


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="folder of a study: results/<study> or a published copy of it")
    parser.add_argument("--output", help="where to put the figures (default: figures/ in the folder)")
    arguments = parser.parse_args()
    try:
        main(arguments.folder, arguments.output)
    except StudyError as error:
        sys.exit(f"error: {error}")
