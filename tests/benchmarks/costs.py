"""What a running service costs, read from outside it: processor seconds, memory, write requests, and the times of its own steps.

In: a process id, an API server's metrics, a JSON log. Out: plain numbers. https://www.kernel.org/doc/html/latest/filesystems/proc.html
"""

import os
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.end_to_end.kubernetes import Kubernetes

STEPS = ("hook accepted", "new revision", "revision spread", "built", "applied", "message sent")
_USED = slice(11, 15)  # utime, stime, cutime, cstime, counted from the field after the command's name
_WRITE = re.compile(r'^apiserver_request_total\{(?=[^}]*verb="(?:POST|PUT|PATCH|APPLY|DELETE)")([^}]*)\} (\S+)$', re.M)


def family(pid: int) -> Iterator[int]:
    """The process and all its descendants that live now."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            children[int(fields[1])].append(int(folder.name))
    waiting = [pid]
    while waiting:
        waiting += children[waiting[0]]
        yield waiting.pop(0)


def cpu_seconds(pid: int) -> float:
    """What the family has used so far, children that have ended included."""
    return sum(sum(map(int, _stat(each)[_USED])) for each in family(pid)) / os.sysconf("SC_CLK_TCK")


def pss_mib(pid: int) -> float:
    """The family's memory, shared pages counted once."""
    kib = 0
    for each in family(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended meanwhile
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def api_writes(kube: Kubernetes) -> float:
    """Write requests that the API server has answered, those to Leases left out: they are renewed by the clock."""
    return sum(float(count) for labels, count in _WRITE.findall(kube.metrics()) if 'resource="leases"' not in labels)


def step_medians(lines: Iterable[Mapping[str, Any]], sent: Mapping[str, float]) -> dict[str, float]:
    """Milliseconds from the POST to each of STEPS, the median over the pushes.

    `sent` is when (seconds since the epoch) the delivery of a commit was sent; the commit leads to the trace, the trace to the steps.
    """
    traces: dict[str, dict[str, float]] = defaultdict(dict)
    commits: dict[str, str] = {}
    for line in lines:
        trace, said = line.get("trace", ""), line.get("msg", "")
        if trace and said in STEPS:
            traces[trace].setdefault(said, datetime.fromisoformat(line["ts"]).timestamp())
        if trace and said == "new revision":
            commits[line["revision"].rpartition(":")[2]] = trace
    found: dict[str, list[float]] = defaultdict(list)
    for commit, began in sent.items():
        for step, moment in traces[commits.get(commit, "")].items():
            found[step].append((moment - began) * 1000)
    return {step: statistics.median(found[step]) for step in STEPS if found[step]}


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat after the name: state, parent, ...; [] if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
