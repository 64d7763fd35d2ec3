# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is measured: each row says which subjects take turns, and which ratios of their times are figures."""
import os
import re
import shutil
import statistics
import subprocess
import time

from figures import Ratio, Result, quantile
from scratch import BUILD, Failed, Missing, Subject

ALL = []


class Plan:
    """subjects: by name, in the order of their turns. calls: in a block. warm: before the first."""

    def __init__(self, subjects, figures, calls=100, warm=20):
        self.subjects, self.figures, self.calls, self.warm = subjects, figures, calls, warm


def row(name, what, quick=True, guest=False):
    """guest: only in the emulated machine, where nothing else is measured."""
    def register(function):
        ALL.append(type("Row", (), {"name": name, "what": what, "quick": quick, "guest": guest,
                                    "function": staticmethod(function)}))
        return function
    return register


def round_trip():
    return Subject("round-trip")


def trapped(place, name="trapped"):
    """A read that a minimal reader lets go on: the reader first, since only descriptors opened after its mark are trapped."""
    path = place.files(place.plain, name)
    place.start(Subject("reader", path))
    return Subject("read", path, 1)


@row("0", "the floors")
def floors(place):
    return Plan({"R": round_trip(), "F": trapped(place)},
                [Ratio("F, a trapped read answered at once, by R, a round trip of 64 bytes", "F", ["R"])])


@row("1", "calls that are not ours")
def not_ours(place):
    del place
    subjects = {}
    for shim in (True, False):
        subjects[f"mmap {shim}"] = Subject("anonymous", 2000, shim=shim)
        subjects[f"malloc {shim}"] = Subject("allocate", 2000, shim=shim)
    return Plan(subjects, [
        Ratio("anonymous mmap and munmap, under the shim", "mmap True", ["mmap False"], 1.02, part=0.1),
        Ratio("malloc and free of 16 B to 512 KiB, under the shim", "malloc True", ["malloc False"], 1.02, part=0.1),
    ], calls=20)


def instructions(name, calls, shim):
    """Of a whole subject, as callgrind counts them."""
    env = {"PATH": os.environ["PATH"]}
    if shim:
        env["LD_PRELOAD"] = os.path.join(BUILD, ".libs", "libdaxlease-shim.so")
        env["DAXLEASE_QUIET"] = "1"
    ran = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                          os.path.join(BUILD, "bench_calls"), name, "1"],
                         input=f"{calls}\n", env=env, capture_output=True, text=True, check=False)
    found = re.search(r"Collected *: *(\d+)", ran.stderr)
    if ran.returncode != 0 or not found:
        raise Failed(f"valgrind: {ran.stderr[-300:]}")
    return int(found[1])


@row("1i", "instructions of calls that are not ours")
def not_ours_counted(place):
    del place
    if not shutil.which("valgrind"):
        raise Missing("there is no valgrind")
    many, few = 3000, 1000
    each = {shim: (instructions("anonymous", many, shim) - instructions("anonymous", few, shim)) / (many - few)
            for shim in (True, False)}
    return [Result("instructions more for an anonymous mmap and munmap, both together", each[True] - each[False],
                   goal=60, unit="", note=f"{each[True]:.0f} / {each[False]:.0f}")]


@row("2", "mapping a file of a pool")
def mapping(place):
    again = place.files(place.pool, "again")
    other = place.files(place.pool, "other")
    subjects = {
        "R": round_trip(),
        "first": Subject("map", place.files(place.pool, "first", 256), 256, shim=True),
        "plain": Subject("map", place.files(place.plain, "first", 256), 256),
        "F": trapped(place),
        "other": Subject("map", other, 1, shim=True),
        "again": Subject("map-again", again, shim=True),
        "plain again": Subject("map-again", place.files(place.plain, "again")),
    }
    place.start(Subject("hold", other, 4, shim=True))
    return Plan(subjects, [
        Ratio("first lease of a file: by R + plain mmap", "first", ["R", "plain"], 1.25),
        Ratio("a file that another process has leased: by F + plain mmap", "other", ["F", "plain again"], 1.25),
        Ratio("a range it holds already: by F + plain mmap", "again", ["F", "plain again"], 1.25),
    ])


@row("3", "unmapping")
def unmapping(place):
    subjects = {
        "R": round_trip(),
        "ours": Subject("unmap", place.files(place.pool, "unmap", 256), 256, shim=True),
        "plain": Subject("unmap", place.files(place.plain, "unmap", 256), 256),
    }
    return Plan(subjects, [
        Ratio("munmap of a leased mapping: by R + plain munmap; 1 and more would be waiting", "ours", ["R", "plain"], 1),
        Ratio("the same by plain munmap alone", "ours", ["plain"]),
    ])


