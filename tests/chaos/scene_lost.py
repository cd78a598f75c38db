"""Redis has carried out what was asked, and the answer never comes: was it done or not?"""

from __future__ import annotations

from itertools import cycle

from tests.chaos.relay import Loss, Relay
from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_LOSSES = 5
_AT_ONCE = 5
_CALL_TIMEOUT = "500ms"


def run(stage: Stage) -> list[Measure]:
    with Relay(stage.server.socket_path) as relay:
        redis = {"addrs": [relay.url], "call_timeout": _CALL_TIMEOUT}
        fleet = stage.fleet(redis=redis)
        fleet.add("a")
        for command in ("dequeue", "done"):
            for number, loss in zip(range(1, _LOSSES + 1), cycle(Loss), strict=False):
                lost = relay.lost[command] + 1
                relay.lose_answer(command, loss=loss)
                stage.producer.send("work", _AT_ONCE)
                eventually(lambda command=command, lost=lost: relay.lost[command] == lost, 20)
                eventually(lambda: stage.unsettled() == 0, within=30)
                stage.say(f"{number} answers to {command} lost ({loss.name.lower()})")
        ghosts = stage.client.llen("asynq:{default}:active")
        lost = dict(relay.lost)
        fleet.stop()
    verdict = stage.verdict(fleet, [])
    return [
        Measure(
            f"{lost['dequeue']} lost answers to dequeue, {lost['done']} to done: ghosts, run twice, "
            "lost, charged",
            "0, 0, 0, 0",
            f"{ghosts}, {verdict.extra}, {len(verdict.lost)}, {verdict.charged}",
            not (ghosts or verdict.extra or verdict.lost or verdict.charged),
        )
    ]
