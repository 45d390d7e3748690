"""Logging in, staying logged in, and tokens for services.

Transactions: what writes takes the session of the handler, which commits when the handler returns. Only `refresh` opens
one of its own, since the session of a stolen token must stay revoked although the request fails.
"""

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
from auth.models import RefreshToken, User
from auth.passwords import Passwords
from auth.schemas import ServiceTokenOut, TokenOut
from auth.settings import AuthSettings
from auth.throttle import LoginThrottle
from common.web.errors import TooManyRequests
from common.web.orm import OrmDatabase
from common.web.tokens import AccessToken, Client, Role, Scope

__all__ = ["Login", "hash_token"]

log = logging.getLogger(__name__)
LOGINS = Counter("products_auth_logins", "Logins by outcome: passed, refused, throttled.", ["outcome"])
REFRESHES = Counter(
    "products_auth_refreshes", "Refreshes by outcome: rotated, repeated, reused, refused, throttled.", ["outcome"]
)
SERVICE_TOKEN_SECONDS = 300
# How long a used refresh token may be sent again by a client that has lost the response.
RETRY_WINDOW = timedelta(seconds=10)
REFRESHES_PER_MINUTE = 10
MAX_SESSIONS = 20
# A session ends so long after the login, however often it is refreshed, unless REFRESH_TOKEN_DAYS is longer.
MAX_SESSION_AGE = timedelta(days=90)


class Login:
    """Logging in with email and password, refreshing, and tokens for services."""

    def __init__(
        self, settings: AuthSettings, db: OrmDatabase, keyring: KeyRing, passwords: Passwords, throttle: LoginThrottle
    ) -> None:
        self._settings = settings
        self._db = db
        self._keyring = keyring
        self._passwords = passwords
        self._throttle = throttle
        self._lifetime = timedelta(days=settings.refresh_token_days)
        secret = settings.secret_key.get_secret_value().encode()
        self._successor_key = hmac.digest(secret, b"successors of refresh tokens", "sha256")

    async def authenticate(self, email: Email, password: str, client_ip: str) -> User:
        """The user with this email and password; raises WrongCredentials or TooManyRequests."""
        try:
            await self._throttle.begin_login(email.key, client_ip)
            await self._keyring.require_signer()
            user = await self._verify_credentials(email, password, client_ip)
            await self._throttle.end_login(email.key, client_ip, succeeded=user is not None)
        except TooManyRequests:
            LOGINS.labels("throttled").inc()
            raise
        LOGINS.labels("passed" if user else "refused").inc()
        if user is None:
            raise WrongCredentials
        return user

    async def _verify_credentials(self, email: Email, password: str, client_ip: str) -> User | None:
        # Not in the session of the handler: its connection would be held while the password is hashed.
        async with self._db.read_session() as db:
            user = await users.find_by_email(db, email)
        stored = user.password_hash if user else None
        matches = await self._passwords.verify(password, stored, account=email.key, address=client_ip)
        return user if matches else None

    async def create_session(self, db: AsyncSession, user: User) -> TokenOut:
        """A new session of `user` with its first tokens. Beyond MAX_SESSIONS the oldest one is revoked."""
        session_id = await sessions.add(db, user.id, expires_at=datetime.now(UTC) + self._lifetime)
        await sessions.revoke_oldest(db, user.id, keep=MAX_SESSIONS)
        refresh_token = secrets.token_urlsafe(32)
        await sessions.add_token(db, session_id, hash_token(refresh_token))
        return await self._issue_pair(user, session_id, refresh_token)

    async def refresh(self, presented: str, now: datetime | None = None) -> TokenOut:
        """Redeem a refresh token for a new pair; raises RefreshRefused or TooManyRequests.

        Reuse within RETRY_WINDOW is a retry and gives the same successor, unless that is used too. Any other reuse is
        theft and revokes the session.
        """
        async with self._db.write_session() as db:
            pair = await self._rotate(db, presented, now or datetime.now(UTC))
        if pair is None:
            raise RefreshRefused
        return pair

    async def _rotate(self, db: AsyncSession, presented: str, now: datetime) -> TokenOut | None:
        found = await sessions.find_for_update(db, hash_token(presented))
        if found is None or found[1].revoked_at or found[1].expires_at <= now:
            REFRESHES.labels("refused").inc()
            return None
        token, session, user = found
        successor = self._successor(presented)
        outcome = await self._redeem(db, token, successor, now)
        REFRESHES.labels(outcome).inc()
        if outcome == "reused":
            log.warning("a refresh token was reused: its session is revoked", extra={"user_id": str(user.id)})
            await sessions.revoke(db, session.id)
            return None
        latest = session.created_at + max(MAX_SESSION_AGE, self._lifetime)
        await sessions.extend(db, session.id, min(now + self._lifetime, latest))
        return await self._issue_pair(user, session.id, successor)

    async def _redeem(self, db: AsyncSession, token: RefreshToken, successor: str, now: datetime) -> str:
        """Use the token and store its successor; the outcome, one of those that REFRESHES counts."""
        if token.used_at is None:
            if await sessions.count_used(db, token.session_id, now - timedelta(minutes=1)) >= REFRESHES_PER_MINUTE:
                REFRESHES.labels("throttled").inc()
                raise TooManyRequests("This session is refreshed too often.", retry_after=60)
            await sessions.mark_used(db, token.token_hash, now)
            await sessions.add_token(db, token.session_id, hash_token(successor))
            return "rotated"
        unused = await sessions.add_token(db, token.session_id, hash_token(successor))
        return "repeated" if unused and now - token.used_at <= RETRY_WINDOW else "reused"

    def _successor(self, token: str) -> str:
        """The refresh token after `token`: always the same, and computable only with SECRET_KEY."""
        digest = hmac.digest(self._successor_key, token.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    async def service_token(self, client_id: str, client_secret: str) -> ServiceTokenOut:
        """A token with which sync writes imports; raises InvalidClient."""
        known = self._settings.sync_client_secret.get_secret_value()
        matches = hmac.compare_digest(client_secret.encode(), known.encode())
        if client_id != Client.SYNC or not matches:
            raise InvalidClient
        scopes = frozenset({Scope.CATALOG_IMPORT})
        expires_at = int(time.time()) + SERVICE_TOKEN_SECONDS
        token = AccessToken(subject=Client.SYNC, role=Role.SERVICE, scopes=scopes, expires_at=expires_at)
        signed = await self._keyring.sign(token)
        return ServiceTokenOut(access_token=signed, expires_in=SERVICE_TOKEN_SECONDS, scope=" ".join(scopes))

    async def _issue_pair(self, user: User, session_id: uuid.UUID, refresh_token: str) -> TokenOut:
        seconds = self._settings.access_token_seconds
        expires_at = int(time.time()) + seconds
        token = AccessToken(subject=str(user.id), role=user.role, session_id=str(session_id), expires_at=expires_at)
        access_token = await self._keyring.sign(token)
        return TokenOut(access_token=access_token, expires_in=seconds, refresh_token=refresh_token)


def hash_token(token: str) -> bytes:
    """What is stored of a refresh token. It has 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).digest()
