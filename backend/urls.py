"""Every route."""

from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver

from backend import health
from backend.accounts.web import Welcome, WelcomeDone
from backend.care import api as care
from backend.care.consent import api as consent
from backend.schema import Schema
from scales import api as scales

api: list[URLPattern | URLResolver] = [
    path("schema", Schema.as_view()),
    path("me", care.Me.as_view()),
    path("me/trends", scales.MyTrends.as_view()),
    path("me/consents", consent.MyConsents.as_view()),
    path("me/disclosure", consent.MyDisclosure.as_view()),
    path("consents", consent.Consents.as_view()),
    path("participants", care.Participants.as_view()),
    path("participants/<str:participant>", care.OneParticipant.as_view()),
    path("participants/<str:participant>/dosing-sessions", care.DosingSessions.as_view()),
    path("participants/<str:participant>/administrations", scales.ParticipantAdministrations.as_view()),
    path(
        "participants/<str:participant>/administrations/<str:administration>/release",
        scales.Releases.as_view(),
    ),
    path("participants/<str:participant>/trends", scales.ParticipantTrends.as_view()),
    path("instruments", scales.Instruments.as_view()),
    path("instruments/<str:code>", scales.NewestInstrument.as_view()),
    path("instruments/<str:code>/versions/<str:version>", scales.InstrumentVersion.as_view()),
    path("administrations", scales.Administrations.as_view()),
    path("administrations/<str:administration>", scales.OneAdministration.as_view()),
    path("administrations/<str:administration>/corrections", scales.Corrections.as_view()),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.Live.as_view()),
    path("readyz", health.Ready.as_view()),
    path("api/v1/", include(api)),
    path("_allauth/", include("allauth.headless.urls")),
    path("welcome", WelcomeDone.as_view(), name="welcome-done"),
    path("welcome/<uidb64>/<token>", Welcome.as_view(), name="welcome"),
]

handler400 = "backend.errors.handler400"
handler403 = "backend.errors.handler403"
handler404 = "backend.errors.handler404"
handler500 = "backend.errors.handler500"
