"""The models of this room's parts, where Django looks for them."""

from backend.rights.erasure.models import Erasure

__all__ = ["Erasure"]
