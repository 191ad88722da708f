"""A command for Flask's command line, ``flask serve``; Flask finds it by the entry-point group flask.commands."""
