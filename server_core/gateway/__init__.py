"""The application's side of the server: ``loader`` finds it, ``wsgi`` speaks PEP 3333 with it."""
