"""The pre-fork server core: settings, HTTP, engine, workers, arbiter and command line.  Knows no framework."""

__version__ = "0.1.0"
