"""Where the time of `raylike run-all` goes: wall clock and CPU by stage, and which processes used it.

    uv run python benchmarks/run_all.py [run-all's options]

Runs in a fresh workspace under the temporary folder. A stage that uses both cores of two has a CPU time of
twice its wall clock; what is far below that waits for something.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict

import psutil

LOOK_EVERY_S = 0.4
BUSIEST = 4


def main(options: list[str]) -> None:
    """Run, watch and print."""
    with tempfile.TemporaryDirectory(prefix="raylike-benchmark-") as folder:
        command = [sys.executable, "-m", "cli.main", "run-all", "--workspace", folder, "--json", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        stage = ["start"]
        listener = threading.Thread(target=follow, args=(process, stage), daemon=True)
        listener.start()
        wall, cpu = watch(process, stage)
        listener.join()
    print(f"{'stage':<10} {'wall s':>7} {'CPU s':>7}  busiest processes, CPU s")
    for name, seconds in wall.items():
        busiest = ", ".join(f"{who} {spent:.1f}" for who, spent in cpu[name].most_common(BUSIEST))
        print(f"{name:<10} {seconds:7.1f} {sum(cpu[name].values()):7.1f}  {busiest}")
    print(f"{'all':<10} {sum(wall.values()):7.1f} {sum(sum(c.values()) for c in cpu.values()):7.1f}")


def follow(process: subprocess.Popen[str], stage: list[str]) -> None:
    """Keep the name of the stage in progress in `stage[0]`, from the run's own events."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "stage_started":
            stage[0] = event["stage"]


def watch(
    process: subprocess.Popen[str], stage: list[str]
) -> tuple[dict[str, float], dict[str, Counter[str]]]:
    """Seconds, and CPU seconds by kind of process, of every stage."""
    wall: dict[str, float] = defaultdict(float)
    cpu: dict[str, Counter[str]] = defaultdict(Counter)
    spent_before: dict[int, float] = {}
    root, looked_at = psutil.Process(process.pid), time.monotonic()
    while process.poll() is None:
        time.sleep(LOOK_EVERY_S)
        now = time.monotonic()
        wall[stage[0]] += now - looked_at
        looked_at = now
        for pid, kind, spent in times(root):
            cpu[stage[0]][kind] += spent - spent_before.get(pid, 0.0)
            spent_before[pid] = spent
    return wall, cpu


def times(root: psutil.Process) -> list[tuple[int, str, float]]:
    """Process id, kind and CPU seconds so far of a process and all below it."""
    found = []
    try:
        everyone = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    for one in everyone:
        try:
            used = one.cpu_times()
            found.append(
                (one.pid, "driver" if one == root else kind_of(one.cmdline()), used.user + used.system)
            )
        except psutil.Error:
            continue
    return found


def kind_of(command: list[str]) -> str:
    """A short name for a process by its command line: Ray's actors name themselves."""
    line = " ".join(command)
    if line.startswith("ray::"):
        return line.split("(")[0].removeprefix("ray::").split(" ")[0]
    for name in ("raylike.simulator", "gcs_server", "raylet", "dashboard", "default_worker"):
        if name in line:
            return name
    return "other"


if __name__ == "__main__":
    main(sys.argv[1:])
