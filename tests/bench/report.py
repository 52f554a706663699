"""Tables in Markdown of what was measured, the machine that it was measured on, and their place in README.md."""

import datetime
import os
import pathlib
import platform
import statistics
import subprocess

import upkeep
from beside import quantile

MIB = 1 << 20
README = pathlib.Path(__file__).resolve().parent / "README.md"


def table(head, rows):
    """The first column to the left, the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def spread(values, digits=1):
    """Median (minimum–maximum)."""
    shown = [f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]}–{shown[2]})" if len(values) > 1 else shown[0]


def ratio(values, base):
    """Median of the ratios, round by round; the base is 1 by definition."""
    pairs = [value / other for value, other in zip(values, base) if other]
    return f"{statistics.median(pairs):.2f}" if pairs else ""


def mib(values):
    """The most of the runs."""
    most = max(values) / MIB
    return f"{most:.1f}" if most < 100 else f"{most:.0f}"


def runs(results, base, size):
    """Of backups and restores: `results` is a list of ways with their runs; ratios are to the way `base`, or the first."""
    chosen, reference = next((pair for pair in results if pair[0].name == base), results[0])
    read_back = any(run.read_back for _, done in results for run in done)
    noted = any(way.note for way, _ in results)
    head = ["", "time, s", "ratio", "CPU, s", "ratio", "memory, MiB", "scratch, MiB", "result, MiB"]
    head += ["read back, s"] * read_back + [""] * noted
    rows = []
    for way, done in results:
        if not all(run.finished for run in done):
            rows.append([way.name, "not at an end at the limit"] + [""] * (len(head) - 2))
            continue
        times, cpu = [run.time for run in done], [run.cpu for run in done]
        rows.append(
            [
                way.name,
                spread(times, 2),
                ratio(times, [run.time for run in reference]),
                spread(cpu, 2),
                ratio(cpu, [run.cpu for run in reference]),
                mib([run.memory for run in done]),
                mib([run.scratch for run in done]),
                mib([run.size for run in done]),
            ]
            + [f"{statistics.median(run.read_back for run in done):.2f}"] * read_back
            + [way.note] * noted
        )
    return f"{size}, {len(results[0][1])} round(s); ratios are to {chosen.name}\n\n" + table(head, rows)


def felt(results, title):
    """Of the application beside."""
    head = ["", "backup, s", "transactions", "p50, ms", "p99, ms", "worst, ms", "without: p50", "p99", "worst"]
    head += ["p99 ratio", "worst ratio", "BUSY", "WAL, MiB"]
    rows = []
    for result in results:
        if not result.during:
            rows.append([result.way.name, result.trouble] + [""] * (len(head) - 2))
            continue
        during = [quantile(result.during, share) * 1000 for share in (0.5, 0.99, 1.0)]
        without = [quantile(result.without, share) * 1000 for share in (0.5, 0.99, 1.0)]
        rows.append(
            [
                result.way.name,
                result.trouble or spread(result.durations),
                str(len(result.during)),
                *(f"{value:.2f}" for value in during),
                *(f"{value:.2f}" for value in without),
                f"{during[1] / without[1]:.2f}",
                f"{during[2] / without[2]:.2f}",
                str(result.busy),
                f"{result.wal / MIB:.1f}",
            ]
        )
    return f"{title}\n\n" + table(head, rows)


def upkept(results, title):
    """Of upkeep: `results` is a list of ways with their rounds, or with why there are none. Two tables: what the application
    felt, all rounds together, and what was done. Ratios are to the plain command of the same group."""
    figures = ["p50, ms", "p99", "worst", "of the time", "BUSY"]
    felt_head = ["", "transactions", *figures, "reads", *figures, "worst ratio", "p99 ratio", "WAL, MiB"]
    done_head = ["", "time, s", "ratio", "CPU, s", "smaller, MiB", "then free, MiB", "says it held, ms", "and says"]
    felt_rows, done_rows, plain = [], [], {}
    for way, rounds in results:
        if isinstance(rounds, str):
            for rows, head in ((felt_rows, felt_head), (done_rows, done_head)):
                rows.append([way.name, rounds] + [""] * (len(head) - 2))
            continue
        wrote, read = (quantiles([time for one in rounds for time in getattr(one, part)]) for part in ("wrote", "read"))
        times = [one.run.whole for one in rounds]
        if way.is_plain:
            plain[way.group] = (wrote, times)
        base_wrote, base_times = plain.get(way.group, (None, []))
        felt_rows.append(
            [
                way.name,
                str(sum(len(one.wrote) for one in rounds)),
                *(f"{value * 1000:.2f}" for value in wrote),
                f"{statistics.mean(one.writing for one in rounds):.1%}",
                str(sum(one.writer_busy for one in rounds)),
                str(sum(len(one.read) for one in rounds)),
                *(f"{value * 1000:.2f}" for value in read),
                f"{statistics.mean(one.reading for one in rounds):.1%}",
                str(sum(one.reader_busy for one in rounds)),
                *(f"{wrote[which] / base_wrote[which]:.3f}" if base_wrote else "" for which in (2, 1)),
                mib([one.run.wal for one in rounds]),
            ]
        )
        finished = all(one.run.finished for one in rounds)
        held = [seconds for one in rounds if (seconds := upkeep.held(one.run)) is not None]
        gained = [one.smaller for one in rounds], [one.free for one in rounds]
        done_rows.append(
            [
                way.name,
                spread(times, 2) if finished else f"killed after {max(times):.0f}",
                ratio(times, base_times),
                spread([one.run.cpu for one in rounds], 2),
                *(f"{max(0, statistics.median(values)) / MIB:.1f}" for values in gained),
                f"{max(held) * 1000:.1f}" if held else "",
                upkeep.said(rounds[-1].run),
            ]
        )
    return "\n\n".join([title, table(felt_head, felt_rows), table(done_head, done_rows)])


def refused(results, title):
    """Of an application that reads before it writes: `results` has the rounds of each way for each pair of milliseconds in and
    between transactions. How many failed, of all rounds together, and how long the way took."""
    cases = list(dict.fromkeys(case for of_way in results.values() for case in of_way))
    head = ["failed of all; the way's own time", *(f"{long:g} ms, pauses of {pause:g}" for long, pause in cases)]
    rows = []
    for way, of_way in results.items():
        cells = []
        for case in cases:
            rounds = of_way.get(case, [])
            failed, all_of = sum(one.failed for one in rounds), sum(len(one.taken) for one in rounds)
            share = f"{failed / all_of:.1%}" if all_of else ""
            gave_up = sum((one.run.report or {}).get("reason") == "no_pause" for one in rounds)
            note = f", gave up in {gave_up}" if gave_up else ""
            spent = spread([one.run.whole for one in rounds]) if rounds else ""
            cells.append(f"{failed} of {all_of} ({share}); {spent} s{note}")
        rows.append([way.name, *cells])
    return f"{title}\n\n" + table(head, rows)


def quantiles(times):
    """p50, p99 and the worst, in seconds."""
    return [quantile(times, share) if times else 0.0 for share in (0.5, 0.99, 1.0)]


def machine(directory, cold):
    """One paragraph on where and with what."""
    facts = {
        "date": f"{datetime.date.today()}",
        "processor": f"{os.cpu_count()} × {first('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(first('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB",
        "disk": asked(["findmnt", "--noheadings", "--output", "SOURCE,FSTYPE", "--target", str(directory)]),
        "kernel": platform.release(),
        "system": first("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "load average before": f"{os.getloadavg()[0]:.1f}",
        "page cache before each run": "empty" if cold else "warm",
    }
    return "Machine: " + "; ".join(f"{name}: {value}" for name, value in facts.items()) + "."


def first(path, field, separator=":"):
    with open(path) as lines:
        found = (line.partition(separator)[2].strip() for line in lines if line.partition(separator)[0].strip() == field)
        return next(found, "?")


def asked(command):
    try:
        return " ".join(subprocess.run(command, capture_output=True, text=True).stdout.split())
    except FileNotFoundError:
        return "?"


def save(name, text):
    """Replaces that benchmark's results in README.md, between its two marks."""
    begin, end = f"<!-- results of {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = README.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{README} has no place for the results of {name}")
    README.write_text(f"{before}{begin}\n{text}\n\n{end}{after}")
