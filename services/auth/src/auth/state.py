"""What auth keeps for its requests, and a dependency for each of them."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from auth.keyring import KeyRing
from auth.login import Login
from auth.registration import Registration
from common.web.state import BaseState

__all__ = ["KeyRingDep", "LoginDep", "RegistrationDep", "State"]


class State(BaseState):
    keyring: KeyRing
    login: Login
    registration: Registration


class _Request(Request[State]):
    pass


async def _registration(request: _Request) -> Registration:
    return request.state["registration"]


async def _login(request: _Request) -> Login:
    return request.state["login"]


async def _keyring(request: _Request) -> KeyRing:
    return request.state["keyring"]


RegistrationDep = Annotated[Registration, Depends(_registration)]
LoginDep = Annotated[Login, Depends(_login)]
KeyRingDep = Annotated[KeyRing, Depends(_keyring)]
