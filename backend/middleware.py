"""What happens to every request, whatever it asks for: an id, the way it came, a log line, safe headers.

Kept lean: everything here is paid for by each of a thousand requests a second.
"""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from time import perf_counter
from uuid import uuid4

import structlog
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.functional import SimpleLazyObject

from backend import origin
from backend.body import read_object_or_nothing
from backend.errors import Problem, problem_for, problem_response
from backend.wire import uuid

log = structlog.get_logger()

Handler = Callable[[HttpRequest], HttpResponseBase]

# A page that needs more, or may be kept, says so itself.
DEFAULT_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
NO_BODY = (204, 304)
# What proxies say of themselves. One that says nothing cannot be told from whoever sits at this machine.
PROXIED = (
    "HTTP_FORWARDED",
    "HTTP_VIA",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
)
STRICT_TRANSPORT = "max-age=31536000"


class RequestMiddleware:
    """Goes first. Names the request, refuses what came a wrong way, logs ids and codes."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self.proxies = networks(settings.TRUSTED_PROXY)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = perf_counter()
        reference = str(uuid4())
        origin.request_id.set(reference)
        origin.device.set(uuid(request.META.get("HTTP_X_DEVICE")))
        origin.direct.set(_sent_here(request))
        problem = _refused(request, self.proxies)
        response = problem_response(problem) if problem else self.get_response(request)
        headers = response.headers
        headers["X-Request-Id"] = reference
        if response.status_code not in NO_BODY and isinstance(response, HttpResponse):
            # Without it the server sends the body in chunks, which costs both ends more.
            headers.setdefault("Content-Length", str(len(response.content)))
        for name, value in DEFAULT_HEADERS:
            headers.setdefault(name, value)
        if request.META["wsgi.url_scheme"] == "https":
            headers["Strict-Transport-Security"] = STRICT_TRANSPORT
        log.info(
            "request",
            method=request.method,
            route=request.resolver_match.route if request.resolver_match else None,
            status=response.status_code,
            ms=round((perf_counter() - started) * 1000, 2),
            user=_user_id(request),
        )
        origin.request_id.set(None)
        origin.device.set(None)
        origin.direct.set(False)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase:
        """For views outside REST framework; inside it, `errors.exception_handler` came first."""
        return problem_response(problem_for(exception))


class SignInBodyMiddleware:
    """Applies our body reader to the sign-in routes, whose package parses JSON by itself."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith("/_allauth/") and request.method not in ("GET", "HEAD", "OPTIONS"):
            try:
                read_object_or_nothing(request)
            except Problem as problem:
                return problem_response(problem)
        return self.get_response(request)


def networks(proxies: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The addresses or networks in a comma-separated list; ValueError for anything else."""
    return tuple(ip_network(part.strip()) for part in proxies.split(",") if part.strip())


def _refused(request: HttpRequest, proxies: tuple[IPv4Network | IPv6Network, ...]) -> Problem | None:
    """Why the request goes no further, by the way it came: in clear from elsewhere, or for another host.

    A page that a browser was led to may give its own name our address; what it asks for then comes
    under that name.
    """
    if not _arrived_safely(request, proxies):
        return Problem(403, "https_required")
    try:
        request.get_host()
    except DisallowedHost:
        return Problem(400, "bad_request")
    return None


def _sent_here(request: HttpRequest) -> bool:
    """Whether the request was sent on this machine, and came through no proxy."""
    meta = request.META
    return _is_loopback(meta.get("REMOTE_ADDR", "")) and not any(name in meta for name in PROXIED)


def _arrived_safely(request: HttpRequest, proxies: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether the request came over HTTPS or from this machine.

    Only a trusted proxy is believed about who and how: its word takes the place of what the socket
    says, and anybody else's is removed, so that nothing further in can be misled by it.
    """
    meta = request.META
    peer = meta.get("REMOTE_ADDR", "")
    forwarded_for = meta.pop("HTTP_X_FORWARDED_FOR", None)
    forwarded_proto = meta.pop("HTTP_X_FORWARDED_PROTO", None)
    local = _is_loopback(peer)
    if proxies and _is_one_of(peer, proxies):
        if forwarded_for is not None:
            client = _last(forwarded_for)
            local = _is_loopback(client)
            if _is_address(client):
                meta["REMOTE_ADDR"] = client
        if forwarded_proto is not None:
            meta["wsgi.url_scheme"] = "https" if _last(forwarded_proto).lower() == "https" else "http"
    return local or meta["wsgi.url_scheme"] == "https"


def _last(values: str) -> str:
    """The value the nearest proxy added; those before it are whatever the client wrote."""
    return values.rpartition(",")[2].strip()


@lru_cache(maxsize=1024)
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (inner or address).is_loopback


@lru_cache(maxsize=1024)
def _is_one_of(text: str, proxies: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any((inner or address) in network for network in proxies)


def _user_id(request: HttpRequest) -> object:
    """The id of the person signed in, if somebody looked that up already; never a look-up of its own."""
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = request.__dict__.get("_cached_user")
    return getattr(user, "id", None)
