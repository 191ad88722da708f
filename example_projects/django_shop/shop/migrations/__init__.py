"""Holds the steps that bring the database to the current models."""
