"""Serves the Django example for real, through both of its front doors, and uses it as its visitors do."""

from __future__ import annotations

import importlib.util
import json
import re

import pytest
from live import eventually, receive_all
from projects import MANAGE_SERVE, Browser, manage, shop_with_goods

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("django"), reason="Django is not installed")

SOME_MEGABYTES = bytes(range(256)) * 20_000


@pytest.fixture(scope="module", params=["manage.py serve", "prefork-serve"])
def shop(request, serve_for_all, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    project = shop_with_goods(folder)
    status, text = manage(project, "collectstatic", "--noinput")
    assert status == 0, text
    if request.param == "prefork-serve":
        mount = ("--static-mount", "/static/=staticfiles")
        return serve_for_all("--workers", "2", *mount, "shop_site.wsgi:application", cwd=project)
    return serve_for_all("--workers", "2", "--bind", "127.0.0.1:0", command=MANAGE_SERVE, cwd=project)


@pytest.fixture
def browser(shop):
    return Browser(shop)


def test_the_first_page_lists_the_products(browser):
    page = browser.get("/")
    assert page.status == 200
    assert "Fountain pen" in page.text


def test_a_page_that_is_not_there_is_the_shops_own_404(browser):
    answer = browser.get("/products/golden-pen/")
    assert answer.status == 404
    assert "Paper" in answer.text


def test_the_administrator_logs_in_and_sees_the_products(browser):
    page = browser.submit(
        "/admin/login/", "/admin/login/?next=/admin/shop/product/", username="admin", password="admin"
    )
    assert page.status == 200
    assert "Select product to change" in page.text


def test_a_form_without_its_token_is_forbidden(browser):
    assert browser.post("/basket/add/fountain-pen/", {"quantity": "1"}).status == 403


def test_a_basket_lasts_from_request_to_request_and_becomes_an_order(browser):
    page = browser.submit("/products/wax-seal/", "/basket/add/wax-seal/", quantity="2")
    assert "Wax seal" in page.text
    answered_by = {json.loads(browser.get("/whoami/").body)["pid"] for _ in range(5)}
    assert answered_by
    assert "Wax seal" in browser.get("/basket/").text
    order = browser.submit("/checkout/", "/checkout/", name="Ada", email="ada@example.com", address="12 St James's Sq")
    assert order.status == 200
    assert "36.00" in order.text
    assert "Wax seal" not in browser.get("/basket/").text


def test_an_upload_of_some_megabytes_comes_back_byte_for_byte(browser):
    page = browser.submit(
        "/products/steel-ruler/upload/", "/products/steel-ruler/upload/", file=("ruler.bin", SOME_MEGABYTES)
    )
    assert f"Stored ruler.bin ({len(SOME_MEGABYTES)} bytes)." in page.text
    download = browser.get("/products/steel-ruler/attachment/")
    assert download.headers["content-length"] == str(len(SOME_MEGABYTES))
    assert download.headers["content-disposition"] == 'attachment; filename="ruler.bin"'
    assert download.body == SOME_MEGABYTES


def test_the_price_list_is_streamed_row_by_row(shop):
    answer = shop.raw(b"GET /products.csv HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    rows = re.findall(rb"[0-9a-f]+\r\n([^\r\n]+\r\n)\r\n", body)
    assert rows[0] == b"name,price,stock\r\n"
    assert len(rows) == 13


def test_a_slow_page_holds_nobody_else_up(shop):
    with shop.connect() as slow:
        slow.sendall(b"GET /slow/?seconds=1.5 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        # The slow worker may have taken another connection before it began; the next one is not its own.
        eventually(lambda: is_healthy(shop, patience=0.3))
        slow.setblocking(False)
        with pytest.raises(BlockingIOError):
            slow.recv(1)
        slow.settimeout(30)
        assert receive_all(slow).endswith(b"slept 1.5 seconds\n")


def is_healthy(shop, patience):
    with shop.connect(timeout=patience) as sock:
        sock.sendall(b"GET /healthz/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        try:
            return receive_all(sock).endswith(b"ok\n")
        except TimeoutError:
            return False


def test_a_style_sheet_is_a_style_sheet(browser):
    answer = browser.get("/static/shop/shop.css")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/css")


def test_an_error_is_a_page_for_the_visitor_and_a_traceback_in_the_log(browser, shop):
    answer = browser.get("/boom/")
    assert answer.status == 500
    assert "Something went wrong" in answer.text
    shop.read_until(r"views\.py\", line \d+, in boom")
    shop.read_until("RuntimeError: this page always fails")


def test_the_application_knows_who_asks(browser):
    told = json.loads(browser.get("/whoami/").body)
    assert (told["remote_addr"], told["scheme"], told["is_secure"]) == ("127.0.0.1", "http", False)