@row("4", "reading and writing files")
def access(place):
    leased = place.files(place.pool, "leased")
    place.start(Subject("hold", leased, 4, shim=True))
    unleased, plain = place.files(place.pool, "unleased"), place.files(place.plain, "unwatched")
    return Plan({
        "read": Subject("read", unleased, 500),
        "plain read": Subject("read", plain, 500),
        "write": Subject("write", unleased, 500),
        "plain write": Subject("write", plain, 500),
        "leased": Subject("read", leased, 1),
        "F": trapped(place),
    }, [
        Ratio("pread, not leased, in a watched pool: by an unwatched file system", "read", ["plain read"], 1.02, part=0.1),
        Ratio("pwrite, not leased, in a watched pool: by an unwatched file system", "write", ["plain write"], 1.02, part=0.1),
        Ratio("pread of a leased file: by F", "leased", ["F"], 1.1),
    ])


@row("4s", "what the kernel takes for files that are not leased")
def silent(place):
    unleased, silenced = place.files(place.pool, "not leased"), place.files(place.plain, "silenced")
    place.start(Subject("silent-reader", silenced))
    return Plan({
        "read": Subject("read", unleased, 500),
        "silenced read": Subject("read", silenced, 500),
        "write": Subject("write", unleased, 500),
        "silenced write": Subject("write", silenced, 500),
    }, [
        Ratio("pread, not leased, in a watched pool: by a file system that is watched, but for this file", "read",
              ["silenced read"], 1.02, part=0.1),
        Ratio("pwrite, the same", "write", ["silenced write"], 1.02, part=0.1),
    ])


@row("4b", "who stands by")
def bystander(place):
    leased = place.files(place.pool, "crowded")
    place.start(Subject("hold", leased, 4, shim=True))
    readers = place.load(Subject("readers", leased, 64))
    grants = place.files(place.pool, "bystander", 64)
    return Plan({
        "idle": Subject("grant", grants, 64, program="leases"),
        "crowd": Subject("grant", grants, 64, program="leases", load=readers),
    }, [
        Ratio("99% of grants while 64 threads read a leased file: by the same without them", "crowd", ["idle"], 2,
              part=0.99),
        Ratio("50% of them", "crowd", ["idle"]),
    ], calls=200)


@row("5", "the test of 2018")
def test_of_2018(place):
    ours = place.files(place.pool, "truncated")
    place.start(Subject("hold", ours, 1, shim=True))
    watched, plain = place.files(place.plain, "watched"), place.files(place.plain, "truncated")
    place.start(Subject("reader", watched))
    return Plan({
        "ours": Subject("truncate", ours, 1),
        "bare": Subject("truncate", watched, 1),
        "plain": Subject("truncate", plain, 1),
    }, [
        Ratio("a last page truncated away and back, the first leased: by a minimal reader", "ours", ["bare"], 1.2),
        Ratio("the same by nobody watching (2018: 3.899 s / 0.015 s = 260)", "ours", ["plain"]),
    ])


@row("6", "breaks")
def breaks(place):
    return Plan({
        "R": round_trip(),
        "F": trapped(place),
        "1": Subject("break", place.files(place.pool, "one"), 1, program="leases"),
    }, [Ratio("a break with one holder, who lets go at once: by R + F", "1", ["R", "F"], 1.25)])


