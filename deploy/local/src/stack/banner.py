"""What is said when everything is ready."""

from stack.plan import Plan

__all__ = ["ready"]

TEXT = """
Products API is ready: {url}

  docs      {url}/docs
  products  {source}
  admin     curl -X POST {url}/auth/register -H 'Content-Type: application/json' \\
              -d '{{"email":"admin@example.com","password":"choose a long one","role":"admin"}}'
            {admin}
  stop      {stop}
"""
BUNDLED = """from the bundled stand-in of DummyJSON (offline); the live ones:
            EXTERNAL_API_URL=https://dummyjson.com/products make run"""
ADMIN = {
    "first": "(the first admin only; later ones by an admin's token)",
    "open": "(anybody may: ADMIN_REGISTRATION=open)",
    "never": "(refused now: ADMIN_REGISTRATION=never)",
}


def ready(plan: Plan, *, background: bool) -> str:
    """The banner: where it is, where products come from, how to become admin, how to stop."""
    admission = plan.settings.environment.get("ADMIN_REGISTRATION") or "first"
    return TEXT.format(
        url=plan.gateway_url.replace("127.0.0.1", "localhost"),
        source=f"from {plan.settings.external_api_url}" if plan.settings.external_api_url else BUNDLED,
        admin=ADMIN.get(admission, ""),
        stop="make stop   (logs: make logs, processes: make status)" if background else "Ctrl-C",
    )
