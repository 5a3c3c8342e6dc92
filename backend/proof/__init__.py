"""That the audit trail is whole: heads of its chains kept outside the database, and what checks them."""