def crowd_of(count):
    def plan(place):
        return Plan({
            "fan-out": Subject("fan-out", count),
            "ours": Subject("break", place.files(place.pool, f"held by {count}"), count, program="leases"),
        }, [Ratio(f"a break with {count} holders: by a message to each and one back", "ours", ["fan-out"], 1.25)],
                    calls=max(1, 20 // (count // 10)), warm=1)
    return plan


row("6a", "a break with 10 holders")(crowd_of(10))
row("6b", "a break with 100 holders")(crowd_of(100))
row("6c", "a break with 1000 holders", quick=False)(crowd_of(1000))


@row("7", "many clients")
def throughput(place):
    grants = Subject("grants", place.files(place.pool, "client", 50), program="leases")
    peer = Subject("set-nx", place.enter(place.redis()), program="leases")
    return Plan({"ours": grants, "redis": peer},
                [Ratio("leases granted to 50 waiting processes: how many for each SET NX of a redis server", "ours", ["redis"],
                       "> 1", turned=True)], calls=1, warm=1)


@row("8", "a million leases in the core")
def core_scale(place):
    many, few = (1000000, 10000, 1000), (1000, 10, 10)
    counts = (100000, 1000, 100) if place.quick else many
    return Plan({
        "grant many": Subject("grant", *counts, program="core"),
        "grant few": Subject("grant", *few, program="core"),
        "break many": Subject("break", *counts, program="core"),
        "break few": Subject("break", *few, program="core"),
    }, [
        Ratio(f"a grant and a release among {counts[0]}: by the same among 1000", "grant many", ["grant few"]),
        Ratio(f"a break and a release among {counts[0]}: by the same among 1000", "break many", ["break few"]),
    ], calls=2000)


@row("8b", "memory of a lease in the core")
def core_memory(place):
    counts = (100000, 1000, 100) if place.quick else (1000000, 10000, 1000)
    ran = subprocess.run([os.path.join(BUILD, "bench_core"), "bytes", *map(str, counts)], capture_output=True, text=True,
                         check=True)
    return [Result(f"a lease in the core, of {counts[0]}", float(ran.stdout), goal=200, unit="bytes")]


def memory_of(pid, what="VmRSS"):
    """In bytes: resident."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return int(re.search(rf"^{what}:\s*(\d+) kB", file.read(), re.M)[1]) * 1024


def in_turns(processes, rounds, calls):
    """The medians, by name, over all rounds."""
    blocks = {name: [] for name in processes}
    for _ in range(rounds):
        for name, process in processes.items():
            blocks[name].append(statistics.median(process.block(calls)))
    return {name: statistics.median(block) for name, block in blocks.items()}


@row("8c", "many leases in the daemon, and its restart", quick=False)
def daemon_scale(place):
    files = place.files(place.pool, "many", 250, 100 * 4096)
    measured = {
        "R": place.start(round_trip()),
        "grant": place.start(Subject("grant", place.files(place.pool, "beside", 64), 64, program="leases")),
        "break": place.start(Subject("break", place.files(place.pool, "broken"), 1, program="leases")),
    }
    results, sizes, times = [], {}, {}
    for count in (1000, 100000):
        holder = place.start(Subject("many", files, count, program="leases"))
        time.sleep(1)  # the second looks
        times[count] = in_turns(measured, 15, 60)
        sizes[count] = memory_of(place.daemon_pid())
    for what in ("grant", "break"):
        by_floor = {count: one[what] / one["R"] for count, one in times.items()}
        results.append(Result(f"a {what} among 101000 leases of the daemon: by the same among 1000", by_floor[100000] / by_floor[1000],
                              goal=1.2, note=f"{times[100000][what] / 1000:.0f} / {times[1000][what] / 1000:.0f} µs"))
    results.append(Result("a lease in the daemon, journal and clients' quotas included", (sizes[100000] - sizes[1000]) / 100000,
                          goal=200, unit="bytes"))
    os.kill(place.daemon_pid(), 9)
    back = holder.block(1)[0] / 1e9
    results.append(Result("a restart with 101000 leases, until the first answer", back, goal=0.5, unit="s"))
    return results


@row("3v", "registering memory", guest=True)
def registering(place):
    return Plan({
        "ours": Subject("register", place.files(place.pool, "ours", size=1 << 20), program="verbs", shim=True),
        "by hand": Subject("register-on-demand", place.files(place.pool, "by hand", size=1 << 20), program="verbs"),
    }, [Ratio("ibv_reg_mr and ibv_dereg_mr of a leased file: by the same with on-demand access without the shim", "ours",
              ["by hand"], 1.03)])


def bandwidth(place, path, shim, options):
    """Of perftest's ib_write_bw, in its own unit."""
    command = ["ib_write_bw", "-d", "rxe0", "-x", "1", "-F", "-s", "4096", "-n", "2000"]
    env = dict(place.env)
    if shim:
        env["LD_PRELOAD"] = os.path.join(BUILD, ".libs", "libdaxlease-shim.so")
    server = subprocess.Popen([*command, f"--mmap={path}", *options], env=env, stdout=subprocess.DEVNULL)
    try:
        place.wait_for(lambda: subprocess.run(["ss", "-Hltn", "sport = :18515"], capture_output=True, check=True).stdout,
                       "ib_write_bw")
        client = subprocess.run([*command, "127.0.0.1"], env=place.env, capture_output=True, text=True, timeout=120, check=False)
        found = re.search(r"^ *4096 +\d+ +\S+ +(\S+)", client.stdout, re.M)
        if client.returncode != 0 or not found or server.wait(60) != 0:
            raise Failed(f"ib_write_bw: {client.stdout[-300:]} {client.stderr[-300:]}")
        return float(found[1])
    finally:
        server.kill()
        server.wait()


@row("9", "perftest", guest=True)
def perftest(place):
    path = place.files(place.pool, "perftest", size=4 << 20)
    ratios = [bandwidth(place, path, True, []) / bandwidth(place, path, False, ["--odp"]) for _ in range(3 if place.quick else 9)]
    return [Result("ib_write_bw under the shim: by its own --odp", statistics.median(ratios), quantile(ratios, 0.25),
                   quantile(ratios, 0.75), "> 0.98")]


@row("10", "idle")
def idle(place):
    """Before anything else, or the daemon is warm: see ALL below."""
    def switches():
        total = 0
        for pid in [place.daemon_pid(), place.keeper.pid, *children(place.daemon_pid())]:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/status", encoding="ascii", errors="replace") as file:
                    total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read(), re.M)[1])
        return total
    time.sleep(1)
    seconds = 11 if place.quick else 61  # more than the sign of life for the keeper is apart
    before = switches()
    time.sleep(seconds)
    return [Result("wake-ups of the daemon, its workers and its keeper, a minute", (switches() - before) * 60 / seconds,
                   unit="", note="the daemon's sign of life for the keeper, every 10 s, is some"),
            Result("resident memory", memory_of(place.daemon_pid()) / 2**20, goal=6, unit="MiB",
                   note=f"{(memory_of(place.daemon_pid(), 'RssAnon')) / 2**20:.1f} of it its own")]


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += [int(child) for child in file.read().split()]
    return found


ALL.insert(0, ALL.pop())
