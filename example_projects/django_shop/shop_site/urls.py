"""Joins the shop and the admin into one site.  Static files need no address here: `manage.py serve` serves them."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("shop.urls")),
]
