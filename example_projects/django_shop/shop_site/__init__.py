"""Is the Django project around the shop: settings, root URLs and the WSGI entry point."""
