"""Keeps the notes in SQLite: one connection for each request that asks for one."""

import sqlite3
from pathlib import Path

import click
from flask import current_app, g
from flask.cli import with_appcontext

SCHEMA = """
CREATE TABLE IF NOT EXISTS note (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    written_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""


def init_app(app):
    """Let the application use the database, and create it where it is missing."""
    app.teardown_appcontext(close)
    app.cli.add_command(init_db)
    with app.app_context():
        create()


def create():
    """Create what is missing; it is safe in several processes at once, and does no harm to what is there."""
    Path(current_app.config["DATABASE"]).parent.mkdir(parents=True, exist_ok=True)
    connection().execute(SCHEMA)


def connection():
    if "connection" not in g:
        # Without a transaction of its own, every statement is committed at once.  Several workers write to one file:
        # let each wait for its turn instead of failing at once.
        g.connection = sqlite3.connect(current_app.config["DATABASE"], timeout=20, isolation_level=None)
        g.connection.row_factory = sqlite3.Row
    return g.connection


def close(error=None):
    if "connection" in g:
        g.pop("connection").close()


@click.command("init-db")
@with_appcontext
def init_db():
    """Create the database where it is missing."""
    create()
    click.echo(f"The notes are kept in {current_app.config['DATABASE']}.")
