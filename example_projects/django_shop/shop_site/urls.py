"""Joins the shop, the admin and the static files into one site."""

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    # Django refuses to serve static files with DEBUG off unless told so.  It is enough for a demo; in production a
    # static file server (or a middleware made for it) would stand here, and `collectstatic` would feed it.
    path("static/<path:path>", serve, {"insecure": True}),
    path("", include("shop.urls")),
]
