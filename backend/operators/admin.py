"""Django's admin, of which only the looking is left: two pages for each model in `shown.SHOWN`.

There is one way in, `OperatorSite.admin_view`; whatever holds for all of it is decided there.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite, ModelAdmin, ShowFacets
from django.contrib.admin.utils import display_for_value, label_for_field, unquote
from django.contrib.admin.views.main import ChangeList
from django.db.models import BigIntegerField, F, Model, QuerySet, Value
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.urls.resolvers import URLPattern, URLResolver

from backend import scope
from backend.errors import Problem
from backend.operators import access, services
from backend.operators.shown import SHOWN

# No script at all: what is left of the admin needs none.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
LOOKUPS = {"", "exact", "isnull", "gte", "lt"}
PAGE = 50
NOBODY = Value(None, output_field=BigIntegerField())


class OperatorSite(AdminSite):
    """The pages, for operators who gave both factors in this session."""

    site_header = site_title = "Selfkind for operators"
    index_title = "What there is"
    site_url = None
    enable_nav_sidebar = False
    index_template = app_index_template = "operators/index.html"
    empty_value_display = "–"

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether an operator asks. Django's tables of permissions have no say in it."""
        return access.operator(request) is not None

    def admin_view(self, view: Callable[..., HttpResponseBase], cacheable: bool = False) -> Any:
        """The view behind the one door: who asks, one transaction, one audit row, one policy."""

        @wraps(view)
        def through(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            user = access.operator(request)
            if user is None:
                return redirect("operators-sign-in")
            if request.method not in ("GET", "HEAD"):
                raise Problem(405, "method_not_allowed", headers={"Allow": "GET, HEAD"})
            with scope.everything():
                services.record_page(actor=user.pk, page=page_of(request))
                response = view(request, *args, **kwargs)
                if isinstance(response, TemplateResponse):
                    response.render()  # reads what is seen while it is still this transaction
                access.keep(request, response)
            response.headers["Content-Security-Policy"] = POLICY
            response.headers["Referrer-Policy"] = "same-origin"  # see accounts.web.Page
            return response

        return through

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The apps with their models, under our headings."""
        listed = super().get_app_list(request, app_label)
        for model in (model for app in listed for model in app["models"]):
            model["name"] = Looking(model["model"], self).heading
        return listed

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """The pages there are: of all, of one app, and those of each model."""
        urls: list[URLPattern | URLResolver] = [path("", self.admin_view(self.index), name="index")]
        for app in sorted({model._meta.app_label for model in self._registry}):
            urls.append(path(f"{app}/", self.admin_view(self.app_index), {"app_label": app}, name="app_list"))
        for admin in self._registry.values():
            urls += admin.get_urls()
        return urls


class Looking(ModelAdmin):
    """A model's list and the page of one object, as far as `SHOWN` goes."""

    actions = None
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_per_page = list_max_show_all = PAGE
    ordering = ("-pk",)
    change_list_template = "operators/list.html"

    def __init__(self, model: type[Model], admin_site: AdminSite) -> None:
        self.shown = SHOWN[model._meta.label]
        super().__init__(model, admin_site)
        self.heading = self.shown.heading or str(self.opts.verbose_name_plural).capitalize()

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return self.shown.columns

    def get_list_filter(self, request: HttpRequest) -> tuple[str, ...]:
        return self.shown.filters

    def get_urls(self) -> list[URLPattern]:
        info = (self.opts.app_label, self.opts.model_name)
        start = "{}/{}/".format(*info)
        door = self.admin_site.admin_view
        return [
            path(start, door(self.changelist_view), name="{}_{}_changelist".format(*info)),
            path(f"{start}<path:object_id>/", door(self.change_view), name="{}_{}_change".format(*info)),
        ]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return access.operator(request) is not None

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return access.operator(request) is not None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Whether a list may be narrowed so: by what it shows. A hidden column's words could be guessed."""
        column, _, kind = lookup.partition("__")
        return column in self.shown.columns and kind in LOOKUPS

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        """The model's rows, with the columns shown, and whose they are."""
        shown = self.shown
        rows: QuerySet[Model] = super().get_queryset(request).only(*shown.columns)
        whose: dict[str, Any] = {
            "seen_participant": F(shown.participant) if shown.participant else NOBODY,
            "seen_clinic": F(shown.clinic) if shown.clinic else NOBODY,
        }
        seen: QuerySet[Model] = rows.annotate(**whose)
        return seen

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        listed = super().get_changelist_instance(request)
        listed.result_list = list(listed.result_list)
        self._record(request, *listed.result_list)
        return listed

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"title": self.heading, **(extra_context or {})})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One object, column by column."""
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        self._record(request, found)
        rows = [
            (
                label_for_field(name, self.model, self),
                display_for_value(getattr(found, name), self.get_empty_value_display()),
            )
            for name in self.shown.columns
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": str(self.opts.verbose_name).capitalize(),
            "opts": self.opts,
            "heading": self.heading,
            "rows": rows,
        }
        return TemplateResponse(request, "operators/one.html", context)

    def _record(self, request: HttpRequest, *seen: Any) -> None:
        services.record_seen(
            actor=int(request.user.pk or 0),
            seen=[(f"{self.opts.label}:{o.pk}", o.seen_participant, o.seen_clinic) for o in seen],
        )


def page_of(request: HttpRequest) -> str:
    """The name of the page asked for."""
    return request.resolver_match.view_name if request.resolver_match else ""


site = OperatorSite(name="admin")
for label in SHOWN:
    site.register(apps.get_model(label), Looking)
