# SPDX-License-Identifier: Apache-2.0
"""What the mount tests stand on: a real mount, real processes, and nothing left behind.

The contract between this file and a test:

  - A test file is a program: it defines classes from ckpttest.TestCase and ends in
    ckpttest.main(). Exit 0 passed, 1 failed, 77 skipped; the reason of a skip is printed.
  - The environment names two directories: SANDCKPT_BUILD (the programs) and SANDCKPT_SOURCE.
  - Every test has a private directory, self.dir, made before it and removed after it.
  - with self.mount(…) as m: m.at is usable at once, and at the end of the block the mount is
    gone and its processes have ended, or the test fails. Processes from self.mkproc() and
    self.spawn() end with the test.
  - The only waiting is wait_for(): a condition is asked again until it holds or a deadline
    passes. No test sleeps for a while and hopes.
  - A test of many rounds runs for n in rounds(FULL): a twentieth of them, or all in tests/soak,
    where it goes on after the last round that passed.
  - Everything a test started by way of this file is noted; when the test fails the notes are
    printed as a shell script that does it again.
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ.get("SANDCKPT_BUILD", os.getcwd())
SOURCE = os.environ.get(
    "SANDCKPT_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
)
MOUNT = os.path.join(BUILD, "fs/mount.sandckpt")
CAPTURE = os.path.join(BUILD, "capture/sandckpt-capture")
MKPROC = os.path.join(BUILD, "tests/helpers/mkproc")
SAMPLES = os.path.join(SOURCE, "tests/data/samples")

PYTHON = sys.executable

PAGE = 4096
NOBODY = 65534
DEADLINE = 30  # seconds: far more than anything here takes, on a slow machine too

DEFAULT_NAME = r"[^/]+-%d-\d{8}T\d{6}Z(\.\d+)?"
# Where Python knows two names of a number and prefers the odd one.
ERRNO_NAMES = {errno.EDEADLK: "EDEADLK", errno.ENOTSUP: "ENOTSUP"}

OUR_COMMS = ("mount.sandckpt", "sandckpt-server", "sandckpt-writer", "sandckpt-reader")


def rounds(full, name):
    """The numbers of the rounds to run of a test that has so many; a number is its round's seed."""
    soak = os.environ.get("SANDCKPT_SOAK")
    if not soak:
        yield from range(max(1, full // 20))
        return

    path = os.path.join(soak, name + ".round")
    try:
        with open(path, encoding="ascii") as f:
            first = int(f.read())
    except FileNotFoundError:
        first = 0
    for n in range(first, full):
        yield n
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(str(n + 1))
        os.replace(path + ".new", path)


def wait_for(condition, what, seconds=DEADLINE):
    """Asks until condition() is true; returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)


@contextlib.contextmanager
def within(seconds, what):
    """A system call that would hang is interrupted, and the test fails."""

    def on_alarm(number, frame):
        raise AssertionError(f"hung for {seconds} s: {what}")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def errno_of(call, *args, **kwargs):
    """The name of the errno with which call(…) fails, or "done"."""
    try:
        call(*args, **kwargs)
    except OSError as e:
        return ERRNO_NAMES.get(e.errno, errno.errorcode[e.errno])
    return "done"


def read_bytes(path):
    with open(path, "rb") as f:
        return f.read()


def read_text(path):
    return read_bytes(path).decode(errors="surrogateescape")


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def listing(root, contents=True):
    """All that could change below a directory, to be compared before and after."""
    rows = {}
    for folder, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            row = [st.st_mode, st.st_uid, st.st_gid]
            if stat.S_ISLNK(st.st_mode):
                row.append(os.readlink(path))
            elif stat.S_ISREG(st.st_mode) and name != "ctl":
                row += [st.st_size, st.st_mtime_ns, contents and sha256_of(path)]
            rows[os.path.relpath(path, root)] = row
    return rows


def process_state(pid):
    """The state letter of /proc/PID/stat, or None when there is no such process."""
    try:
        return read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def status_field(pid, field):
    for line in read_text(f"/proc/{pid}/status").splitlines():
        if line.startswith(field + ":"):
            return line.split(":", 1)[1].strip()
    raise KeyError(field)


def is_mounted(path):
    wanted = os.path.realpath(path)
    for line in read_text("/proc/self/mountinfo").splitlines():
        if line.split()[4] == wanted:
            return True
    return False


def our_processes(marker):
    """Processes of the mount whose command line names marker: {pid: comm}."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            comm = read_text(f"/proc/{entry}/comm").strip()
            words = read_bytes(f"/proc/{entry}/cmdline").split(b"\0")
            if comm in OUR_COMMS and os.fsencode(marker) in words and process_state(entry) != "Z":
                found[int(entry)] = comm
    return found


def sleep_sample(store, name):
    """A checkpoint put into a store as the seed puts it: staged as NAME.tmp, then renamed."""
    staged = os.path.join(store, name + ".tmp")
    shutil.copytree(os.path.join(SAMPLES, "sleep"), staged)
    os.rename(staged, os.path.join(store, name))


class Image:
    """A checkpoint's directory, read back."""

    def __init__(self, path):
        self.path = path
        self.meta = self.json("meta.json")
        self.info = self.json("process/info.json")
        self.fds = {row["fd"]: row for row in self.json("process/fds.json")}
        self.rows = self.json("process/memory_map.json")

    def json(self, name):
        return json.loads(read_text(os.path.join(self.path, name)))

    def bin_path(self, number):
        return os.path.join(self.path, f"process/memory/{number}.bin")

    def row_at(self, address):
        """(number, row) of the segment that holds an address, or None."""
        for number, row in enumerate(self.rows):
            if row["start"] <= address < row["end"]:
                return number, row
        return None

    def read(self, address, length):
        """Bytes of memory; the range lies in one segment."""
        found = self.row_at(address)
        if not found:
            raise AssertionError(f"no segment holds {address:x}")
        number, row = found
        with open(self.bin_path(number), "rb") as f:
            f.seek(address - row["start"])
            return f.read(length)

    def registers(self, number):
        """user_regs_struct of a thread: r15 r14 r13 r12 rbp rbx …"""
        raw = read_bytes(os.path.join(self.path, f"process/threads/{number}.bin"))
        return struct.unpack("<27Q", raw)


class Mkproc:
    """A process built to order by tests/helpers/mkproc."""

    def __init__(self, popen, name):
        self.popen = popen
        line = popen.stdout.readline()
        if not line:
            raise AssertionError(f"mkproc did not get ready: {name}")
        self.facts = json.loads(line)
        self.pid = self.facts["pid"]

    def ask(self, command):
        self.popen.stdin.write(command.encode() + b"\n")
        self.popen.stdin.flush()
        with within(DEADLINE, f'mkproc does not answer "{command}"'):
            return json.loads(self.popen.stdout.readline())

    def rows(self, kind):
        """All facts of a kind: "fds", "maps" or "threads"."""
        return [
            row
            for facts in self.facts.values()
            if isinstance(facts, dict)
            for row in facts.get(kind, [])
        ]

    def close(self):
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGCONT)
            self.popen.stdin.close()
        try:
            self.popen.wait(DEADLINE)
        finally:
            self.popen.kill()
            self.popen.stdout.close()
        return self.popen.returncode


class Mount:
    def __init__(self, test, store, at):
        self.test = test
        self.store = store
        self.at = at
        self.ctl = os.path.join(at, "ctl")

    def path(self, *parts):
        return os.path.join(self.at, *parts)

    def names(self):
        return sorted(name for name in os.listdir(self.at) if name != "ctl")

    def processes(self):
        return our_processes(self.at)

    def process(self, comm):
        """The pid of the only process of that name; a new one gets its name in a moment."""
        return wait_for(
            lambda: next((pid for pid, name in self.processes().items() if name == comm), None),
            f"a process {comm} of {self.at}",
        )

    def write(self, text):
        """One command to ctl; gives the name of the checkpoint, raises OSError."""
        data = text if isinstance(text, bytes) else text.encode()
        fd = os.open(self.ctl, os.O_RDWR)
        self.test.note(f"printf %s {shlex.quote(repr(text)[1:-1])} >{shlex.quote(self.ctl)}")
        try:
            with within(60, f"write to ctl: {text!r}"):
                os.write(fd, data)
                return os.read(fd, 4096).decode().rstrip("\n")
        except OSError:
            self.test.note("# " + "; ".join(self.state()[:1]))
            raise
        finally:
            os.close(fd)

    def capture(self, pid, words=""):
        return Image(self.path(self.write(f"{pid} {words}\n")))

    def answer(self, text):
        """The name of the errno that a command gives, or "done"."""
        return errno_of(self.write, text)

    def state(self):
        """The lines of "cat ctl"."""
        return read_text(self.ctl).splitlines()

    def staging(self):
        """What lies in the store and is no checkpoint yet."""
        folder = os.path.join(self.store, ".sandckpt/staging")
        return os.listdir(folder) if os.path.isdir(folder) else []

    def unmount(self):
        self.test.run_ok("umount", self.at)
        self.wait_gone()

    def wait_gone(self):
        wait_for(lambda: not is_mounted(self.at), f"{self.at} is unmounted")
        wait_for(lambda: not self.processes(), f"the processes of {self.at} end")

    def force_end(self):
        """However the test went, nothing stays."""
        subprocess.run(["umount", "-l", self.at], stderr=subprocess.DEVNULL, check=False)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class TestCase(unittest.TestCase):
    def run(self, result=None):
        result = self.defaultTestResult() if result is None else result
        before = len(result.failures) + len(result.errors)
        self.notes = []
        try:
            super().run(result)
        except KeyboardInterrupt:
            self.doCleanups()
            raise
        if len(result.failures) + len(result.errors) > before:
            for _, trace in (result.failures + result.errors)[before:]:
                print(trace, file=sys.stderr)
            script = "\n".join(["#!/bin/sh -x", f"# {self.id()}"] + self.notes)
            print(f"--- to do it again:\n{script}\n---", file=sys.stderr, flush=True)
        return result

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="sandckpt-test-")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.note(f"mkdir -p {self.dir}; cd {self.dir}")

    def note(self, line):
        self.notes.append(line)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def make_dir(self, name, mode=0o755, owner=None):
        path = self.path(name)
        os.mkdir(path)
        os.chmod(path, mode)
        if owner is not None:
            os.chown(path, owner, owner)
        self.note(f"mkdir -m {mode:o} {path}")
        return path

    def run_program(self, *words, user=None, timeout=DEADLINE, **kwargs):
        """Runs to its end; gives the CompletedProcess, stdout and stderr as text."""
        words = as_user(words, user)
        self.note(shlex.join(words))
        kwargs.setdefault("cwd", self.dir)
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            check=False,
            **kwargs,
        )

    def run_ok(self, *words, **kwargs):
        done = self.run_program(*words, **kwargs)
        self.assertEqual(done.returncode, 0, f"{shlex.join(words)}: {done.stderr}{done.stdout}")
        return done.stdout

    def spawn(self, *words, user=None, **kwargs):
        """Starts a program that is killed at the end of the test."""
        words = as_user(words, user)
        self.note(shlex.join(words) + " &")
        kwargs.setdefault("cwd", self.dir)
        kwargs.setdefault("stdin", subprocess.PIPE)
        kwargs.setdefault("stdout", subprocess.PIPE)
        popen = subprocess.Popen(words, **kwargs)
        self.addCleanup(end_program, popen)
        return popen

    def mkproc(self, *factories, user=None, program=MKPROC):
        popen = self.spawn(program, *factories, user=user)
        with within(DEADLINE, "mkproc gets ready"):
            return Mkproc(popen, shlex.join(factories))

    @contextlib.contextmanager
    def stopped(self, pid):
        """The process under SIGSTOP: its memory stands still."""
        os.kill(pid, signal.SIGSTOP)
        self.note(f"kill -STOP {pid}")
        try:
            wait_for(lambda: all_stopped(pid), f"{pid} stops")
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
            self.note(f"kill -CONT {pid}")

    @contextlib.contextmanager
    def mount(self, options="", store="store", at="mnt", user=None, program=MOUNT, flags=()):
        store, at = self.path(store), self.path(at)
        if not os.path.isdir(at):
            os.mkdir(at)
            os.chown(at, user or 0, user or 0)
            self.note(f"mkdir {at}")
        words = [program, store, at, *flags] + (["-o", options] if options else [])
        mount = Mount(self, store, at)
        try:
            self.run_ok(*words, user=user)
            yield mount
            if is_mounted(at):
                mount.unmount()
            else:
                mount.wait_gone()
        finally:
            mount.force_end()

    # What several tests compare.

    def assert_image_equals_process(self, image, pid):
        """Every segment is the stopped process's memory, and no page of its own is missing."""
        assert process_state(pid) == "T", "compare only what stands still"
        omitted = {row["what"] for row in image.meta["omitted"]}
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
            for number, row in enumerate(image.rows):
                size = row["end"] - row["start"]
                path = image.bin_path(number)
                self.assertEqual(os.stat(path).st_size, size, path)
                self.assert_segment_equals(mem, path, row, omitted)
        for start, end in private_pages(pid):
            self.assert_covered(image, start, end)

    def assert_segment_equals(self, mem, path, row, omitted):
        chunk = 1 << 20
        with open(path, "rb") as f:
            for at in range(row["start"], row["end"], chunk):
                want = min(chunk, row["end"] - at)
                stored = f.read(want)
                live = read_memory(mem, at, want)
                if stored != live:
                    page = next(
                        i for i in range(0, want, PAGE) if stored[i:][:PAGE] != live[i:][:PAGE]
                    )
                    self.fail(f"{path} differs from the process at {at + page:x} ({row})")

    def assert_covered(self, image, start, end):
        at = start
        while at < end:
            found = image.row_at(at)
            self.assertTrue(found, f"{at:x} of {start:x}-{end:x} is in no segment")
            at = found[1]["end"]

    def assert_fds_agree(self, image, pid):
        numbers = sorted(int(n) for n in os.listdir(f"/proc/{pid}/fd"))
        self.assertEqual(sorted(image.fds), numbers)
        for number in numbers:
            self.assert_fd_agrees(image.fds[number], pid, number)

    def assert_fd_agrees(self, row, pid, number):
        target = os.readlink(os.fsencode(f"/proc/{pid}/fd/{number}"))
        self.assertEqual(exact_path(row), target)
        fdinfo = dict(
            line.split(":", 1)
            for line in read_text(f"/proc/{pid}/fdinfo/{number}").splitlines()
            if ":" in line
        )
        self.assertEqual(row["flags"], int(fdinfo["flags"].strip(), 8), f"flags of fd {number}")
        self.assertEqual(row["offset"], int(fdinfo["pos"].strip()), f"pos of fd {number}")
        self.assertEqual(row["inode"], os.stat(f"/proc/{pid}/fd/{number}").st_ino)
        self.assertEqual(row["mode"], os.stat(f"/proc/{pid}/fd/{number}").st_mode)

    def assert_threads_agree(self, image, pid):
        tids = sorted(int(t) for t in os.listdir(f"/proc/{pid}/task"))
        threads = image.info["threads"]
        self.assertEqual(sorted(t["tid"] for t in threads), tids)
        self.assertEqual(threads[0]["tid"], pid, "0.bin is the main thread")
        for number, thread in enumerate(threads):
            comm = read_bytes(f"/proc/{pid}/task/{thread['tid']}/comm")[:-1]
            self.assertEqual(thread["comm"], comm.decode(errors="replace"))
            path = os.path.join(image.path, f"process/threads/{number}")
            self.assertEqual(os.stat(path + ".bin").st_size, 216)
            self.assertGreaterEqual(os.stat(path + ".xstate").st_size, 512 + 64)
        self.assertFalse(
            os.path.exists(os.path.join(image.path, f"process/threads/{len(tids)}.bin"))
        )

    def assert_sums_hold(self, folder):
        self.run_ok("sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS", cwd=folder)

    def assert_untouched(self, pid):
        """Nobody traces it, and it is not stopped."""
        self.assertEqual(status_field(pid, "TracerPid"), "0")
        self.assertNotIn(process_state(pid), ("T", "t"))


