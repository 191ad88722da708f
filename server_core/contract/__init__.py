"""What every worker class promises for WSGI applications, as a suite that its author can run against a real server.

``python -m server_core.contract package.module:Class`` tells of each promise whether it is kept.
"""
