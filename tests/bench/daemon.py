"""The memory that the daemon takes for a backup: its peak while it makes one, beside what it takes when idle."""

import datetime
import json
import re
import subprocess
import time

import measure
import ways

SOON = 4  # seconds from the daemon's start to its backup
IDLE = 2  # of these, until it counts as idle


def memory(bench, way, database):
    """Bytes: resident when idle, and at its peak until the backup was made."""
    place = bench.directory / "work"
    measure.remove(place)
    for directory in ("result", "state"):
        (place / directory).mkdir(parents=True)
    due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=SOON)
    file = place / "litekeeper.toml"
    file.write_text(ways.configuration(place, database, way, f"{due:%S %M %H} * * *".replace("  ", " ")))
    command = [bench.programs["LITEKEEPER"], "--config", str(file)]
    with open(place / "said.txt", "w") as said:
        daemon = subprocess.Popen([*command, "run"], stdout=said, stderr=said)
    try:
        time.sleep(IDLE)
        idle = resident(daemon.pid, "VmRSS")
        # The peak begins anew from here.
        with open(f"/proc/{daemon.pid}/clear_refs", "w") as clear:
            clear.write("5")
        limit = time.monotonic() + bench.limit + SOON
        while not (outcome := backed_up(command)):
            if daemon.poll() is not None or time.monotonic() > limit:
                raise measure.Failed("the daemon made no backup: " + (place / "said.txt").read_text()[-2000:])
            time.sleep(0.2)
        if outcome != "success":
            raise measure.Failed(f"the daemon's backup: {outcome}")
        return idle, resident(daemon.pid, "VmHWM")
    finally:
        daemon.terminate()
        daemon.wait()
        measure.remove(place)


def backed_up(command):
    """The outcome of the daemon's backup once it is over."""
    done = subprocess.run([*command, "--json", "history", "bench"], capture_output=True, text=True)
    runs = json.loads(done.stdout) if done.returncode == 0 else []
    return next((run["outcome"] for run in runs if run["task"] == "backup" and run["finished"]), None)


def resident(process, field):
    with open(f"/proc/{process}/status") as status:
        return int(re.search(rf"{field}:\s+(\d+) kB", status.read())[1]) * 1024
