# SPDX-License-Identifier: LGPL-2.1-or-later
"""From times to ratios, and how they are printed."""
import json
import os
import statistics
import sys


def quantile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))]


class Result:
    """One line of the table. value, low, high: what the unit says, with the quartiles over the rounds; None if there is only
    one value. goal: at most that, or at least ("> 0.98"), or None."""

    def __init__(self, what, value, low=None, high=None, goal=None, unit="x", note=""):
        self.what, self.value, self.low, self.high = what, value, low, high
        self.goal, self.unit, self.note = goal, unit, note

    def reached(self):
        if self.goal is None:
            return None
        at_least = isinstance(self.goal, str)
        limit = float(self.goal[1:]) if at_least else self.goal
        return self.value >= limit if at_least else self.value <= limit


class Ratio:
    """A subject's time by the sum of others'. part: of the calls of a block the median; or another quantile. turned: how
    much more often, not how much longer."""

    def __init__(self, what, of, over, goal=None, part=0.5, turned=False):
        self.what, self.of, self.over, self.goal, self.part, self.turned = what, of, over, goal, part, turned

    def result(self, times):
        ratios = []
        for number, block in enumerate(times[self.of]):
            below = sum(quantile(times[name][number], self.part) for name in self.over)
            ratio = quantile(block, self.part) / below
            ratios.append(1 / ratio if self.turned else ratio)
        return Result(self.what, statistics.median(ratios), quantile(ratios, 0.25), quantile(ratios, 0.75), self.goal,
                      note=self.note(times))

    def note(self, times):
        """The times themselves, in µs."""
        return " / ".join(f"{self.middle(times[name]):.2f}" for name in [self.of] + self.over) + " µs"

    def middle(self, blocks):
        return statistics.median(quantile(block, self.part) for block in blocks) / 1000


class Output:
    """The table for people, JSON for programs, or TAP lines with the table as comments."""

    def __init__(self, asked):
        self.json, self.tap = asked.json, asked.tap
        self.failures, self.tests, self.list = 0, 0, []
        if not self.json:
            self.line(f"{'row':<4} {'ratio':>7}  {'quartiles':<15} {'goal':<7} what")

    def line(self, text):
        print(f"# {text}" if self.tap else text, flush=True)

    def results(self, row, results):
        for one in results:
            self.list.append({"row": row.name, "what": one.what, "value": one.value, "low": one.low, "high": one.high,
                              "unit": one.unit, "goal": one.goal, "reached": one.reached(), "note": one.note})
            if not self.json:
                self.print(row, one)
        if self.tap:
            self.tests += 1
            print(f"ok {self.tests} - {row.name}: {row.what}", flush=True)

    def print(self, row, one):
        unit = "" if one.unit == "x" else " " + one.unit
        spread = "" if one.low is None else f"{one.low:.2f} .. {one.high:.2f}"
        goal = "" if one.goal is None else one.goal if isinstance(one.goal, str) else f"< {one.goal:g}"
        missed = "" if one.reached() is not False else " *"
        note = f"  [{one.note}]" if one.note else ""
        self.line(f"{row.name:<4} {one.value:>7.2f}  {spread:<15} {goal + missed:<9} {one.what}{unit}{note}")

    def missing(self, row, why):
        self.list.append({"row": row.name, "what": row.what, "skipped": why})
        if self.tap:
            self.tests += 1
            print(f"ok {self.tests} - {row.name}: {row.what} # SKIP {why}", flush=True)
        elif not self.json:
            self.line(f"{row.name:<4} not measured: {row.what}: {why}")

    def failed(self, row, why):
        self.failures += 1
        self.list.append({"row": row.name, "what": row.what, "failed": why})
        if self.tap:
            self.tests += 1
            print(f"not ok {self.tests} - {row.name}: {row.what}: {why}", flush=True)
        else:
            print(f"bench: {row.name}: {row.what}: {why}", file=sys.stderr)

    def end(self, samples):
        if self.json:
            machine = {"kernel": os.uname().release, "machine": os.uname().machine, "processors": os.cpu_count()}
            json.dump({"machine": machine, "figures": self.list}, sys.stdout, indent=1)
            print()
        else:
            self.line(f"*: not as it should be. Times in [] are medians. Each time: {samples}")
        if self.tap:
            print(f"1..{self.tests}")
