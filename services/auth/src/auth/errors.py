"""Auth's own errors. Those of /auth/token also carry the `error` member of RFC 6749."""

from common.web.errors import ApiError, BadRequest, Conflict, Forbidden, Unauthenticated, Unavailable

__all__ = [
    "AdminRefused",
    "EmailTaken",
    "InvalidClient",
    "RefreshRefused",
    "SigningKeyUnreadable",
    "TokenRequestRefused",
    "WrongCredentials",
]


def _oauth(code: str, error: ApiError) -> dict[str, str]:
    """The members that clients of RFC 6749 read (section 5.2)."""
    return {"error": code, "error_description": error.detail}


class EmailTaken(Conflict):
    slug, title = "email-taken", "Email already registered"

    def __init__(self) -> None:
        super().__init__("There is an account with this email; log in instead.")


class AdminRefused(Forbidden):
    slug, title = "admin-refused", "Not allowed to register an admin"

    def __init__(self) -> None:
        super().__init__("Only an admin can register an admin here: send an admin's access token.")


class WrongCredentials(Unauthenticated):
    """The same for an unknown email and for a wrong password."""

    slug, title = "wrong-credentials", "Wrong email or password"

    def __init__(self) -> None:
        super().__init__("The email or the password is wrong.")
        self.members = _oauth("invalid_grant", self)


class RefreshRefused(Unauthenticated):
    slug, title = "refresh-refused", "Refresh token not valid"

    def __init__(self) -> None:
        super().__init__("The refresh token is unknown, used, expired or revoked; log in anew.", code="invalid_token")
        self.members = _oauth("invalid_grant", self)


class InvalidClient(Unauthenticated):
    slug, title = "invalid-client", "Wrong client id or secret"

    def __init__(self) -> None:
        super().__init__("The client id or the client secret is wrong.")
        self.headers = {"WWW-Authenticate": 'Basic realm="products-api"'}
        self.members = _oauth("invalid_client", self)


class TokenRequestRefused(BadRequest):
    """400 of RFC 6749 section 5.2; `error` is its code."""

    slug, title = "token-request", "Token request not valid"

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.members = _oauth(error, self)


class SigningKeyUnreadable(Unavailable):
    slug, title = "signing-key", "Tokens cannot be signed"

    REMEDY = (
        "SECRET_KEY is not the one that wrapped the signing key: set that SECRET_KEY again, "
        "or delete the rows of auth.signing_keys to begin with a new key, which ends all access tokens"
    )

    def __init__(self) -> None:
        # The remedy is for operators: /health and the log have it.
        super().__init__("The signing key cannot be read; the operator finds the remedy at /health.", retry_after=5)
