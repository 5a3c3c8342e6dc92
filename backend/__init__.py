"""The ground Selfkind stands on (people, access, keys, audit) and the roof over it (routes, pages)."""
