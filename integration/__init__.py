"""The weeks around a dosing session: what they ask for, and when.

It has no feature yet. The import rules in pyproject.toml hold its place: above `scales`, below the roof.
"""
