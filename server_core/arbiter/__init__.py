"""The process that starts, watches and replaces the others; it never imports the application.

In reading order: ``plan`` (what should be done next, pure), ``reports`` (what children say), ``boot`` (what a
forkserver is told), ``children`` (processes as the arbiter sees them), ``judge`` (who has been silent for too long),
``faults`` (how failures are told), ``arbiter`` (the loop).  ``forkserver`` is the other process: the workers' parent.
"""
