"""Who may have an account, and with which role."""

from sqlalchemy.ext.asyncio import AsyncSession

from auth import users
from auth.emails import Email
from auth.errors import AdminRefused
from auth.models import User
from auth.passwords import Passwords
from auth.permissions import user_id
from auth.settings import AdminRegistration
from auth.throttle import LoginThrottle
from common.web.tokens import AccessToken, Role

__all__ = ["Registration", "delete_user", "ensure_admin"]

# Who can become an admin when there is none, by ADMIN_REGISTRATION.
NEXT_ADMIN = {
    "never": "only `python -m auth create-admin` makes another",
    "first": "the first to register with the role admin becomes one (ADMIN_REGISTRATION=first)",
    "open": "anyone can register as an admin, as now (ADMIN_REGISTRATION=open)",
}


class Registration:
    """Creates accounts. The setting ADMIN_REGISTRATION says who may register an admin without an admin's token."""

    def __init__(self, policy: AdminRegistration, passwords: Passwords, throttle: LoginThrottle) -> None:
        self._policy = policy
        self._passwords = passwords
        self._throttle = throttle

    async def authorize_and_hash(
        self, email: Email, password: str, role: Role, client_ip: str, caller: AccessToken | None
    ) -> str:
        """The hash of the password, which is costly: what can be refused before is.

        Raises TooManyRequests or AdminRefused.
        """
        await self._throttle.begin_registration(client_ip)
        if role == Role.ADMIN and self._policy == "never" and (caller is None or not caller.is_admin):
            raise AdminRefused
        return await self._passwords.hash(password, account=email.key, address=client_ip)

    async def add(
        self, db: AsyncSession, email: Email, password_hash: str, role: Role, caller: AccessToken | None
    ) -> User:
        """The new user; raises EmailTaken or AdminRefused. Of several first admins at the same time one is made."""
        if role == Role.ADMIN:
            await users.lock_admins(db)
            await self._authorize_admin(db, caller)
        return await users.add(db, email=email, password_hash=password_hash, role=role)

    async def _authorize_admin(self, db: AsyncSession, caller: AccessToken | None) -> None:
        if self._policy == "open" or (self._policy == "first" and not await users.admin_exists(db)):
            return
        if caller is None or not caller.is_admin or not await users.is_admin(db, user_id(caller)):
            raise AdminRefused


async def ensure_admin(db: AsyncSession, email: Email, password_hash: str) -> str:
    """Make `email` an admin; an existing account keeps its password. Returns what was done."""
    user = await users.find_by_email(db, email)
    if user is None:
        await users.add(db, email=email, password_hash=password_hash, role=Role.ADMIN)
        return "is an admin now"
    if user.role == Role.ADMIN:
        return "is an admin already; nothing is changed"
    await users.promote(db, user.id)
    return "is an admin now; the password is unchanged"


async def delete_user(db: AsyncSession, email: Email, policy: AdminRegistration, *, force: bool) -> str | None:
    """Delete an account and its sessions; the last admin only with `force`. Returns why not, if it is not deleted."""
    await users.lock_admins(db)
    user = await users.find_by_email(db, email)
    if user is None:
        return f"there is no account {email}"
    if not force and await users.is_last_admin(db, user):
        return f"{email} is the last admin; --force deletes it nevertheless, and then {NEXT_ADMIN[policy]}"
    await users.remove(db, user.id)
    return None
