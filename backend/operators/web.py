"""How an operator signs in: a password, then a code, on pages without any script."""

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.models import Authenticator
from django import forms
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils import timezone
from django.views.generic import FormView, TemplateView

from backend.accounts import throttle
from backend.accounts.addresses import lookup
from backend.accounts.models import User
from backend.accounts.throttle import Account, Throttled
from backend.accounts.web import Page
from backend.audit import services as audit
from backend.operators import access

WRONG = "This address and this password do not open these pages."
TOO_MANY = "There were too many attempts. Please wait a quarter of an hour."
NO_SECOND_FACTOR = (
    "Your account needs a second factor first."
    " At the machine, run: manage.py operator totp --email YOUR-ADDRESS"
)
WRONG_CODE = "This code does not fit, or has been used. Your app shows another one every half minute."


class PasswordForm(forms.Form):
    email = forms.EmailField(max_length=254)
    password = forms.CharField(max_length=1000, strip=False)


class OperatorPage(Page):
    """A page whose session cookie no other site can make be sent."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        access.keep(request, response)
        return response


class SignIn(OperatorPage, FormView):
    """`GET, POST /operators/sign-in`: the first factor."""

    template_name = "operators/sign_in.html"
    form_class = PasswordForm
    success_url = reverse_lazy("operators-second-factor")

    def form_valid(self, form: PasswordForm) -> HttpResponse:
        hidden = lookup(form.cleaned_data["email"])
        try:
            account, _ = throttle.account_of(hidden)
            guess = admit(self.request, "password", account)
        except Throttled:
            return self._refused(form, TOO_MANY)
        credentials = {"email": hidden, "password": form.cleaned_data["password"]}
        user = get_adapter(self.request).authenticate(self.request, **credentials)
        if not access.is_operator(user):
            return self._refused(form, WRONG)
        throttle.settle(guess, "password")
        if not has_totp(user):
            return self._refused(form, NO_SECOND_FACTOR)
        access.half(self.request, user)
        return super().form_valid(form)

    def form_invalid(self, form: PasswordForm) -> HttpResponse:
        return self._refused(form, WRONG)

    def _refused(self, form: PasswordForm, words: str) -> HttpResponse:
        context = self.get_context_data(form=PasswordForm(), words=words, email=form.data.get("email", ""))
        return self.render_to_response(context)


class SecondFactor(OperatorPage, TemplateView):
    """`GET, POST /operators/second-factor`: the second, a few minutes after the first at most."""

    template_name = "operators/second_factor.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if access.halfway(request) is None:
            return redirect("operators-sign-in")
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        user = access.halfway(request)
        if user is None or not has_totp(user):
            return redirect("operators-sign-in")
        try:
            guess = admit(request, "factor", Account(user.pk))
        except Throttled:
            return self.render_to_response(self.get_context_data(words=TOO_MANY))
        form = AuthenticateForm(data={"code": request.POST.get("code", "")}, user=user)
        if not form.is_valid():  # which takes no code twice
            audit.record(actor=None, action="operator.refused", subject=user.pk)
            return self.render_to_response(self.get_context_data(words=WRONG_CODE))
        throttle.settle(guess, "factor")
        with transaction.atomic():
            access.whole(request, user)
            form.save()
            audit.record(actor=user.pk, action="operator.signed_in", subject=user.pk)
        return redirect("admin:index")


class SignOut(OperatorPage):
    """`POST /operators/sign-out`"""

    def post(self, request: HttpRequest) -> HttpResponse:
        access.out(request)
        return redirect("operators-sign-in")


def admit(request: HttpRequest, kind: str, account: Account) -> throttle.Admitted:
    """The guess, counted. Raises Throttled. A browser is no device that could be known here."""
    return throttle.admit(
        kind=kind,
        account=account,
        client=request.META["REMOTE_ADDR"],
        installation=None,
        now=timezone.now(),
    )


def has_totp(user: User) -> bool:
    """Whether the user has an app that makes codes."""
    return bool(Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists())
