"""What everybody may ask of their own data: a copy of it, an end to taking part, an end to all of it."""
