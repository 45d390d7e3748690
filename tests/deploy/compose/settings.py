"""One variable leads to the live source, another to another port."""

from tests.deploy.compose.project import Project

__all__ = ["settings"]

PART = "settings"
READERS = ("sync-api", "sync-worker", "sync-scheduler")


def settings(project: Project) -> None:
    """As compose reads its file; nothing is started."""
    default, live = "http://dummyjson:8080/products", "https://dummyjson.com/products"
    for url, services in ((default, project.config()), (live, project.config(EXTERNAL_API_URL=live))):
        used = {service["environment"].get("EXTERNAL_API_URL") for name, service in services.items() if name in READERS}
        project.report.check(PART, "source" + (" by EXTERNAL_API_URL" if url == live else ""), {url}, used)
    published = project.config(PORT="18080")["gateway"]["ports"][0]
    seen = f"{published['host_ip']}:{published['published']}"
    project.report.check(PART, "port by PORT", "127.0.0.1:18080", seen)
