"""Clinics, participants, care relationships and dosing sessions."""
