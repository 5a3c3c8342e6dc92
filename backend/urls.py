"""Every route."""

from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver

from backend import health
from backend.accounts import api as accounts
from backend.accounts.web import Welcome, WelcomeDone
from backend.care import api as care
from backend.care.consent import api as consent
from backend.care.joining import api as joining
from backend.care.opened import api as opened
from backend.care.staff import api as staff
from backend.metrics import Metrics
from backend.operators.admin import site as operators
from backend.operators.web import SecondFactor, SignIn, SignOut
from backend.proof import api as proof
from backend.rights.erasure import api as erasure
from backend.rights.export import api as export
from backend.schema import Schema
from scales import api as scales

api: list[URLPattern | URLResolver] = [
    path("schema", Schema.as_view()),
    path("me", care.Me.as_view()),
    path("me/devices", accounts.Devices.as_view()),
    path("me/devices/<str:device>", accounts.OneDevice.as_view()),
    path("me/trends", scales.MyTrends.as_view()),
    path("me/recovery-codes", joining.RecoveryCodes.as_view()),
    path("recovery", joining.Recovery.as_view()),
    path("invitations", joining.Invitations.as_view()),
    path("invitations/preview", joining.Preview.as_view()),
    path("invitations/redeem", joining.Redeem.as_view()),
    path("invitations/<str:invitation>", joining.OneInvitation.as_view()),
    path("participants/<str:participant>/relink", joining.Relink.as_view()),
    path("me/access-log", opened.MyAccessLog.as_view()),
    path("emergency-accesses", opened.EmergencyAccesses.as_view()),
    path("participants/<str:participant>/emergency-access", opened.OpenInEmergency.as_view()),
    path("me/consents", consent.MyConsents.as_view()),
    path("me/disclosure", consent.MyDisclosure.as_view()),
    path("me/export", export.RequestExport.as_view()),
    path("me/exports", export.Exports.as_view()),
    path("me/exports/<str:export>", export.OneExport.as_view()),
    path("me/exports/<str:export>/archive", export.Archive.as_view()),
    path("me/withdrawal", erasure.MyWithdrawal.as_view()),
    path("me/erasure", erasure.MyErasure.as_view()),
    path("erasures/<str:erasure>", erasure.OneErasure.as_view()),
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
    path("staff", staff.Staff.as_view()),
    path("staff/<str:membership>/end", staff.EndMembership.as_view()),
    path("staff/<str:membership>/suspend", staff.SuspendMembership.as_view()),
    path("staff/<str:membership>/restore", staff.RestoreMembership.as_view()),
    path("staff/<str:membership>/reset-second-factor", staff.ResetSecondFactor.as_view()),
    path("staff/<str:membership>/reset-password", staff.ResetPassword.as_view()),
    path("care-relationships", staff.CareRelationships.as_view()),
    path("care-relationships/<str:care_relationship>/end", staff.EndCareRelationship.as_view()),
    path("covers", staff.Covers.as_view()),
    path("covers/<str:cover>/end", staff.EndCover.as_view()),
    path("caseloads/<str:membership>/hand-over", staff.HandOver.as_view()),
    path("audit-entries", proof.AuditEntries.as_view()),
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
    path("metrics", Metrics.as_view()),
    path("api/v1/", include(api)),
    path("_allauth/", include("allauth.headless.urls")),
    path("operators/sign-in", SignIn.as_view(), name="operators-sign-in"),
    path("operators/second-factor", SecondFactor.as_view(), name="operators-second-factor"),
    path("operators/sign-out", SignOut.as_view(), name="operators-sign-out"),
    path("operators/", operators.urls),
    path("welcome", WelcomeDone.as_view(), name="welcome-done"),
    path("welcome/<uidb64>/<token>", Welcome.as_view(), name="welcome"),
]

handler400 = "backend.errors.handler400"
handler403 = "backend.errors.handler403"
handler404 = "backend.errors.handler404"
handler500 = "backend.errors.handler500"
