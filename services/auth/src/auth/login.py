"""The decisions: who may log in, who stays logged in, and what token each gets."""

import base64
import hashlib
import hmac
import logging
import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from auth import sessions, users
from auth.emails import Email
from auth.errors import InvalidClient, RefreshRefused, WrongCredentials
from auth.keyring import KeyRing
from auth.limits import Limits
from auth.models import RefreshToken, User
from auth.passwords import Passwords
from auth.schemas import ServiceTokenOut, TokenOut
from auth.settings import AuthSettings
from common.web.database import Database
from common.web.errors import TooManyRequests
from common.web.tokens import AccessToken, Client, Role, Scope

__all__ = ["Login", "hash_token"]

log = logging.getLogger(__name__)
LOGINS = Counter("products_auth_logins", "Logins by outcome: passed, refused, throttled.", ["outcome"])
REFRESHES = Counter(
    "products_auth_refreshes", "Refreshes by outcome: rotated, repeated, reused, refused, throttled.", ["outcome"]
)
SERVICE_TOKEN_SECONDS = 300
GRACE, MINUTE = timedelta(seconds=10), timedelta(minutes=1)
REFRESHES_PER_MINUTE = 10
# Of one user at a time; and how long one may be refreshed, unless REFRESH_TOKEN_DAYS is longer.
SESSIONS, SESSION_LIFETIME = 20, timedelta(days=90)


class Login:
    """Logging in, staying logged in, and tokens for services."""

    def __init__(
        self, settings: AuthSettings, db: Database, keyring: KeyRing, passwords: Passwords, limits: Limits
    ) -> None:
        self._settings = settings
        self._db = db
        self._keyring = keyring
        self._passwords = passwords
        self._limits = limits
        self._lifetime = timedelta(days=settings.refresh_token_days)
        secret = settings.secret_key.get_secret_value().encode()
        self._successor_key = hmac.digest(secret, b"successors of refresh tokens", "sha256")

    async def admit(self, email: Email, password: str, address: str) -> User:
        """The user whose email and password these are; raises WrongCredentials or TooManyRequests."""
        try:
            await self._limits.before_login(email.key, address)
            await self._keyring.require_signer()
            user = await self._prove(email, password, address)
            await self._limits.after_login(email.key, address, passed=user is not None)
        except TooManyRequests:
            LOGINS.labels("throttled").inc()
            raise
        LOGINS.labels("passed" if user else "refused").inc()
        if user is None:
            raise WrongCredentials
        return user

    async def _prove(self, email: Email, password: str, address: str) -> User | None:
        # The connection goes back before the hashing: none is held over it.
        async with self._db.read_session() as db:
            user = await users.find_by_email(db, email)
        known = user.password_hash if user else None
        right = await self._passwords.verify(password, known, account=email.key, address=address)
        return user if right else None

    async def open_session(self, db: AsyncSession, user: User) -> TokenOut:
        """A new session of `user`, with its first pair of tokens. Beyond SESSIONS the oldest one ends."""
        session_id = await sessions.add(db, user.id, expires_at=datetime.now(UTC) + self._lifetime)
        await sessions.end_oldest(db, user.id, keep=SESSIONS)
        refresh_token = secrets.token_urlsafe(32)
        await sessions.add_token(db, session_id, hash_token(refresh_token))
        return await self._pair(user, session_id, refresh_token)

    async def refresh(self, presented: str, now: datetime | None = None) -> TokenOut:
        """A new pair for a refresh token, which is thereby used.

        Used once more within 10 s it gives the same successor, since an answer may have been lost on its way.
        Later, or once the successor is used, one of the two is stolen: then the whole session ends, and stays
        ended although this raises.
        """
        async with self._db.transaction() as db:
            pair = await self._rotate(db, presented, now or datetime.now(UTC))
        if pair is None:
            raise RefreshRefused
        return pair

    async def _rotate(self, db: AsyncSession, presented: str, now: datetime) -> TokenOut | None:
        found = await sessions.find_locked(db, hash_token(presented))
        if found is None or found[1].revoked_at or found[1].expires_at <= now:
            REFRESHES.labels("refused").inc()
            return None
        token, session, user = found
        successor = self._successor(presented)
        outcome = await self._use(db, token, successor, now)
        REFRESHES.labels(outcome).inc()
        if outcome == "reused":
            log.warning("a used refresh token came again: its session is ended", extra={"user_id": str(user.id)})
            await sessions.revoke(db, session.id)
            return None
        latest = session.created_at + max(SESSION_LIFETIME, self._lifetime)
        await sessions.extend(db, session.id, min(now + self._lifetime, latest))
        return await self._pair(user, session.id, successor)

    async def _use(self, db: AsyncSession, token: RefreshToken, successor: str, now: datetime) -> str:
        if token.used_at is None:
            if await sessions.count_used(db, token.session_id, now - MINUTE) >= REFRESHES_PER_MINUTE:
                REFRESHES.labels("throttled").inc()
                raise TooManyRequests("This session is refreshed too often.", retry_after=60)
            await sessions.mark_used(db, token.token_hash, now)
            await sessions.add_token(db, token.session_id, hash_token(successor))
            return "rotated"
        unused = await sessions.add_token(db, token.session_id, hash_token(successor))
        return "repeated" if unused and now - token.used_at <= GRACE else "reused"

    def _successor(self, token: str) -> str:
        """The refresh token that follows `token`: always the same one, and only we can tell which."""
        digest = hmac.digest(self._successor_key, token.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    async def service_token(self, client_id: str, client_secret: str) -> ServiceTokenOut:
        """A token with which sync writes imports; raises InvalidClient."""
        known = self._settings.sync_client_secret.get_secret_value()
        right = hmac.compare_digest(client_secret.encode(), known.encode())
        if client_id != Client.SYNC or not right:
            raise InvalidClient
        scopes = frozenset({Scope.CATALOG_IMPORT})
        expires_at = int(time.time()) + SERVICE_TOKEN_SECONDS
        token = AccessToken(subject=Client.SYNC, role=Role.SERVICE, scopes=scopes, expires_at=expires_at)
        signed = await self._keyring.sign(token)
        return ServiceTokenOut(access_token=signed, expires_in=SERVICE_TOKEN_SECONDS, scope=" ".join(scopes))

    async def _pair(self, user: User, session_id: uuid.UUID, refresh_token: str) -> TokenOut:
        seconds = self._settings.access_token_seconds
        expires_at = int(time.time()) + seconds
        token = AccessToken(subject=str(user.id), role=user.role, session_id=str(session_id), expires_at=expires_at)
        access_token = await self._keyring.sign(token)
        return TokenOut(access_token=access_token, expires_in=seconds, refresh_token=refresh_token)


def hash_token(token: str) -> bytes:
    """What is stored of a refresh token; 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).digest()
