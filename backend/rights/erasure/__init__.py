"""Withdrawing, which ends taking part; and erasure, which ends the data."""
