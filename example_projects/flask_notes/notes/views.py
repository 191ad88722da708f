"""Answers every address of the notebook, and of the pages that show how it is being served."""

import json
import os
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    redirect,
    render_template,
    request,
    send_from_directory,
    url_for,
)
from werkzeug.utils import secure_filename

from .database import connection

# Shown by /whoami: change it and reload the server to see which generation of workers answers.
VERSION = "1"

LONGEST_SLEEP = 10.0
MOST_EVENTS = 1000

notes = Blueprint("notes", __name__)


# Notes


@notes.get("/")
def index():
    written = connection().execute("SELECT * FROM note ORDER BY id DESC").fetchall()
    files = sorted(path.name for path in uploads().iterdir() if path.is_file())
    return render_template("index.html", written=written, files=files)


@notes.post("/notes")
def create():
    title = request.form.get("title", "").strip()
    if not title:
        abort(400, "A note needs a title.")
    connection().execute("INSERT INTO note (title, body) VALUES (?, ?)", [title, request.form.get("body", "")])
    return redirect(url_for("notes.index"))


@notes.post("/notes/<int:number>/delete")
def delete(number):
    if not connection().execute("DELETE FROM note WHERE id = ?", [number]).rowcount:
        abort(404)
    return redirect(url_for("notes.index"))


# Files


@notes.post("/files")
def upload():
    """Store a file under its own name.  It appears whole or not at all, also to a download in another process."""
    file = request.files.get("file")
    name = secure_filename(file.filename) if file else ""
    if not name:
        abort(400, "Please choose a file.")
    with tempfile.TemporaryDirectory(dir=uploads()) as folder:
        file.save(Path(folder, name))
        Path(folder, name).replace(uploads() / name)
    return redirect(url_for("notes.index"))


@notes.get("/files/<name>")
def download(name):
    return send_from_directory(uploads(), name, as_attachment=True)


def uploads():
    folder = Path(current_app.config["UPLOADS"]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# How the notebook is being served


@notes.get("/events")
def events():
    """Send `n` server-sent events, one every `interval` seconds, and then an event named "end"."""
    count = min(request.args.get("n", 5, type=int), MOST_EVENTS)
    interval = sleep_asked_for("interval", 1.0)

    def stream():
        for number in range(1, count + 1):
            if number > 1:
                time.sleep(interval)
            told = {"number": number, "pid": os.getpid(), "time": datetime.now(timezone.utc).isoformat()}
            yield f"id: {number}\ndata: {json.dumps(told)}\n\n"
        yield "event: end\ndata: {}\n\n"

    return Response(stream(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})


@notes.get("/whoami")
def whoami():
    """Tell which process and thread answers, and what it knows of the client."""
    return {
        "version": VERSION,
        "title": current_app.config["TITLE"],
        "pid": os.getpid(),
        "thread": threading.get_ident(),
        "remote_addr": request.remote_addr or "",
        "scheme": request.scheme,
        "is_secure": request.is_secure,
    }


@notes.get("/slow")
def slow():
    """Take as long as asked for, within reason, like a page that waits for something."""
    seconds = sleep_asked_for("seconds", 0.5)
    time.sleep(seconds)
    return Response(f"slept {seconds:g} seconds\n", mimetype="text/plain")


def sleep_asked_for(name, default):
    return min(max(0.0, request.args.get(name, default, type=float)), LONGEST_SLEEP)


@notes.get("/healthz")
def healthz():
    return Response("ok\n", mimetype="text/plain")


@notes.get("/boom")
def boom():
    raise RuntimeError("this page always fails")
