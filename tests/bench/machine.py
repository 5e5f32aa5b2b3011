"""On what it was measured, and beside how much else."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

MEGA = 1_000_000


def describe(folder: Path) -> dict[str, str]:
    """Say what the machine is; ``folder`` is where the files of the run lie."""
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{int(memory.split()[1]) * 1024 / 1e9:.1f} GB",
        "kernel": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "disk": _disk(folder),
        "python": platform.python_version(),
        "libraries": f"cryptography {version('cryptography')}, paho-mqtt {version('paho-mqtt')}",
        "peers": "; ".join(
            filter(None, (_says("age", "--version", name="age "), _says("openssl", "version"), _broker()))
        ),
    }


def load() -> str:
    """Return how busy the machine is (processes that want to run, over 1 and 5 minutes)."""
    one, five, _ = os.getloadavg()
    return f"{one:.1f} and {five:.1f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _disk(folder: Path) -> str:
    done = subprocess.run(["df", "--output=source,fstype", folder], capture_output=True, text=True, check=True)
    source, kind = done.stdout.splitlines()[1].split()
    where = Path("/sys/class/block") / Path(source).name / "queue" / "rotational"
    turning = where.exists() and where.read_text().strip() == "1"
    return f"{kind} on {source}{' (rotational)' if turning else ''}"


def _says(program: str, argument: str, *, name: str = "") -> str:
    found = shutil.which(program)
    if found is None:
        return ""
    done = subprocess.run([found, argument], capture_output=True, text=True, check=False)
    return name + (done.stdout or done.stderr).splitlines()[0].split(" (")[0]


def _broker() -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
    found = shutil.which("mosquitto", path=path)
    if found is None:
        return ""
    done = subprocess.run([found, "-h"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0] if done.stdout else "mosquitto"
