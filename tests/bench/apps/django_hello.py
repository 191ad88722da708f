"""Knows the smallest honest Django project: settings, one view and the application in a single file.

The two middlewares are those of a fresh project that work without sessions, forms and a database.
"""

from __future__ import annotations

from django.conf import settings

settings.configure(
    SECRET_KEY="only for the benchmark, which serves no secret",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
)

from django.core.wsgi import get_wsgi_application  # noqa: E402 - Django wants its settings first
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("Hello, World!", content_type="text/plain")


urlpatterns = [path("", hello)]
app = get_wsgi_application()
