"""The application's side: ``loader`` finds it, ``environ`` is what it gets, ``wsgi`` calls it (PEP 3333)."""
