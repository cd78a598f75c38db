"""The example application, with real workers: what ships must work, and show what qd promises."""

from __future__ import annotations

import fcntl
import json
import mailbox
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from qd.examples import demo
from tests.support.procs import ROOT, Proc, environment, running
from tests.support.servers import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.process

ORDERS = ROOT / "qd" / "examples" / "orders.jsonl"
FOREIGN = {"2026-00088", "2026-00204", "2026-00317", "2026-00452"}


class Shop:
    """A running worker of the shop, and the command line on the same Redis."""

    def __init__(self, url: str, out: Path, worker: Proc) -> None:
        self.url = url
        self.out = out
        self.worker = worker

    def qd(self, *words: str, code: int = 0) -> Any:
        """What a command answers, as JSON."""
        command = [sys.executable, "-m", "qd", *words, "--redis", self.url, "--json"]
        done = subprocess.run(command, cwd=self.out, capture_output=True, text=True, timeout=30)
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout) if done.stdout else None

    def run(self, task_type: str, task_id: str, *words: str) -> Any:
        """Enqueue a task, wait until it has ended, and return what it returned."""
        options = ["--id", task_id, "--retention", "1h", "--wait"]
        done = self.qd("enqueue", task_type, *words, *options)
        return done["task"]["result"]

    def report(self, task_id: str) -> Any:
        return self.run("report:summary", task_id, "--queue", "low")

    def dead(self) -> dict[str, str]:
        return {one["id"]: one["error"] for one in self.qd("dlq", "ls")["tasks"]}

    def mails(self) -> Counter[str]:
        """How often each Message-ID is in the mailbox."""
        with closing(mailbox.mbox(self.out / "mailbox.mbox")) as box:
            return Counter(str(mail["Message-ID"]) for mail in box)


@contextmanager
def open_shop(server: RedisServer, out: Path) -> Iterator[Shop]:
    words = ["worker", "--app", "qd.examples.shop", "--processes", "2", "--redis", server.url]
    with running(sys.executable, "-m", "qd", *words, env={"SHOP_OUT": str(out)}) as worker:
        worker.err.wait("all 3 children are ready", within=15)
        yield Shop(server.url, out, worker)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """All shipped orders imported, everything done that can be done. Tests only look at it."""
    with RedisServer() as server, open_shop(server, tmp_path_factory.mktemp("shop")) as shop:
        assert shop.run("order:import", "import") == {"enqueued": 524, "known": 0}
        shop.report("report")
        eventually(lambda: "<mail-report@qd.example>" in shop.mails())
        yield shop


@pytest.fixture
def empty_shop(server: RedisServer, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(server, tmp_path) as shop:
        yield shop


def shipped() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ORDERS.read_text("utf-8").splitlines()]


def test_every_order_that_can_be_invoiced_is_invoiced_reserved_and_mailed_once(shop: Shop) -> None:
    numbers = {one["number"] for one in shipped()}
    good = numbers - {task_id.removeprefix("invoice-") for task_id in shop.dead()}
    assert len(good) == 518
    assert {file.stem for file in (shop.out / "invoices").iterdir()} == good
    assert {file.stem for file in (shop.out / "reserved").iterdir()} == good
    wanted = [f"<mail-{number}@qd.example>" for number in good]
    assert shop.mails() == Counter([*wanted, "<mail-report@qd.example>"])


def test_what_cannot_be_invoiced_is_dead_at_once_and_the_error_says_what_is_wrong(
    shop: Shop,
) -> None:
    errors = shop.dead()
    assert len(errors) == 6
    assert "field `customer`" in errors["invoice-2026-00143"]
    assert "Expected `int`, got `str`" in errors["invoice-2026-00389"]
    assert "lines[0].price_cents" in errors["invoice-2026-00389"]
    for number in FOREIGN:
        assert "add it to" in errors[f"invoice-{number}"]
    tasks = shop.qd("dlq", "ls")["tasks"]
    assert {one["retried"] for one in tasks} == {0}


