"""Copies of the database and of the key store, in two places; and bringing them back, checked.

What makes a copy or reads one needs no Django: it must work where nothing else does yet.
"""
