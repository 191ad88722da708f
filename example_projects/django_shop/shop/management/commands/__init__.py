"""Holds one module for each `manage.py` command of the shop."""
