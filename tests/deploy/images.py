"""The product's images, built from this tree or from one that a test has changed."""

import shutil
import tempfile
from pathlib import Path

import yaml

from tests.deploy.commands import ROOT, run

__all__ = ["REPOSITORIES", "build", "build_releases", "repositories"]


def repositories(folder: Path) -> dict[str, str]:
    """The images of a tree's chart, and the target of its deploy/Dockerfile that each is built from."""
    artifacts = yaml.safe_load((folder / "skaffold.yaml").read_text("utf-8"))["build"]["artifacts"]
    return {it["image"]: it["custom"]["buildCommand"].rpartition(" ")[2] for it in artifacts}


REPOSITORIES = repositories(ROOT)
MIGRATION = '''"""Something more, as every release brings."""

import sqlalchemy as sa
from alembic import op

revision = "{new:04d}"
down_revision = "{old:04d}"


def upgrade() -> None:
    op.add_column("{table}", sa.Column("test_note", sa.Text), schema="{schema}")


def downgrade() -> None:
    op.drop_column("{table}", "test_note", schema="{schema}")
'''
TABLES = {"auth": "users", "catalog": "products", "sync": "runs"}


def build(repository: str, tag: str, folder: Path = ROOT) -> str:
    """Build one image; its name."""
    name, file = f"{repository}:{tag}", f"{folder}/deploy/Dockerfile"
    command = ["docker", "build", "--quiet", "--file", file, "--target", repositories(folder)[repository]]
    run(*command, "--build-arg", f"VERSION={tag}", "--tag", name, str(folder), timeout=600)
    return name


def build_releases(first: str, second: str) -> list[str]:
    """All images with the tag `first`; the services' once more as `second`, with a migration more in each of them."""
    images = [build(repository, first) for repository in REPOSITORIES]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tree"
        copy_tree(folder)
        for service, table in TABLES.items():
            add_migration(folder / f"services/{service}/src/{service}/migrations/versions", table, schema=service)
        images.append(build("products-api", second, folder))
    for repository in REPOSITORIES.keys() - {"products-api"}:
        run("docker", "tag", f"{repository}:{first}", f"{repository}:{second}")
        images.append(f"{repository}:{second}")
    return images


def copy_tree(folder: Path) -> None:
    """What git knows of the working tree."""
    for name in filter(None, run("git", "ls-files", "-z").split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, folder / name)


def add_migration(versions: Path, table: str, schema: str) -> None:
    old = max(int(path.name[:4]) for path in versions.glob("[0-9]*.py"))
    text = MIGRATION.format(new=old + 1, old=old, table=table, schema=schema)
    (versions / f"{old + 1:04d}_note.py").write_text(text, "utf-8")
