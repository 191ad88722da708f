"""The process that starts, watches and replaces the others; it never imports the application.

In reading order: ``plan`` (what should be done next, pure), ``reports`` (what children say), ``children`` (processes
as the arbiter sees them), ``arbiter`` (the loop), ``start`` (from settings to a running arbiter).  ``forkserver`` is
the other process: the parent of the workers.
"""
