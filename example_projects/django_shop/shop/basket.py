"""Keeps what a visitor wants to buy, in the session, until it is ordered."""

from .models import Product


class Basket:
    """The chosen products; iterating gives (product, quantity) pairs.

    The session holds {product id: quantity}, with the ids as text because sessions are stored as JSON.
    """

    def __init__(self, session):
        self._session = session
        self._quantities = dict(session.get("basket", {}))

    def __iter__(self):
        for product in Product.objects.filter(pk__in=self._quantities):
            yield product, self._quantities[str(product.pk)]

    def __bool__(self):
        return any(True for _ in self)  # ask the shop, not the session: a product may be gone since

    def add(self, product, quantity):
        self._quantities[str(product.pk)] = self._quantities.get(str(product.pk), 0) + quantity
        self._save()

    def remove(self, product):
        self._quantities.pop(str(product.pk), None)
        self._save()

    def empty(self):
        self._quantities.clear()
        self._save()

    def _save(self):
        self._session["basket"] = self._quantities

    @property
    def total(self):
        return sum(product.price * quantity for product, quantity in self)
