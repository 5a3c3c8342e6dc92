"""The one page that sign-in needs in a browser: choosing a first password from a one-time link."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse_lazy
from django.views.generic import TemplateView, View
from django.views.generic.base import ContextMixin

_STYLE = (Path(__file__).parent / "templates" / "accounts" / "style.css").read_text()
_POLICY = (
    "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)


class Page(ContextMixin, View):
    """A page with our one style sheet inside, and nothing else allowed on it."""

    http_method_names = ["get", "head", "post"]  # noqa: RUF012 - Django declares it so

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # A link that is over is answered by the parent before it looks at the method.
        known = (request.method or "").lower() in self.http_method_names
        handle = super().dispatch if known else self.http_method_not_allowed
        response = handle(request, *args, **kwargs)
        response["Content-Security-Policy"] = _POLICY
        # Under `no-referrer` a browser sends its form with "Origin: null", and Django refuses that.
        response["Referrer-Policy"] = "same-origin"
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "style": _STYLE}


class Welcome(Page, PasswordResetConfirmView):
    """Chooses the password of the user a `welcome_link` was made for. The link works once."""

    template_name = "accounts/welcome.html"
    success_url = reverse_lazy("welcome-done")
    reset_url_token = "choose"  # noqa: S105 - stands in the address in place of the token


class WelcomeDone(Page, TemplateView):
    """Says that the password stands."""

    template_name = "accounts/welcome_done.html"
