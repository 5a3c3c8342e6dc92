"""What is kept of copies that people asked for, and of erasing."""

from backend.rights.erasure.models import Erasure
from backend.rights.export.models import Export, ExportPart

# Django looks for an app's tables here.
__all__ = ["Erasure", "Export", "ExportPart"]
