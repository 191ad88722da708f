"""A Django app with one management command: ``python manage.py serve``.  Add ``"django_serve"`` to INSTALLED_APPS."""
