"""Where what is done now comes from: which request, and which installation of an app sent it."""

from contextvars import ContextVar
from uuid import UUID

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
device: ContextVar[UUID | None] = ContextVar("device", default=None)
direct: ContextVar[bool] = ContextVar("direct", default=False)
"""Whether the request was sent on this machine, and came through no proxy."""
