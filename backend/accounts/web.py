"""The one page that sign-in needs in a browser: choosing a first password from a one-time link."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse_lazy

_STYLE = (Path(__file__).parent / "templates" / "accounts" / "style.css").read_text()
_POLICY = (
    "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)


class Welcome(PasswordResetConfirmView):
    """Chooses the password of the user a `welcome_link` was made for. The link works once."""

    template_name = "accounts/welcome.html"
    success_url = reverse_lazy("welcome-done")
    reset_url_token = "choose"  # noqa: S105 - stands in the address in place of the token

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        response["Content-Security-Policy"] = _POLICY
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "style": _STYLE}


def welcome_done(request: HttpRequest) -> HttpResponse:
    """Says that the password stands."""
    response = render(request, "accounts/welcome_done.html", {"style": _STYLE})
    response["Content-Security-Policy"] = _POLICY
    return response
