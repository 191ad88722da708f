"""Holds the management commands of the shop; Django asks for this package."""