def as_user(words, user):
    words = list(words)
    if user is None:
        return words
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *words]


def end_program(popen):
    with contextlib.suppress(OSError):
        popen.send_signal(signal.SIGCONT)
    popen.kill()
    popen.wait()
    for stream in (popen.stdin, popen.stdout, popen.stderr):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


def all_stopped(pid):
    states = [
        read_text(f"/proc/{pid}/task/{tid}/stat").rpartition(")")[2].split()[0]
        for tid in os.listdir(f"/proc/{pid}/task")
    ]
    return all(state in "TZX" for state in states)


def exact_path(row):
    """The bytes of a path of the JSON: its twin, where it isn't UTF-8."""
    if "path_hex" in row:
        return bytes.fromhex(row["path_hex"])
    return os.fsencode(row["path"])


def read_memory(mem, address, length):
    """Of /proc/PID/mem; pages that nobody can read are zero, as holes are."""
    try:
        data = os.pread(mem.fileno(), length, address)
        if len(data) == length:
            return data
    except OSError as e:
        if e.errno not in (errno.EIO, errno.EFAULT):
            raise
        data = b""
    if length == PAGE:
        return bytes(PAGE)
    at = len(data) - len(data) % PAGE
    pages = [data[:at]]
    while at < length:
        pages.append(read_memory(mem, address + at, PAGE))
        at += PAGE
    return b"".join(pages)


