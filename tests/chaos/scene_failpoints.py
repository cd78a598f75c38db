"""A process dies, raises, or is stopped at every step of the protocol in turn."""

from __future__ import annotations

from contextlib import closing

from tests.chaos.stage import Measure, Stage
from tests.chaos.sweep import ALL, SHORT, pass_through
from tests.process.daemon import Daemon


def run(stage: Stage) -> list[Measure]:
    chosen = SHORT if stage.profile.name == "short" else ALL
    bad = 0
    for number, armed in enumerate(chosen):
        stage.client.flushall()
        folder = stage.folder / str(number)
        folder.mkdir()
        with closing(Daemon(stage.server, stage.client, folder)) as daemon:
            complaints = pass_through(daemon, armed)
        bad += bool(complaints)
        for complaint in complaints:
            stage.say(f"{armed}: {complaint}")
    title = f"killed, failed or frozen at each of {len(chosen)} fail points"
    return [Measure(f"{title}: lost, doubled or charged at", "0 of them", str(bad), not bad)]
