"""
A small web shop: orders become invoices, stock is reserved, mails go out, a report follows.

    qd worker --app qd.examples.shop
    qd enqueue order:import

The way of an order:

    order:import     reads a file, enqueues one order:invoice per line
    order:invoice    checks the order, writes invoices/NUMBER.html, enqueues the next two
    stock:reserve    writes reserved/NUMBER.json; the warehouse is busy now and then, so it retries
    email:send       appends to mailbox.mbox
    report:summary   waits until nothing is left to do, then mails what has been done
    stock:check      by the clock: adds up what is reserved, into stock.json

Everything is written below the folder that SHOP_OUT names (default: shop-out). The shipped
orders.jsonl holds six orders that cannot be invoiced. Two do not fit the types of `Order`. Four are
in currencies the shop does not know, until currencies.json in the folder says how they are written,
as in {"PLN": "zł", "CZK": "Kč"}; then `qd dlq requeue` brings them back.

Any task may run twice: whoever dies in the middle of one leaves it to another. So every step
replaces whole files, and asks for the next step under an id of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import qd
from qd.policy.retry import RetryKind, RetryPolicy

OUT = Path(os.environ.get("SHOP_OUT", "shop-out"))
SENDER = "shop@qd.example"
SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$", "CHF": "Fr."}
UNFINISHED = ("pending", "active", "scheduled", "retry")

app = qd.App("shop")


@dataclass
class Customer:
    name: str
    email: str
    city: str
    country: str


@dataclass
class Line:
    sku: str
    title: str
    quantity: int
    price_cents: int


@dataclass
class Order:
    """The payload of order:invoice. What does not fit goes to the dead letters at once."""

    number: str
    ordered_at: datetime
    customer: Customer
    currency: str
    lines: list[Line]

    @property
    def total_cents(self) -> int:
        return sum(line.quantity * line.price_cents for line in self.lines)


class WarehouseError(Exception):
    """The warehouse does not answer now; later it will."""


@app.lifespan
async def open_shop() -> AsyncIterator[dict[str, Any]]:
    """Once per worker process: the folders, and one connection to look at the queues."""
    for name in ("invoices", "reserved"):
        (OUT / name).mkdir(parents=True, exist_ok=True)
    yield {"inspector": app.inspector()}


@app.task("order:import", max_retry=3, retention="1h")
def import_orders(file: str = "") -> dict[str, int]:
    """
    Enqueue one order:invoice for every line of *file*; without it, of the orders shipped here.

    Importing a file again is harmless: an order that is known already keeps its task.
    """
    source = Path(file) if file else files("qd.examples") / "orders.jsonl"
    orders = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    new = [invoice.options(task_id=f"invoice-{one['number']}").new(one) for one in orders]
    return _enqueue(new)


@app.task("order:invoice", max_retry=3, timeout="30s", retention="1h")
def invoice(order: Order) -> dict[str, Any]:
    if not re.fullmatch(r"\d{4}-\d{5}", order.number):
        raise qd.SkipRetry(f"{order.number!r} is no order number")
    symbol = _symbol(order.currency)
    _write(OUT / "invoices" / f"{order.number}.html", _render(order, symbol))
    total = f"{symbol} {order.total_cents / 100:.2f}"
    mail = send_email.options(task_id=f"mail-{order.number}")
    stock = reserve_stock.options(task_id=f"reserve-{order.number}")
    _enqueue(
        [
            stock.new(order.number, {line.sku: line.quantity for line in order.lines}),
            mail.new(
                to=order.customer.email,
                subject=f"Invoice {order.number}: {total}",
                body=f"Dear {order.customer.name},\n\nthe invoice for your order is ready.\n",
            ),
        ]
    )
    return {"number": order.number, "total": total}


@app.task(
    "stock:reserve",
    queue="high",
    max_retry=3,
    timeout="10s",
    retention="1h",
    retry=RetryPolicy(RetryKind.FIXED, initial=1),
)
async def reserve_stock(number: str, items: dict[str, int], ctx: qd.Context) -> None:
    """Reserve what an order needs. Each twentieth order finds the warehouse busy at first."""
    if number.endswith(("00", "20", "40", "60", "80")) and ctx.retried == 0:
        raise WarehouseError(f"no answer for order {number}")
    _write(OUT / "reserved" / f"{number}.json", json.dumps(items))


@app.task("email:send", queue="high", max_retry=3, timeout="30s", retention="1h")
def send_email(to: str, subject: str, ctx: qd.Context, body: str = "") -> None:
    """
    Append a mail to mailbox.mbox, as a mail server would take it.

    A worker that dies right after leaves no note of it, and the mail goes out again; both then
    carry the same Message-ID.
    """
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = SENDER, to, subject
    mail["Message-ID"] = f"<{ctx.task_id}@qd.example>"
    mail.set_content(body)
    text = mail.as_bytes(unixfrom=True, policy=mail.policy.clone(mangle_from_=True))
    with (OUT / "mailbox.mbox").open("ab") as box:
        fcntl.flock(box, fcntl.LOCK_EX)
        box.write(text + b"\n")


@app.poll(
    "report:summary",
    initial_delay="1s",
    max_delay="1s",
    give_up_after="1h",
    queue="low",
    max_retry=3,
    retention="1h",
)
def summary(ctx: qd.Context) -> dict[str, int]:
    """Mail what has been done, once all orders are through; until then, look every second."""
    queues = [one for one in ctx.state["inspector"].queues.all() if one.name != ctx.queue]
    left = sum(getattr(one, state) for one in queues for state in UNFINISHED)
    if left:
        raise qd.NotYet(f"{left} tasks are not done yet")
    counts = {
        "invoices": len(list((OUT / "invoices").glob("*.html"))),
        "reserved": len(list((OUT / "reserved").glob("*.json"))),
        "refused": sum(one.archived for one in queues),
    }
    body = "".join(f"{name}: {count}\n" for name, count in counts.items())
    mail = send_email.options(task_id=f"mail-{ctx.task_id}")
    _enqueue([mail.new(to=SENDER, subject="What the shop has done", body=body)])
    return counts


# In a queue of its own: stock is counted whether or not orders are waiting.
@app.schedule("@every 2s", overlap="skip", queue="low")
@app.task("stock:check", queue="low", max_retry=0, timeout="10s")
def check_stock() -> None:
    """Add up what is reserved of each article."""
    reserved: Counter[str] = Counter()
    for file in (OUT / "reserved").glob("*.json"):
        reserved.update(json.loads(file.read_text("utf-8")))
    _write(OUT / "stock.json", json.dumps(dict(reserved.most_common()), indent=1))


def _enqueue(new: list[Any]) -> dict[str, int]:
    """Enqueue tasks; those whose ids are in use were enqueued by an earlier run of the same task."""
    outcomes = app.client.enqueue_many(new)
    for outcome in outcomes:
        if isinstance(outcome, qd.QdError) and not isinstance(outcome, qd.TaskIdConflict):
            raise outcome
    known = sum(isinstance(outcome, qd.TaskIdConflict) for outcome in outcomes)
    return {"enqueued": len(outcomes) - known, "known": known}


def _symbol(currency: str) -> str:
    """How a currency is written; one that nobody knows cannot be invoiced, however often it runs."""
    more = OUT / "currencies.json"
    known = SYMBOLS | (json.loads(more.read_text("utf-8")) if more.exists() else {})
    if currency not in known:
        raise qd.SkipRetry(f"currency {currency} is unknown; add it to {more}")
    return str(known[currency])


def _render(order: Order, symbol: str) -> str:
    rows = "".join(
        f"<tr><td>{escape(line.sku)}</td><td>{escape(line.title)}</td><td>{line.quantity}</td>"
        f"<td>{symbol} {line.price_cents / 100:.2f}</td></tr>\n"
        for line in order.lines
    )
    customer = order.customer
    return (
        f'<!doctype html>\n<meta charset="utf-8"><title>Invoice {order.number}</title>\n'
        f"<h1>Invoice {order.number}</h1>\n"
        f"<p>{escape(customer.name)}, {escape(customer.city)}, {escape(customer.country)}; "
        f"ordered {order.ordered_at:%d %B %Y}</p>\n"
        f"<table>\n{rows}</table>\n<p>Total: {symbol} {order.total_cents / 100:.2f}</p>\n"
    )


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole: a reader sees the old one or the new one."""
    # Two runs of one task may write at the same time, so each has a file of its own.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{id(text):x}")
    draft.write_text(text, "utf-8")
    draft.replace(path)