def mappings(pid):
    """(start, end, perms, path) of each line of maps."""
    for line in read_text(f"/proc/{pid}/maps").splitlines():
        words = line.split(None, 5)
        start, end = (int(n, 16) for n in words[0].split("-"))
        yield start, end, words[1], words[5] if len(words) > 5 else ""


PAGEMAP_SCAN = 0xC0606610
PAGE_IS_FILE, PAGE_IS_PRESENT, PAGE_IS_SWAPPED, PAGE_IS_PFNZERO = 4, 8, 16, 32


def private_pages(pid):
    """Ranges of pages that are the process's own (anonymous, with something in them)."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for start, end, perms, path in mappings(pid):
            if perms[3] != "p" or path in ("[vvar]", "[vvar_vclock]", "[vsyscall]", "[vdso]"):
                continue
            yield from scan_private(pagemap, start, end)


def scan_private(pagemap, start, end):
    """Where the kernel has no PAGEMAP_SCAN (before 6.7), nothing is found: nothing is asserted."""
    vec = (ctypes.c_uint64 * (3 * 4096))()
    while start < end:
        arg = bytearray(
            struct.pack(
                "<12Q",
                96,
                0,
                start,
                end,
                0,
                ctypes.addressof(vec),
                4096,
                0,
                PAGE_IS_FILE | PAGE_IS_PFNZERO,
                PAGE_IS_FILE | PAGE_IS_PFNZERO,
                PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                PAGE_IS_PRESENT,
            )
        )
        try:
            found = fcntl.ioctl(pagemap, PAGEMAP_SCAN, arg)
        except OSError as e:
            if e.errno in (errno.ENOTTY, errno.EINVAL):
                return
            raise
        for i in range(found):
            yield vec[3 * i], vec[3 * i + 1]
        start = struct.unpack("<12Q", arg)[4]


def pattern_page(name, number):
    """The page that mkproc-memory.c writes."""
    line = f"{name} page {number}\n".encode()
    return (line * (PAGE // len(line) + 1))[:PAGE]


def skip_all(reason):
    print(f"SKIP: {reason}", file=sys.stderr)
    sys.exit(77)


def need_mount():
    """Ends the program as skipped where no mount is possible."""
    if os.geteuid() != 0:
        skip_all("needs root")
    if not os.path.exists("/dev/fuse"):
        skip_all("there is no /dev/fuse")
    need_programs(MOUNT, CAPTURE, MKPROC)


def need_programs(*programs):
    for program in programs:
        if not shutil.which(program):
            skip_all(f'"{program}" is not there')


def main():
    """Runs the tests of the calling file; all of them skipped is a skip."""
    need_mount()
    # A harness that loses its patience sends SIGTERM: clean up then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun and len(result.skipped) == result.testsRun:
        skip_all("; ".join(sorted({reason for _, reason in result.skipped})))
    sys.exit(0)
