# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is measured: each row says which subjects take turns, and which ratios of their times are figures."""
import os
import re
import shutil
import subprocess

from figures import Ratio, Result
from scratch import BUILD, Failed, Missing, Subject

ALL = []


class Plan:
    """subjects: by name, in the order of their turns. calls: in a block. warm: before the first."""

    def __init__(self, subjects, figures, calls=100, warm=20):
        self.subjects, self.figures, self.calls, self.warm = subjects, figures, calls, warm


def row(name, what, quick=True):
    def register(function):
        ALL.append(type("Row", (), {"name": name, "what": what, "quick": quick, "function": staticmethod(function)}))
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


@row("4b", "who stands by")
def bystander(place):
    leased = place.files(place.pool, "crowded")
    place.start(Subject("hold", leased, 4, shim=True))
    readers = place.load(Subject("readers", leased, 64))
    grants = place.files(place.pool, "bystander", 64)
    return Plan({
        "idle": Subject("grant", grants, 64, leases=True),
        "crowd": Subject("grant", grants, 64, leases=True, load=readers),
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
        "1": Subject("break", place.files(place.pool, "one"), 1, leases=True),
    }, [Ratio("a break with one holder, who lets go at once: by R + F", "1", ["R", "F"], 1.25)])


def crowd_of(count):
    def plan(place):
        return Plan({
            "fan-out": Subject("fan-out", count),
            "ours": Subject("break", place.files(place.pool, f"held by {count}"), count, leases=True),
        }, [Ratio(f"a break with {count} holders: by a message to each and one back", "ours", ["fan-out"], 1.25)],
                    calls=max(1, 20 // (count // 10)), warm=1)
    return plan


row("6a", "a break with 10 holders")(crowd_of(10))
row("6b", "a break with 100 holders")(crowd_of(100))
row("6c", "a break with 1000 holders", quick=False)(crowd_of(1000))
