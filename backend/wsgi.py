"""The web server's way in."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")

application = get_wsgi_application()

from backend.demo.guard import refuse_demo_off_loopback  # noqa: E402 - the apps must be ready first
from backend.keys.ring import refuse_without_keys  # noqa: E402
from backend.logs import guard  # noqa: E402
from backend.rights.erasure.guard import refuse_undone  # noqa: E402
from backend.scope import refuse_without_wall  # noqa: E402

# Their one line is for whoever starts this; after `guard`, the words of an exception are left out.
refuse_demo_off_loopback()
refuse_without_wall()
refuse_without_keys()
refuse_undone()
guard()
