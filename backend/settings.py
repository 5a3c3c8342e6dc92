"""Every setting, from the environment. `.env.example` lists the names; nothing else is read."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import django
from django.core.exceptions import ImproperlyConfigured

from backend.logs import logging_config
from backend.stack.dsn import database_from_url

BASE_DIR = Path(__file__).resolve().parent.parent
STATE = Path(os.environ.get("STATE") or BASE_DIR / ".state")


def _secret_key() -> str:
    """The signing secret: from the environment, or the file `manage.py stack` keeps under STATE."""
    key = os.environ.get("SECRET_KEY", "")
    file = STATE / "secret-key"
    if not key and file.exists():
        key = file.read_text().strip()
    if len(key) < 32:
        raise ImproperlyConfigured(
            "SECRET_KEY is missing or shorter than 32 characters: set it, or start with `manage.py stack`."
        )
    return key


def _database() -> dict[str, object]:
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        raise ImproperlyConfigured("DATABASE_URL is missing: set it, or start with `manage.py stack`.")
    database = database_from_url(url)
    # Parameters travel apart from the statement, and a statement seen twice is planned once: measured,
    # this takes a third off a submission. And connections are kept: a new one costs 10 ms of CPU.
    database["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 2}
    return {**database, "CONN_MAX_AGE": 600}


SECRET_KEY = _secret_key()
# What is sealed in the database opens with wrapped keys that lie in the key store, under a master key that
# lies elsewhere. Another store than files: the dotted name of a class with the methods of
# `backend.keys.store.KeyStore`, made with KEY_STORE.
KEY_STORE = os.environ.get("KEY_STORE") or str(STATE / "keys")
KEY_STORE_CLASS = os.environ.get("KEY_STORE_CLASS") or "backend.keys.files.FileStore"
MASTER_KEY_FILE = os.environ.get("MASTER_KEY_FILE") or str(STATE / "master-key")
# Where the heads of the audit's chains are kept outside the database: a file that only grows.
AUDIT_ANCHORS = os.environ.get("AUDIT_ANCHORS") or str(STATE / "audit-anchors" / "anchors.jsonl")
# Who was erased is written down outside the database too: a copy brought back from before is told by it.
ERASURE_LEDGER = os.environ.get("ERASURE_LEDGER") or str(STATE / "erasures" / "ledger.jsonl")
DEBUG = False
PUBLIC_URL = os.environ.get("PUBLIC_URL") or f"http://127.0.0.1:{os.environ.get('PORT') or 8000}"
# Who runs this server, as somebody about to join is told.
OPERATOR_NAME = os.environ.get("OPERATOR_NAME", "")
OPERATOR_CONTACT = os.environ.get("OPERATOR_CONTACT", "")
# The address of the proxy whose X-Forwarded-* headers are believed. Empty: nobody's are.
TRUSTED_PROXY = os.environ.get("TRUSTED_PROXY", "")
ALLOWED_HOSTS = [urlsplit(PUBLIC_URL).hostname or "", "127.0.0.1", "localhost", "[::1]"]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

INSTALLED_APPS = [
    "backend.operators",  # before the admin: its templates take the place of the admin's
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "allauth.account",
    "allauth.headless",
    "allauth.mfa",
    "backend.stack",
    "backend.audit",
    "backend.changes",
    "backend.keys",
    "backend.accounts",
    "backend.care",
    "scales",
    "backend.proof",
    "backend.backup",
    "backend.demo",
    "backend.rights",
]

MIDDLEWARE = [
    "backend.middleware.RequestMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "backend.middleware.SignInBodyMiddleware",
    "backend.accounts.middleware.AddressMiddleware",
    "backend.accounts.passkeys.PasskeyNameMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "backend.accounts.middleware.GuessMiddleware",
]

ROOT_URLCONF = "backend.urls"
WSGI_APPLICATION = "backend.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]

# The one app with files to serve is Django's admin, so they are served from where they lie.
STATIC_URL = "/static/"
STATIC_ROOT = Path(django.__file__).parent / "contrib" / "admin" / "static"
WHITENOISE_ALLOW_ALL_ORIGINS = False
WHITENOISE_MAX_AGE = 3600
# Our admin changes nothing, so it has no messages to give: what is missing here is what would give them.
SILENCED_SYSTEM_CHECKS = ["admin.E404", "admin.E406", "admin.E409"]

DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = os.environ.get("REDIS_URL", "")
# For the sign-in package alone, which notes in it which one-time codes were used.
CACHES = {
    "default": {
        "BACKEND": "backend.accounts.cache.Kept",
        "LOCATION": "accounts_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# Sign-in: django-allauth headless, for apps. Nobody signs up uninvited.
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        # NIST SP 800-63B-4: 15 characters where it stands alone, 8 beside a second factor, no other rules.
        "NAME": "backend.accounts.validators.Length",
    },
    {"NAME": "backend.accounts.validators.NotTheAddress"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_ADAPTER = "backend.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_LOGIN_BY_CODE_ENABLED = True
ACCOUNT_LOGIN_BY_CODE_TIMEOUT = ACCOUNT_PASSWORD_RESET_BY_CODE_TIMEOUT = 10 * 60
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_TIMEOUT = 10 * 60
# Guesses are counted by `backend.accounts.throttle` alone: in PostgreSQL, and for who has no account as
# for who has one. The package counts in a cache, and stops counting where there is no account.
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False
ACCOUNT_LOGIN_BY_CODE_MAX_ATTEMPTS = ACCOUNT_PASSWORD_RESET_BY_CODE_MAX_ATTEMPTS = 10**6
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_MAX_ATTEMPTS = 10**6
MFA_ADAPTER = "backend.accounts.adapter.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Selfkind"
MFA_TOTP_TOLERANCE = 1  # steps of 30 seconds that a phone's clock may be off
HEADLESS_ONLY = True
HEADLESS_CLIENTS = ("app",)
HEADLESS_FRONTEND_URLS = {"account_signup": PUBLIC_URL, "account_reset_password": PUBLIC_URL}
HEADLESS_TOKEN_STRATEGY = "backend.accounts.tokens.TokenStrategy"  # noqa: S105 - a class
HEADLESS_JWT_ALGORITHM = "HS256"
HEADLESS_JWT_ACCESS_TOKEN_EXPIRES_IN = 15 * 60
# A phone that was silent for 180 days can still renew: both outlive that, and begin anew at each renewal.
HEADLESS_JWT_REFRESH_TOKEN_EXPIRES_IN = 200 * 24 * 3600
HEADLESS_JWT_STATEFUL_VALIDATION_ENABLED = True
SESSION_COOKIE_AGE = 200 * 24 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = urlsplit(PUBLIC_URL).scheme == "https"
CSRF_COOKIE_HTTPONLY, CSRF_COOKIE_SAMESITE = True, "Strict"
SESSION_SAVE_EVERY_REQUEST = False

# Without a mail server, messages are kept as files: a code can still be read by the operator.
EMAIL_HOST = os.environ.get("EMAIL_HOST", "")
EMAIL_PORT = int(os.environ.get("EMAIL_PORT") or 587)
EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = EMAIL_PORT == 587
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = os.environ.get("EMAIL_FROM") or "selfkind@localhost"
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH = STATE / "mail"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["backend.care.access.PersonToken"],
    "DEFAULT_PERMISSION_CLASSES": ["backend.accounts.authentication.SignedIn"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "backend.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

CELERY_BROKER_URL = REDIS_URL

LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING = logging_config(os.environ.get("LOG_LEVEL") or "INFO")

SPECTACULAR_SETTINGS = {
    "TITLE": "Selfkind",
    "VERSION": "0.1.0",
    "DESCRIPTION": (BASE_DIR / "docs" / "openapi.md").read_text(),
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "CareEndedBecause": "backend.care.models.CareRelationship.Because",
        "ErasureStatusEnum": "backend.rights.erasure.models.Erasure.State",
        "InvitationKindEnum": "backend.care.joining.models.Invitation.Kind",
        "ReachedEnum": "backend.health.REACHED",
        "SubstanceEnum": "backend.care.models.DosingSession.Substance",
        "SubstanceShownEnum": "backend.care.consent.disclosure.SUBSTANCE_STEPS",
        "PartShownEnum": "backend.care.consent.disclosure.PART_STEPS",
    },
    "DISABLE_ERRORS_AND_WARNINGS": False,
    "LICENSE": {"name": "Apache-2.0"},
}
