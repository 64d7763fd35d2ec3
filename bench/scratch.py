# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two file systems of their own, one of them the pool of a daemon of its own, and the processes that are measured."""
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.environ.get("DAXLEASE_BUILD", os.path.join(TOP, "build"))
# Nothing here takes as long; what does hangs.
PATIENCE_S = 120


class Failed(Exception):
    """A measurement that could not be made."""


class Missing(Exception):
    """What this machine lacks for it."""


class Subject:
    """What one of bench/'s programs can do, with the shim or without. load: what runs beside it while it is measured, and only
    then."""

    def __init__(self, name, *arguments, program="calls", shim=False, load=None):
        self.command = [os.path.join(BUILD, "bench_" + program), name, *map(str, arguments)]
        self.shim, self.load = shim, load


class Process:
    """A subject that runs."""

    def __init__(self, place, subject):
        env = dict(place.env)
        if subject.shim:
            env["LD_PRELOAD"] = os.path.join(BUILD, ".libs", "libdaxlease-shim.so")
        self.command = subject.command
        self.child = subprocess.Popen(subject.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.rest = b""
        self.load = subject.load
        if self.read_line() != b"ready":
            raise Failed(f"{' '.join(self.command)}: it does not start")

    def read_line(self):
        end = time.monotonic() + PATIENCE_S
        while b"\n" not in self.rest:
            readable, _, _ = select.select([self.child.stdout], [], [], max(0, end - time.monotonic()))
            got = os.read(self.child.stdout.fileno(), 1 << 20) if readable else b""
            if not got:
                raise Failed(f"{' '.join(self.command)}: {'it ended' if readable else 'no answer'}")
            self.rest += got
        line, self.rest = self.rest.split(b"\n", 1)
        return line

    def block(self, calls):
        if self.load:
            self.load.go_on()
        self.child.stdin.write(b"%d\n" % calls)
        self.child.stdin.flush()
        times = [int(one) for one in self.read_line().split()]
        if self.load:
            self.load.stop()
        return times

    def stop(self):
        self.child.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.child.send_signal(signal.SIGCONT)

    def end(self):
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()


class Place:
    """A context: what it has made is gone at the end."""

    def __init__(self, quick):
        self.quick, self.processes, self.mounted = quick, [], []
        self.root = tempfile.mkdtemp(prefix="daxlease-bench.", dir="/var/tmp")
        self.socket = os.path.join(self.root, "run", "sock")
        self.env = dict(os.environ)
        if not Guest.here():
            self.env["DAXLEASE_SOCKET"] = self.socket
        self.env.pop("LD_PRELOAD", None)
        self.keeper, self.log, self.contexts = None, None, None

    def __enter__(self):
        try:
            os.mkdir(os.path.join(self.root, "run"))
            self.pool, self.plain = self.mount("pool"), self.mount("plain")
            self.start_daemon()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.end()
        if self.keeper:
            self.keeper.terminate()
            try:
                self.keeper.wait(60)
            except subprocess.TimeoutExpired:
                self.keeper.kill()
        for directory in self.mounted:
            subprocess.run(["umount", directory], check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def mount(self, name):
        image, directory = os.path.join(self.root, name + ".image"), os.path.join(self.root, name)
        os.mkdir(directory)
        with open(image, "wb") as file:
            file.truncate(600 << 20)
        subprocess.run(["mkfs.ext4", "-qF", "-N", "40000", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, directory], check=True)
        self.mounted.append(directory)
        return directory

    def start_daemon(self):
        config = os.path.join(self.root, "conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"[daemon]\nsocket = {self.socket}\nlease-break-time = 30s\n"
                       f"[pool scratch]\ntype = mount\npath = {self.pool}\n")
        self.log = open(os.path.join(self.root, "daemon.log"), "ab")
        self.keeper = subprocess.Popen([os.path.join(BUILD, "daxleased"), "--keeper", "--config", config],
                                       stdout=self.log, stderr=self.log, env=self.env)
        end = time.monotonic() + PATIENCE_S
        while self.ctl("status", check=False).returncode != 0:
            if time.monotonic() > end or self.keeper.poll() is not None:
                self.show_log()
                raise Failed("the daemon does not answer")
            time.sleep(0.02)

    def daemon_pid(self):
        with open(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children", encoding="ascii") as file:
            return int(file.read().split()[0])

    def ctl(self, *arguments, check=True):
        return subprocess.run([os.path.join(BUILD, "daxleasectl"), *arguments], env=self.env, check=check,
                              capture_output=True, text=True)

    @contextlib.contextmanager
    def redis(self):
        """Its socket."""
        if not shutil.which("redis-server"):
            raise Missing("there is no redis-server")
        path = os.path.join(self.root, "redis.sock")
        server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", self.root],
                                  stdout=subprocess.DEVNULL)
        try:
            self.wait_for(lambda: os.path.exists(path), "redis-server")
            yield path
        finally:
            server.terminate()
            server.wait()

    @staticmethod
    def wait_for(test, what):
        end = time.monotonic() + PATIENCE_S
        while not test():
            if time.monotonic() > end:
                raise Failed(f"{what}: not there")
            time.sleep(0.02)

    def show_log(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as file:
            sys.stderr.writelines("# " + line for line in file.readlines()[-30:])

    def files(self, directory, name, count=1, size=16384):
        """Written files; their path, with %u in it if there are several."""
        pattern = os.path.join(directory, name + ("%u" if count > 1 else ""))
        for number in range(count):
            with open(pattern.replace("%u", str(number)), "wb") as file:
                file.write(b"a" * size)
        descriptor = os.open(directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        subprocess.run(["sync", "-f", directory], check=True)
        return pattern

    def start(self, subject):
        process = Process(self, subject)
        self.processes.append(process)
        return process

    def load(self, subject):
        """Something that runs in the background; stopped until a subject with that load is measured."""
        process = self.start(subject)
        process.stop()
        return process

    def enter(self, context):
        """It ends with the row."""
        return self.contexts.enter_context(context)

    @contextlib.contextmanager
    def subjects_end(self):
        with contextlib.ExitStack() as self.contexts:
            try:
                yield
            finally:
                while self.processes:
                    self.processes.pop().end()


class Guest(Place):
    """The emulated machine of tests/guest/run: its pool on persistent memory, and its daemon."""

    def __enter__(self):
        self.pool = "/mnt/xfs"
        self.log = open(os.path.join(self.root, "no.log"), "ab")  # tests/guest/run shows the daemon's
        return self

    @staticmethod
    def here():
        return "DAXLEASE_DEVDAX" in os.environ
