"""Tells what the shop promises, one sentence a test; `python manage.py test` checks every one."""

import os
import tempfile
import threading
from io import StringIO
from pathlib import Path
from unittest import mock

from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client, TestCase, override_settings

from .basket import Basket
from .models import Order, Product, SoldOut

CUSTOMER = {"name": "Ada", "email": "ada@example.com", "address": "12 Mill Lane"}


class ShopTestCase(TestCase):
    """Gives each test a shop with one product: a pen at 29.00, three in stock."""

    def setUp(self):
        self.pen = Product.objects.create(name="Pen", slug="pen", price="29.00", stock=3)

    def put_pens_into_basket(self, quantity):
        return self.client.post("/basket/add/pen/", {"quantity": quantity})


class BrowsingTests(ShopTestCase):
    def test_the_front_page_lists_the_products(self):
        self.assertContains(self.client.get("/"), '<a href="/products/pen/">Pen</a>', html=True)

    def test_a_product_page_shows_price_and_stock(self):
        response = self.client.get("/products/pen/")
        self.assertContains(response, "€ 29.00")
        self.assertContains(response, "3 in stock")

    def test_an_unknown_product_is_not_found(self):
        self.assertContains(self.client.get("/products/sword/"), "There is no such page", status_code=404)

    def test_looking_around_sets_no_session_cookie(self):
        self.client.get("/")
        self.client.get("/basket/")
        assert "sessionid" not in self.client.cookies


class BuyingTests(ShopTestCase):
    def test_the_basket_adds_up_from_request_to_request(self):
        self.put_pens_into_basket(1)
        self.put_pens_into_basket(2)
        self.assertContains(self.client.get("/basket/"), "€ 87.00")

    def test_a_product_can_be_taken_out_of_the_basket(self):
        self.put_pens_into_basket(1)
        self.client.post("/basket/remove/pen/")
        self.assertContains(self.client.get("/basket/"), "There is nothing in it")

    def test_a_quantity_below_one_is_refused(self):
        assert self.put_pens_into_basket(0).status_code == 400

    def test_the_basket_is_changed_by_post_only(self):
        assert self.client.get("/basket/add/pen/").status_code == 405

    def test_a_form_without_its_csrf_token_is_refused(self):
        strict = Client(enforce_csrf_checks=True)
        with self.assertLogs("django.security.csrf"):
            assert strict.post("/basket/add/pen/", {"quantity": 1}).status_code == 403

    def test_a_form_with_its_csrf_token_is_accepted(self):
        strict = Client(enforce_csrf_checks=True)
        strict.get("/products/pen/")
        token = strict.cookies["csrftoken"].value
        response = strict.post("/basket/add/pen/", {"quantity": 1, "csrfmiddlewaretoken": token})
        self.assertRedirects(response, "/basket/")

    def test_an_empty_basket_cannot_be_ordered(self):
        self.assertRedirects(self.client.post("/checkout/", CUSTOMER), "/basket/")

    def test_a_basket_whose_products_are_gone_cannot_be_ordered(self):
        self.put_pens_into_basket(1)
        self.pen.delete()
        self.assertRedirects(self.client.post("/checkout/", CUSTOMER), "/basket/")

    def test_an_order_is_confirmed_with_its_total(self):
        Product.objects.create(name="Ink", slug="ink", price="11.50", stock=1)
        self.put_pens_into_basket(2)
        self.client.post("/basket/add/ink/", {"quantity": 1})
        response = self.client.post("/checkout/", CUSTOMER, follow=True)
        assert response.redirect_chain == [(Order.objects.get().get_absolute_url(), 302)]
        self.assertContains(response, "Thank you, Ada")
        self.assertContains(response, "€ 69.50")

    def test_an_order_empties_the_basket(self):
        self.put_pens_into_basket(2)
        self.client.post("/checkout/", CUSTOMER)
        assert "pen" not in self.client.get("/basket/").content.decode()

    def test_an_order_takes_the_goods_from_stock(self):
        self.put_pens_into_basket(2)
        self.client.post("/checkout/", CUSTOMER)
        self.pen.refresh_from_db()
        assert self.pen.stock == 1

    def test_an_order_with_a_bad_email_address_is_asked_again(self):
        self.put_pens_into_basket(1)
        response = self.client.post("/checkout/", {**CUSTOMER, "email": "nowhere"})
        self.assertContains(response, "Enter a valid email address.")
        assert not Order.objects.exists()

    def test_more_than_there_is_cannot_be_ordered(self):
        self.put_pens_into_basket(4)
        response = self.client.post("/checkout/", CUSTOMER)
        self.assertContains(response, "We do not have 4 of “Pen” any more.")

    def test_an_order_that_fails_half_way_changes_nothing(self):
        ink = Product.objects.create(name="Ink", slug="ink", price="11.50", stock=1)
        pencil = Product.objects.create(name="Pencil", slug="pencil", price="1.80", stock=0)
        basket = Basket({})
        basket.add(ink, 1)
        basket.add(pencil, 1)
        with self.assertRaisesMessage(SoldOut, "We do not have 1 of “Pencil” any more."):
            Order(**CUSTOMER).place(basket)
        ink.refresh_from_db()
        assert ink.stock == 1
        assert not Order.objects.exists()


