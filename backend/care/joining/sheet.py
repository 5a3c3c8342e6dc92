"""A code as it is handed over: grouped, as a link, as a picture."""

import base64
from io import StringIO

import qrcode
from django.conf import settings
from qrcode.image.svg import SvgPathImage

from backend.care.codes import grouped


def link(code: str) -> str:
    """The link a phone opens. The code is behind the #, so that no server and no proxy gets to see it."""
    return f"{settings.PUBLIC_URL.rstrip('/')}/join#{grouped(code)}"


def picture(text: str) -> str:
    """A QR code of the text, as a data URI of an SVG."""
    svg = _qr(text).make_image(image_factory=SvgPathImage).to_string()
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def printed(text: str) -> str:
    """A QR code of the text, in block characters for a dark terminal."""
    out = StringIO()
    _qr(text).print_ascii(out=out, invert=True)
    return out.getvalue()


def _qr(text: str) -> qrcode.QRCode:
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M)
    code.add_data(text)
    return code
