"""How people come to a clinic's care, and come back to it on a new phone: invitations, recovery codes."""