def test_a_busy_warehouse_is_asked_again(shop: Shop) -> None:
    busy = shop.qd("task", "show", "reserve-2026-00020")["task"]
    assert (busy["state"], busy["retried"]) == ("completed", 1)
    assert "no answer for order 2026-00020" in busy["error"]
    assert shop.qd("task", "show", "reserve-2026-00021")["task"]["retried"] == 0


def test_the_clock_adds_up_what_is_reserved(shop: Shop) -> None:
    dead = shop.dead()
    wanted: Counter[str] = Counter()
    for order in shipped():
        if f"invoice-{order['number']}" not in dead:
            wanted.update({line["sku"]: line["quantity"] for line in order["lines"]})
    file = shop.out / "stock.json"
    eventually(lambda: file.exists() and json.loads(file.read_text("utf-8")) == wanted)


def test_orders_come_back_from_the_dead_once_the_cause_is_mended(
    empty_shop: Shop, tmp_path: Path
) -> None:
    chosen = [one for one in shipped() if one["number"] in FOREIGN]
    unfit = [one for one in shipped() if "customer" not in one]
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in chosen + unfit), "utf-8")
    empty_shop.run("order:import", "import", f"file={file}")
    assert empty_shop.report("before") == {"invoices": 0, "reserved": 0, "refused": 5}

    (tmp_path / "currencies.json").write_text('{"PLN": "zł", "CZK": "Kč"}', "utf-8")
    empty_shop.qd("dlq", "requeue", "--all", "--type", "order:invoice", "-y")

    assert empty_shop.report("after") == {"invoices": 4, "reserved": 4, "refused": 1}
    assert list(empty_shop.dead()) == ["invoice-2026-00143"]
    text = (tmp_path / "invoices" / "2026-00088.html").read_text("utf-8")
    assert "Total: zł 198.00" in text


def test_importing_a_file_again_enqueues_nothing(empty_shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join(ORDERS.read_text("utf-8").splitlines()[:10]), "utf-8")
    empty_shop.run("order:import", "first", f"file={file}")
    assert empty_shop.run("order:import", "second", f"file={file}") == {"enqueued": 0, "known": 10}


def test_what_customers_write_is_neither_a_path_nor_markup(
    empty_shop: Shop, tmp_path: Path
) -> None:
    order = shipped()[0]
    order["customer"]["name"] = "<script>alert(1)</script>"
    empty_shop.run("order:invoice", "markup", json.dumps(order))
    page = (tmp_path / "invoices" / f"{order['number']}.html").read_text("utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page

    order["number"] = "../2026-00001"
    empty_shop.qd("enqueue", "order:invoice", json.dumps(order), "--id", "path", "--wait", code=1)
    assert empty_shop.dead() == {"path": "'../2026-00001' is no order number"}
    assert not (tmp_path / "2026-00001.html").exists()


def test_the_worker_stops_when_it_is_told_to(empty_shop: Shop) -> None:
    empty_shop.worker.signal(signal.SIGTERM)
    assert empty_shop.worker.wait(within=15) == 0


def test_the_demo_ends_well_and_leaves_nothing_running(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "qd.examples.demo"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=55
    )
    text = done.stdout.decode()
    assert done.returncode == 0, text + done.stderr.decode()
    assert "Requeue: 4 tasks done" in text
    assert "522 invoices and 524 mails; 2 orders still wait for a person." in text
    # The server ends with its last user, a moment later.
    lock = tmp_path / "demo-out" / ".qd" / "server.lock"
    eventually(lambda: _unlocked(lock), within=10)


def test_a_demo_that_is_killed_leaves_nothing_running(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "qd.examples.demo"]
    env = environment()
    lock = tmp_path / "demo-out" / ".qd" / "server.lock"
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        # Orders are being worked on: the server is there, the workers as well.
        eventually((tmp_path / "demo-out" / "shop-out" / "invoices").exists, within=40)
        assert not _unlocked(lock)
        process.kill()
    eventually(lambda: _unlocked(lock), within=30)


def test_the_demo_fails_if_something_is_not_as_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "REFUSED", 5)
    assert demo.main() == 1
    assert "not so: 5 dead tasks" in capfd.readouterr().err


def _unlocked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
