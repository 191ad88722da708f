"""Fills the shop for a demonstration: products, and an administrator whose password everybody knows.

It can be run again and again: what is there stays as it is.
"""

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.utils.text import slugify

from shop.models import Product

PRODUCTS = [
    ("Fountain pen", "29.00", "Steel nib, piston filler, a cap that clicks."),
    ("Bottle of ink", "11.50", "Fifty millilitres of blue-black that dries while you think."),
    ("Dotted notebook", "14.90", "A5, 120 sheets, lies flat from the first page."),
    ("Pencil, 2B", "1.80", "Cedar, soft, made for margins."),
    ("Brass sharpener", "7.20", "Two holes, one blade each, a lifetime of shavings."),
    ("Kneaded eraser", "3.40", "Takes away graphite and leaves the paper."),
    ("Letter paper", "9.60", "Twenty sheets with a deckle edge."),
    ("Envelopes", "6.30", "Twenty, lined in grey."),
    ("Wax seal", "18.00", "A plain round seal and one stick of red wax."),
    ("Desk blotter", "34.00", "Oak and felt, for those who still drip."),
    ("Paper knife", "22.50", "Boxwood, smooth on both sides."),
    ("Steel ruler", "8.10", "Thirty centimetres, cork on the back."),
]


class Command(BaseCommand):
    help = "Fill the shop for a demonstration (products, and the user admin with the password admin)."

    def add_arguments(self, parser):
        parser.add_argument(
            "--products",
            type=int,
            default=len(PRODUCTS),
            metavar="N",
            help=f"how many products there should be (default {len(PRODUCTS)}); postcards make up the number",
        )

    def handle(self, *, products, **options):
        postcards = ((f"Postcard no. {number}", "1.20", "One of a long series.") for number in range(1, products + 1))
        for name, price, description in [*PRODUCTS, *postcards][:products]:
            Product.objects.get_or_create(
                name=name,
                defaults={"slug": slugify(name), "price": price, "description": description, "stock": 25},
            )
        users = get_user_model().objects
        if not users.filter(username="admin").exists():
            users.create_superuser("admin", "admin@example.com", "admin")
            self.stderr.write("Created the user admin with the password admin: for a demonstration only.")
        self.stdout.write(f"The shop has {Product.objects.count()} products.")
