"""The errors of auth. Those of /auth/token also have the member `error` of RFC 6749."""

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
    """The members that OAuth clients read (RFC 6749, section 5.2)."""
    return {"error": code, "error_description": error.detail}


class EmailTaken(Conflict):
    slug, title = "email-taken", "Email already registered"

    def __init__(self) -> None:
        super().__init__("An account with this email exists; log in instead.")


class AdminRefused(Forbidden):
    slug, title = "admin-refused", "Not allowed to register an admin"

    def __init__(self) -> None:
        super().__init__("Only an admin can register an admin: send the access token of one.")


class WrongCredentials(Unauthenticated):
    """For an unknown email and for a wrong password alike, so that nobody learns which emails have accounts."""

    slug, title = "wrong-credentials", "Wrong email or password"

    def __init__(self) -> None:
        super().__init__("The email or the password is wrong.")
        self.members = _oauth("invalid_grant", self)


class RefreshRefused(Unauthenticated):
    slug, title = "refresh-refused", "Refresh token not valid"

    def __init__(self) -> None:
        super().__init__("The refresh token is unknown, used, expired or revoked; log in again.", code="invalid_token")
        self.members = _oauth("invalid_grant", self)


class InvalidClient(Unauthenticated):
    slug, title = "invalid-client", "Wrong client id or secret"

    def __init__(self) -> None:
        super().__init__("The client id or the client secret is wrong.")
        self.headers = {"WWW-Authenticate": 'Basic realm="products-api"'}
        self.members = _oauth("invalid_client", self)


class TokenRequestRefused(BadRequest):
    """400 with a code of RFC 6749, section 5.2, as `error`."""

    slug, title = "token-request", "Token request not valid"

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.members = _oauth(error, self)


class SigningKeyUnreadable(Unavailable):
    slug, title = "signing-key", "Tokens cannot be signed"

    REMEDY = (
        "the signing key was encrypted with another SECRET_KEY: set that SECRET_KEY again, "
        "or delete the rows of auth.signing_keys to start with a new key, which invalidates all access tokens"
    )

    def __init__(self) -> None:
        # What to do is for operators, in /health and in the log.
        super().__init__("The signing key cannot be read; /auth/health says what to do.", retry_after=5)
