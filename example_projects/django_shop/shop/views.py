"""Answers the visitors of the shop, and the curious who want to see how it is being served."""

import csv
import json
import os
import threading
import time
from pathlib import PurePath

from django.contrib import messages
from django.db.models import Sum
from django.http import FileResponse, Http404, HttpResponse, HttpResponseBadRequest, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from .basket import Basket
from .forms import AddToBasketForm, AttachmentForm, CheckoutForm
from .models import Order, Product, SoldOut

# Shown by /whoami/: change it and reload the server to see which generation of workers answers.
VERSION = "1"

LONGEST_SLEEP = 10.0


# Products


def product_list(request):
    return render(request, "shop/product_list.html", {"products": Product.objects.all()})


def product_detail(request, slug):
    product = get_object_or_404(Product, slug=slug)
    return render(request, "shop/product_detail.html", {"product": product, "form": AddToBasketForm()})


def upload(request, slug):
    """Store one file with the product, in place of the one it had."""
    product = get_object_or_404(Product, slug=slug)
    form = AttachmentForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        file = form.cleaned_data["file"]
        product.attachment.delete(save=False)
        product.attachment.save(file.name, file)
        messages.success(request, f"Stored {file.name} ({file.size} bytes).")
        return redirect(product)
    return render(request, "shop/upload.html", {"product": product, "form": form})


def attachment(request, slug):
    """Send the product's file.  Strangers may have uploaded it, so browsers are told to save it, not to show it."""
    product = get_object_or_404(Product, slug=slug)
    if not product.attachment:
        raise Http404(f"{product} has no attachment")
    return FileResponse(
        product.attachment.open("rb"), as_attachment=True, filename=PurePath(product.attachment.name).name
    )


class _Line:
    """Is a file to the csv module, but hands every line back instead of keeping it."""

    def write(self, text):
        return text


def export(request):
    """Send all products as CSV, each row made only when the one before it has been taken."""

    def rows():
        writer = csv.writer(_Line())
        yield writer.writerow(["name", "price", "stock"])
        for row in Product.objects.values_list("name", "price", "stock").iterator():
            yield writer.writerow(row)

    return StreamingHttpResponse(
        rows(), content_type="text/csv", headers={"Content-Disposition": 'attachment; filename="products.csv"'}
    )


# What is left, as it happens

MOST_EVENTS = 1000


def stock(request):
    return render(request, "shop/stock.html")


def stock_events(request):
    """Send `n` server-sent events, one every `interval` seconds, and then an event named "end"."""
    try:
        count = min(int(request.GET.get("n", "5")), MOST_EVENTS)
        interval = min(max(0.0, float(request.GET.get("interval", "1"))), LONGEST_SLEEP)
    except ValueError:
        return HttpResponseBadRequest("n and interval are numbers\n", content_type="text/plain")

    def events():
        for number in range(1, count + 1):
            if number > 1:
                time.sleep(interval)
            left = Product.objects.aggregate(left=Sum("stock"))["left"]
            yield f"id: {number}\ndata: {json.dumps({'number': number, 'left': left, 'pid': os.getpid()})}\n\n"
        yield "event: end\ndata: {}\n\n"

    return StreamingHttpResponse(
        events(), content_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


# Basket and orders


def basket_detail(request):
    return render(request, "shop/basket.html", {"basket": Basket(request.session)})


@require_POST
def basket_add(request, slug):
    product = get_object_or_404(Product, slug=slug)
    form = AddToBasketForm(request.POST)
    if not form.is_valid():
        return render(request, "shop/product_detail.html", {"product": product, "form": form}, status=400)
    Basket(request.session).add(product, form.cleaned_data["quantity"])
    messages.success(request, f"“{product}” is in your basket.")
    return redirect("basket")


@require_POST
def basket_remove(request, slug):
    Basket(request.session).remove(get_object_or_404(Product, slug=slug))
    return redirect("basket")


def checkout(request):
    basket = Basket(request.session)
    if not basket:
        return redirect("basket")
    form = CheckoutForm(request.POST or None)
    if form.is_valid():
        order = form.save(commit=False)
        try:
            order.place(basket)
        except SoldOut as error:
            form.add_error(None, str(error))
        else:
            basket.empty()
            return redirect(order)
    return render(request, "shop/checkout.html", {"basket": basket, "form": form})


def order_detail(request, reference):
    return render(request, "shop/order.html", {"order": get_object_or_404(Order, reference=reference)})


# How the shop is being served


def healthz(request):
    return HttpResponse("ok\n", content_type="text/plain")


def whoami(request):
    """Tell which process and thread answers, and what it knows of the client."""
    return JsonResponse(
        {
            "version": VERSION,
            "pid": os.getpid(),
            "thread": threading.get_ident(),
            "remote_addr": request.META.get("REMOTE_ADDR", ""),
            "scheme": request.scheme,
            "is_secure": request.is_secure(),
        }
    )


def slow(request):
    """Take as long as asked for, within reason, like a page that waits for something."""
    try:
        wished = float(request.GET.get("seconds", "0.5"))
    except ValueError:
        return HttpResponseBadRequest("seconds is a number\n", content_type="text/plain")
    seconds = min(max(0.0, wished), LONGEST_SLEEP)
    time.sleep(seconds)
    return HttpResponse(f"slept {seconds:g} seconds\n", content_type="text/plain")


def boom(request):
    raise RuntimeError("this page always fails")
