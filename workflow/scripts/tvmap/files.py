"""Writing files so that a killed process leaves the old one or the new one, never half of one."""

import os
from pathlib import Path


def write_atomically(path, content):
    """Replace `path` by `content` (bytes or text)."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    data = content.encode() if isinstance(content, str) else content
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
