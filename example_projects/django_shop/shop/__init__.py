"""Is a small stationery shop: products, a basket, orders, and a few pages that show how it is being served."""
