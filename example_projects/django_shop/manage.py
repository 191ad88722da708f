#!/usr/bin/env python
"""Runs the shop's management commands: migrate, seed, serve and the rest."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_site.settings")
    execute_from_command_line(sys.argv)
