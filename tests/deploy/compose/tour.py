"""Inner paths stay inside, and the README's tour goes through."""

from tests.deploy.compose.project import Project
from tests.deploy.hidden_paths import check_hidden_paths
from tests.deploy.readme import check_tour

__all__ = ["tour"]

PART = "tour"


def tour(project: Project) -> None:
    """The tour makes the admin that other scenarios log in as."""
    check_hidden_paths(project.report, PART, project.client, "the gateway of compose")
    check_tour(project.report, PART, project.client, "the gateway of compose")
