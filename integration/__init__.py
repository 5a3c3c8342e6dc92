"""The weeks around a dosing session: what they ask for, and when.

Empty of features yet. The import rules in pyproject.toml already hold its place: above `scales`, below the roof.
"""
