"""Lists every address of the shop."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.product_list, name="products"),
    path("products.csv", views.export, name="export"),
    path("products/<slug:slug>/", views.product_detail, name="product"),
    path("products/<slug:slug>/upload/", views.upload, name="upload"),
    path("products/<slug:slug>/attachment/", views.attachment, name="attachment"),
    path("basket/", views.basket_detail, name="basket"),
    path("basket/add/<slug:slug>/", views.basket_add, name="basket-add"),
    path("basket/remove/<slug:slug>/", views.basket_remove, name="basket-remove"),
    path("checkout/", views.checkout, name="checkout"),
    path("orders/<uuid:reference>/", views.order_detail, name="order"),
    path("stock/", views.stock, name="stock"),
    path("stock/events/", views.stock_events, name="stock-events"),
    path("healthz/", views.healthz, name="healthz"),
    path("whoami/", views.whoami, name="whoami"),
    path("slow/", views.slow, name="slow"),
    path("boom/", views.boom, name="boom"),
]
