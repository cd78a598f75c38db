"""What figures were measured on: the machine, and the versions of everything that takes part."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from qd import __version__
from tests.support.servers import RedisServer


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, Linux {platform.release()}"


def versions(server: RedisServer) -> dict[str, str]:
    with server.client() as raw:
        facts = raw.info("server")
    name = "valkey" if "valkey_version" in facts else "redis"
    found = {
        "qd": __version__,
        "Python": platform.python_version(),
        "server": f"{name} {facts[f'{name}_version']}",
    }
    found |= {package: version(package) for package in ("redis", "hiredis", "uvloop", "msgspec")}
    try:
        said = subprocess.run(["go", "version"], capture_output=True, text=True, check=True)
        found["Go"] = said.stdout.split()[2]
    except (OSError, subprocess.CalledProcessError):
        pass
    return found
