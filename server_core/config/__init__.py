"""Knows how settings are declared, read, judged and shown; does not know what any of them does to the server."""
