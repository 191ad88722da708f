"""Is a small notebook for the browser; `create_app` puts it together.

NOTES_DB        the SQLite file, default notes.sqlite3 in Flask's instance folder
NOTES_UPLOADS   the folder for uploaded files, default uploads/ in the instance folder
"""

import os
from pathlib import Path

from flask import Flask, render_template
from werkzeug.exceptions import HTTPException

from . import database, views


def create_app(config=None, *, title="Notes"):
    """Make the application.  `config` overrides its settings; `title` stands above every page."""
    app = Flask(__name__)
    instance = Path(app.instance_path)
    app.config.from_mapping(
        TITLE=title,
        DATABASE=os.environ.get("NOTES_DB", instance / "notes.sqlite3"),
        UPLOADS=os.environ.get("NOTES_UPLOADS", instance / "uploads"),
        SERVE={"workers": 2},  # what `flask serve` starts with when the command line says nothing else
    )
    app.config.from_mapping(config or {})

    database.init_app(app)
    app.register_blueprint(views.notes)
    app.register_error_handler(HTTPException, show_error)
    return app


def show_error(error):
    response = error.get_response()  # keeps the headers that belong to the error, such as Allow
    response.data = render_template("error.html", error=error)
    return response
