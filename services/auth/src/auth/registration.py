"""Who may have an account, and with which role."""

from sqlalchemy.ext.asyncio import AsyncSession

from auth import users
from auth.emails import Email
from auth.errors import AdminRefused
from auth.limits import Limits
from auth.models import Role, User
from auth.passwords import Passwords
from auth.permissions import user_id
from auth.settings import AdminRegistration
from common.web.database import Database
from common.web.tokens import AccessToken

__all__ = ["Registration", "delete_user", "ensure_admin"]

# What it means that there is no admin, by ADMIN_REGISTRATION.
OPENS = {
    "never": "only `python -m auth create-admin` makes another",
    "first": "whoever registers first with the role admin becomes one (ADMIN_REGISTRATION=first)",
    "open": "anybody can register as an admin, as now (ADMIN_REGISTRATION=open)",
}


class Registration:
    """Making accounts. Nobody becomes an admin by asking, unless the setting ADMIN_REGISTRATION says so."""

    def __init__(self, policy: AdminRegistration, passwords: Passwords, limits: Limits) -> None:
        self._policy = policy
        self._passwords = passwords
        self._limits = limits

    async def prepare(self, email: Email, password: str, role: Role, address: str, caller: AccessToken | None) -> str:
        """The hash of the password, once it is worth the work; raises TooManyRequests or AdminRefused."""
        await self._limits.registration(address)
        if role == "admin" and self._policy == "never" and (caller is None or not caller.is_admin):
            raise AdminRefused
        return await self._passwords.hash(password, account=email.key, address=address)

    async def add(
        self, db: AsyncSession, email: Email, password_hash: str, role: Role, caller: AccessToken | None
    ) -> User:
        """The new user; raises EmailTaken or AdminRefused. Of many first admins at once one is made."""
        if role == "admin":
            await users.lock_first_admin(db)
            await self._check_admin(db, caller)
        return await users.add(db, email=email, password_hash=password_hash, role=role)

    async def _check_admin(self, db: AsyncSession, caller: AccessToken | None) -> None:
        if self._policy == "open" or (self._policy == "first" and not await users.admin_exists(db)):
            return
        if caller is None or not caller.is_admin or not await users.is_admin(db, user_id(caller)):
            raise AdminRefused


async def ensure_admin(db: Database, email: Email, password_hash: str) -> str:
    """Make `email` an admin; an account that exists keeps its password. Says what was done."""
    async with db.transaction() as session:
        user = await users.find_by_email(session, email)
        if user is None:
            await users.add(session, email=email, password_hash=password_hash, role="admin")
            return "is an admin now"
        if user.role == "admin":
            return "is an admin already; nothing is changed"
        await users.promote(session, user.id)
        return "is an admin now; the password is unchanged"


async def delete_user(db: Database, email: Email, policy: AdminRegistration, *, force: bool) -> str | None:
    """Delete an account and its sessions; why not, if it is not there, or the last admin without `force`."""
    async with db.transaction() as session:
        await users.lock_first_admin(session)
        user = await users.find_by_email(session, email)
        if user is None:
            return f"there is no account {email}"
        if not force and await users.is_last_admin(session, user):
            return f"{email} is the last admin; with --force it is deleted all the same, and then {OPENS[policy]}"
        await users.remove(session, user.id)
    return None
