"""
How an application is tested with `qd.testing`: the shop's tests, to be copied from.

    pytest --pyargs qd.examples.test_shop
"""

from __future__ import annotations

import json
import mailbox
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qd import App
from qd.errors import PayloadError
from qd.examples import shop
from qd.testing import Kit

ANN = shop.Customer("Ann", "ann@example.com", "Lisbon", "Portugal")


@pytest.fixture
def qd_app() -> App:
    return shop.app


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shop, "OUT", tmp_path)
    return tmp_path


def order(number: str = "2026-00001", currency: str = "EUR") -> shop.Order:
    lines = [shop.Line("TEA-1", "Tea", 2, 450)]
    return shop.Order(number, datetime(2026, 1, 31, tzinfo=UTC), ANN, currency, lines)


def mails(out: Path) -> list[str]:
    with closing(mailbox.mbox(out / "mailbox.mbox")) as box:
        return [str(mail["Message-ID"]) for mail in box]


def test_an_invoice_asks_for_a_mail_and_for_stock(qd_kit: Kit, out: Path) -> None:
    ran = qd_kit.run(shop.invoice, order())
    assert ran.result == {"number": "2026-00001", "total": "€ 9.00"}
    assert "Tea" in (out / "invoices" / "2026-00001.html").read_text("utf-8")
    qd_kit.assert_enqueued(
        shop.send_email, queue="high", payload={"to": "ann@example.com"}, times=1
    )
    qd_kit.assert_enqueued("stock:reserve", payload={"items": {"TEA-1": 2}})


def test_an_order_that_does_not_fit_is_dead_at_once(qd_kit: Kit) -> None:
    with pytest.raises(PayloadError, match="currency"):
        qd_kit.run("order:invoice", {"number": "2026-00001", "currency": 7})
    assert [one.type for one in qd_kit.dead] == ["order:invoice"]


def test_a_dead_order_comes_back_when_its_currency_is_known(qd_kit: Kit, out: Path) -> None:
    assert qd_kit.attempt(shop.invoice, order(currency="PLN")).outcome == "archive"
    (out / "currencies.json").write_text(json.dumps({"PLN": "zł"}), "utf-8")
    assert qd_kit.run(qd_kit.dead[0]).result["total"] == "zł 9.00"


def test_a_busy_warehouse_is_asked_again_a_second_later(qd_kit: Kit, out: Path) -> None:
    shop.reserve_stock.enqueue("2026-00020", {"TEA-1": 2})
    (first,) = qd_kit.drain()
    assert (first.outcome, first.delay) == ("retry", 1)
    (second,) = qd_kit.advance("1s").of(shop.reserve_stock)
    assert second.ok
    assert json.loads((out / "reserved" / "2026-00020.json").read_text("utf-8")) == {"TEA-1": 2}


def test_stock_is_counted_every_two_seconds(qd_kit: Kit, out: Path) -> None:
    qd_kit.run(shop.reserve_stock, "2026-00001", {"TEA-1": 2})
    assert qd_kit.advance("10s").counts == {"stock:check": 5}
    assert json.loads((out / "stock.json").read_text("utf-8")) == {"TEA-1": 2}


def test_the_report_waits_until_nothing_is_left_to_do(qd_kit: Kit, out: Path) -> None:
    shop.reserve_stock.enqueue("2026-00040", {"TEA-1": 1})  # which fails at first
    shop.summary.options(task_id="report").enqueue()
    runs = qd_kit.advance("3s").of(shop.summary)
    assert [one.outcome for one in runs] == ["retry", "complete"]
    assert mails(out) == ["<mail-report@qd.example>"]


@pytest.mark.parametrize(
    "after", ["handler.before", shop._enqueue, "handler.after", "ending.after"]
)
def test_whenever_a_worker_dies_there_is_one_mail(qd_kit: Kit, out: Path, after: str) -> None:
    qd_kit.crash(shop.invoice, order(), after=after)
    qd_kit.drain()
    assert mails(out) == ["<mail-2026-00001@qd.example>"]
    assert qd_kit.dead == []


def test_the_same_file_may_be_imported_twice(qd_kit: Kit) -> None:
    assert qd_kit.run(shop.import_orders).result == {"enqueued": 524, "known": 0}
    assert qd_kit.run(shop.import_orders).result == {"enqueued": 0, "known": 524}
    assert len(qd_kit.tasks(shop.invoice)) == 524
