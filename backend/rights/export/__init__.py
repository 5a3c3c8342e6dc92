"""A copy of everything that is somebody's."""
