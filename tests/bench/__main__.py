"""`make bench`: the figures, printed as a table and kept as JSON in build/bench.json."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from pathlib import Path

from qd import __version__
from tests.bench import scenes
from tests.support.servers import RedisServer


def main() -> int:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    tasks = int(100_000 * scale)
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name, RedisServer() as server:
        folder = Path(name)
        version = server.client().info("server")["redis_version"]
        print(f"qd {__version__}, Python {platform.python_version()}, server {version}")
        print(f"{scenes.machine()}\n")

        def show(title: str, measured: dict[str, float]) -> None:
            figures[title] = measured
            text = "  ".join(f"{key} {value:,.1f}" for key, value in measured.items())
            print(f"{title:<44} {text}", flush=True)
            server.flush()

        show("ceiling: bare batches of 100", {"tasks/s": scenes.ceiling(server, tasks // 2)})
        for title, kind, count, slots in (
            ("drain, async no-op, 2 x 100 slots", "noop", 3 * tasks, 100),
            ("drain, async no-op, 2 x 10 slots", "noop", tasks, 10),
            ("drain, plain def no-op, 2 x 100 slots", "plain", tasks, 100),
            ("10 ms of waiting, 2 x 100 slots", "wait", tasks, 100),
        ):
            show(title, scenes.drain(server, kind, count, slots, folder / "log"))
        show("idle wake-up, 2 processes", scenes.wake_up(server, 300, folder))
        show("enqueue, synchronous", scenes.enqueue(server, tasks // 20))
    kept = Path("build/bench.json")
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps({"machine": scenes.machine(), "figures": figures}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
