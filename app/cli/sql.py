"""Pieces of SQL for commands whose statements are of names that only the database knows."""

__all__ = ["TABLES", "literal", "quoted"]

TABLES = """
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind = 'r'
    ORDER BY c.relname
"""
"""The names of all tables."""


def quoted(name: str) -> str:
    """A name as it stands in a statement."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def literal(text: str) -> str:
    """A text as it stands in a statement."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