class FileTests(ShopTestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.media = Path(folder.name)
        settings = override_settings(MEDIA_ROOT=folder.name)
        settings.enable()
        self.addCleanup(settings.disable)

    def upload(self, name, content):
        return self.client.post("/products/pen/upload/", {"file": SimpleUploadedFile(name, content)})

    def test_an_uploaded_file_comes_back_byte_for_byte(self):
        content = bytes(range(256)) * 20_000  # five megabytes: more than Django keeps in memory
        self.assertRedirects(self.upload("nib.bin", content), "/products/pen/")
        response = self.client.get("/products/pen/attachment/")
        assert response.getvalue() == content
        assert response["Content-Length"] == str(len(content))

    def test_a_download_is_to_be_saved_under_the_name_of_the_upload(self):
        self.upload("nib.html", b"<script>")
        response = self.client.get("/products/pen/attachment/")
        response.close()
        assert response["Content-Disposition"] == 'attachment; filename="nib.html"'

    def test_a_new_upload_takes_the_place_of_the_old(self):
        self.upload("old.txt", b"old")
        self.upload("new.txt", b"new")
        assert [file.name for file in (self.media / "attachments").iterdir()] == ["new.txt"]

    def test_an_upload_without_a_file_is_asked_again(self):
        self.assertContains(self.client.post("/products/pen/upload/", {"file": ""}), "errorlist")

    def test_a_product_without_attachment_has_nothing_to_download(self):
        assert self.client.get("/products/pen/attachment/").status_code == 404

    def test_the_price_list_is_streamed_row_by_row(self):
        with self.assertNumQueries(0):
            response = self.client.get("/products.csv")
        assert list(response) == [b"name,price,stock\r\n", b"Pen,29.00,3\r\n"]


class ServingTests(TestCase):
    def test_the_health_page_says_ok(self):
        assert self.client.get("/healthz/").content == b"ok\n"

    def test_whoami_tells_who_answers_and_who_asked(self):
        expected = {
            "version": "1",
            "pid": os.getpid(),
            "thread": threading.get_ident(),
            "remote_addr": "192.0.2.7",
            "scheme": "https",
            "is_secure": True,
        }
        assert self.client.get("/whoami/", secure=True, REMOTE_ADDR="192.0.2.7").json() == expected

    def test_the_slow_page_sleeps_as_long_as_asked(self):
        assert self.seconds_slept_for("0.25") == 0.25

    def test_the_slow_page_sleeps_ten_seconds_at_most(self):
        assert self.seconds_slept_for("86400") == 10

    def test_the_slow_page_never_sleeps_a_negative_time(self):
        assert self.seconds_slept_for("-1") == 0

    def test_the_slow_page_wants_a_number(self):
        assert self.client.get("/slow/?seconds=long").status_code == 400

    def test_the_failing_page_shows_an_error_page_and_logs_the_reason(self):
        self.client.raise_request_exception = False
        with self.assertLogs("django.request", "ERROR") as logs:
            self.assertContains(self.client.get("/boom/"), "Something went wrong", status_code=500)
        assert "this page always fails" in logs.output[0]

    def seconds_slept_for(self, wish):
        with mock.patch("shop.views.time.sleep") as sleep:
            self.client.get("/slow/", {"seconds": wish})
        return sleep.call_args.args[0]


class CommandTests(TestCase):
    def seed(self, *arguments):
        call_command("seed", *arguments, stdout=StringIO(), stderr=StringIO())

    def test_seeding_twice_is_seeding_once(self):
        self.seed()
        self.seed()
        assert Product.objects.count() == 12
        assert get_user_model().objects.count() == 1

    def test_seeding_leaves_what_was_changed_alone(self):
        self.seed()
        Product.objects.update(stock=7)
        self.seed()
        assert not Product.objects.exclude(stock=7).exists()

    def test_seeding_can_make_a_large_shop(self):
        self.seed("--products", "40")
        assert Product.objects.count() == 40

    def test_the_seeded_administrator_sees_orders_in_the_admin(self):
        self.seed()
        assert self.client.login(username="admin", password="admin")
        Order.objects.create(**CUSTOMER)
        self.assertContains(self.client.get("/admin/shop/order/"), "ada@example.com")

    def test_the_migrations_are_up_to_date(self):
        call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())
