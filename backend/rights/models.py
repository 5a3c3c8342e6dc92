"""What is kept of copies that people asked for."""

from backend.rights.export.models import Export, ExportPart

# Django looks for an app's tables here.
__all__ = ["Export", "ExportPart"]
