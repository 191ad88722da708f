"""Describes what the shop remembers: its products and what was ordered."""

import uuid

from django.db import models, transaction
from django.urls import reverse


class SoldOut(Exception):
    """There is less in stock than was asked for; the message is for the customer."""


class Product(models.Model):
    """Something to buy.  The attachment is any one file about it: a picture, a data sheet."""

    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.PositiveIntegerField(default=0)
    attachment = models.FileField(upload_to="attachments/", blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name

    def get_absolute_url(self):
        return reverse("product", args=[self.slug])


class Order(models.Model):
    """Who ordered and where it goes.  The reference is what the customer sees; it cannot be guessed."""

    reference = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100)
    email = models.EmailField()
    address = models.TextField()
    placed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-placed_at"]

    def __str__(self):
        return f"{self.name}, {self.placed_at:%Y-%m-%d}"

    def get_absolute_url(self):
        return reverse("order", args=[self.reference])

    @property
    def total(self):
        return sum(line.subtotal for line in self.lines.all())

    @transaction.atomic
    def place(self, basket):
        """Save the order with a line for each product of the basket, and take the goods from stock.

        Raises SoldOut, and changes nothing, when some product is short.  Two customers may ask for the last piece at
        the same moment, in two processes: the database decides, by updating only where enough is left.  The first
        statement writes, so SQLite takes its write lock at once and never has to give up half-way.
        """
        self.save()
        for product, quantity in basket:
            in_stock = Product.objects.filter(pk=product.pk, stock__gte=quantity)
            if not in_stock.update(stock=models.F("stock") - quantity):
                raise SoldOut(f"We do not have {quantity} of “{product}” any more.")
            self.lines.create(product=product, quantity=quantity, price=product.price)


class OrderLine(models.Model):
    """So many of one product, at the price of the day."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()
    price = models.DecimalField(max_digits=8, decimal_places=2)

    def __str__(self):
        return f"{self.quantity} × {self.product}"

    @property
    def subtotal(self):
        return self.price * self.quantity
