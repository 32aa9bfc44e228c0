# SPDX-License-Identifier: Apache-2.0
"""From mount to umount: who returns when, what ends what, and what the program says."""

import os
import resource
import shutil
import signal
import subprocess

import ckpttest

# An empty FUSE filesystem, mounted on argv[1], whose server goes on reading requests but answers
# none any more once it was told so: a thread that waits for it cannot even be killed.
DEAD_DISK = r"""
import ctypes, os, select, struct, sys

INIT, LOOKUP, GETATTR, STATFS = 26, 1, 3, 17
OPENDIR, READDIR, RELEASEDIR, READDIRPLUS = 27, 28, 29, 44
FORGET, INTERRUPT, BATCH_FORGET, ENOENT, ENOSYS = 2, 36, 42, 2, 38

answers = {
    INIT: struct.pack("<IIIIHHII32x", 7, 31, 0, 0, 8, 4, 4096, 1),
    GETATTR: struct.pack("<QIIQQQ24x12xIIIIIII", 0, 0, 0, 1, 0, 0, 0o40700, 2, 0, 0, 0, 4096, 0),
    STATFS: struct.pack("<QQQQQIIII24x", 100, 100, 100, 100, 100, 4096, 255, 4096, 0),
    OPENDIR: bytes(16),
    READDIR: b"",
    READDIRPLUS: b"",
    RELEASEDIR: b"",
}
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
if ctypes.CDLL(None).mount(b"dead", sys.argv[1].encode(), b"fuse", 0, options) != 0:
    sys.exit("cannot mount")
print("mounted", flush=True)
dead = False
while True:
    ready = select.select([fd, 0], [], [])[0]
    if 0 in ready:
        if os.read(0, 1) != b"x":
            break
        dead = True
        print("dead", flush=True)
        continue
    request = os.read(fd, 1 << 20)
    opcode, unique = struct.unpack_from("<IQ", request, 4)
    if opcode in (FORGET, INTERRUPT, BATCH_FORGET):
        continue
    if dead:
        print("unanswered", flush=True)
        continue
    answer = answers.get(opcode)
    error = 0 if answer is not None else -ENOENT if opcode == LOOKUP else -ENOSYS
    answer = answer or b""
    os.write(fd, struct.pack("<IiQ", 16 + len(answer), error, unique) + answer)
"""


class Lifecycle(ckpttest.TestCase):
    def test_the_mount_is_usable_once_the_program_returns(self):
        at = self.make_dir("mnt")
        for i in range(10):
            self.run_ok(
                "sh",
                "-c",
                '"$0" "$1" "$2" && test "$(ls "$2")" = ctl && umount "$2"',
                ckpttest.MOUNT,
                self.path("store"),
                at,
            )
        ckpttest.wait_for(lambda: not ckpttest.our_processes(at), "the last one ends")

    def test_it_is_listed_with_its_source_and_type(self):
        with self.mount() as m:
            line = next(
                l
                for l in ckpttest.read_text("/proc/self/mountinfo").splitlines()
                if m.at in l.split()
            )
            self.assertEqual(line.split(" - ")[1].split()[:2], ["fuse.sandckpt", m.store])
            self.assertIn("default_permissions", line)

    def test_the_processes_have_their_names_and_the_server_its_own(self):
        with self.mount() as m:
            self.assertEqual(sorted(m.processes().values()), ["mount.sandckpt", "sandckpt-server"])

    def test_umount_ends_all_processes(self):
        with self.mount() as m:
            self.run_ok("umount", m.at)
            m.wait_gone()

    def test_sigterm_and_sigint_end_the_mount(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), self.mount() as m:
                os.kill(m.process("mount.sandckpt"), number)
                m.wait_gone()

    def test_sigterm_ends_a_mount_that_is_busy(self):
        with self.mount() as m:
            shell = self.spawn("sh", "-c", f"cd {m.at}; echo in; read x", stdin=subprocess.PIPE)
            self.assertEqual(shell.stdout.readline(), b"in\n")
            os.kill(m.process("mount.sandckpt"), signal.SIGTERM)
            m.wait_gone()

    def test_the_death_of_the_server_leaves_no_dead_mount(self):
        with self.mount() as m:
            os.kill(m.process("sandckpt-server"), signal.SIGKILL)
            m.wait_gone()
            self.assertEqual(os.listdir(m.at), [])

    def test_the_death_of_the_server_wakes_who_waits_in_ctl(self):
        process = self.mkproc("vfork", "threads=1")
        with self.mount("deadline=60") as m:
            writer = self.spawn("sh", "-c", f"echo {process.pid} > {m.ctl}")
            ckpttest.wait_for(lambda: m.state(), "the capture runs")
            os.kill(m.process("sandckpt-server"), signal.SIGKILL)
            self.assertNotEqual(writer.wait(ckpttest.DEADLINE), 0)
            m.wait_gone()
            self.assert_untouched(process.pid)
            self.assertEqual(process.ask("alive"), {"alive": 1})

    def test_a_dead_mount_is_replaced(self):
        with self.mount() as m:
            for comm in ("mount.sandckpt", "sandckpt-server"):
                os.kill(m.process(comm), signal.SIGKILL)
            ckpttest.wait_for(
                lambda: ckpttest.errno_of(os.listdir, m.at) == "ENOTCONN", "the mount is dead"
            )
            self.run_ok(ckpttest.MOUNT, m.store, m.at)
            self.assertEqual(os.listdir(m.at), ["ctl"])
            self.run_ok("umount", m.at)
            self.assertFalse(ckpttest.is_mounted(m.at), "nothing lies below")

    def test_a_mount_without_a_broker_is_read_and_replaced(self):
        with self.mount() as m:
            ckpttest.sleep_sample(m.store, "old")
            server = m.process("sandckpt-server")
            os.kill(m.process("mount.sandckpt"), signal.SIGKILL)
            ckpttest.wait_for(
                lambda: ckpttest.errno_of(ckpttest.read_bytes, m.ctl) == "EIO", "it has no broker"
            )
            self.assertTrue(ckpttest.read_bytes(m.path("old/meta.json")))
            self.run_ok(ckpttest.MOUNT, m.store, m.at)
            self.assertEqual(m.state(), [])
            ckpttest.wait_for(
                lambda: ckpttest.process_state(server) in (None, "Z"), "the old server ends"
            )
            self.run_ok("umount", m.at)
            self.assertFalse(ckpttest.is_mounted(m.at), "nothing lies below")

    def mounts_of(self, store):
        """How many mounts of a store there are, wherever they are."""
        lines = ckpttest.read_text("/proc/self/mountinfo").splitlines()
        return sum(line.split(" - ")[1].split()[1] == store for line in lines)

    def test_a_mount_that_was_moved_is_unmounted_where_it_is(self):
        for comm, number in (
            ("mount.sandckpt", signal.SIGTERM),
            ("sandckpt-server", signal.SIGKILL),
        ):
            with self.subTest(comm):
                self.make_dir("above")
                self.make_dir("above/mnt")
                store = self.path("store")
                for at in ("beside/mnt", "above/mnt"):  # left only where the test fails
                    detach = ["umount", "-q", "-l", self.path(at)]
                    self.addCleanup(subprocess.run, detach, check=False)
                self.run_ok(ckpttest.MOUNT, store, self.path("above/mnt"))
                pids = ckpttest.our_processes(self.path("above/mnt"))
                os.rename(self.path("above"), self.path("beside"))
                self.assertEqual(self.mounts_of(store), 1)
                os.kill(next(pid for pid, name in pids.items() if name == comm), number)
                ckpttest.wait_for(lambda: self.mounts_of(store) == 0, "it is unmounted")
                ckpttest.wait_for(lambda: not ckpttest.our_processes(store), "they end")
                shutil.rmtree(self.path("beside"))

    def test_sigterm_ends_a_mount_whose_store_is_dead(self):
        disk = self.spawn(ckpttest.PYTHON, "-c", DEAD_DISK, self.make_dir("disk"))
        self.addCleanup(subprocess.run, ["umount", "-l", self.path("disk")], check=False)
        self.assertEqual(disk.stdout.readline(), b"mounted\n")
        with self.mount("ro", store="disk") as m:
            broker = m.process("mount.sandckpt")
            server = m.process("sandckpt-server")
            disk.stdin.write(b"x")
            disk.stdin.flush()
            self.assertEqual(disk.stdout.readline(), b"dead\n")
            reader = self.spawn("ls", m.at, stderr=subprocess.DEVNULL)
            self.assertEqual(disk.stdout.readline(), b"unanswered\n")

            os.kill(broker, signal.SIGTERM)
            ckpttest.wait_for(
                lambda: ckpttest.process_state(broker) in (None, "Z"), "the broker ends"
            )
            self.assertIsNotNone(ckpttest.process_state(server), "it cannot be killed")
            self.assertNotEqual(reader.wait(ckpttest.DEADLINE), 0)
            lines = ckpttest.read_text("/proc/self/mountinfo")
            self.assertNotIn(f" {m.at} ", lines)
            disk.kill()
            m.wait_gone()

    def test_an_idle_mount_unmounts_itself(self):
        with self.mount("idle_timeout=1") as m:
            self.wait_unmounted(m.store)
            m.wait_gone()

    def wait_unmounted(self, store):
        """Without a look at the mount itself, which then would not be idle."""
        ckpttest.wait_for(lambda: self.mounts_of(store) == 0, f"{store} is unmounted")

    def test_an_idle_mount_leaves_alone_what_lies_upon_it(self):
        with self.mount("idle_timeout=1") as m:
            broker = m.process("mount.sandckpt")

            def wakes():
                return int(ckpttest.status_field(broker, "voluntary_ctxt_switches"))

            self.run_ok("mount", "-t", "tmpfs", "upon", m.at)
            try:
                before = wakes()
                ckpttest.wait_for(lambda: wakes() > before + 1, "it is told twice to be idle")
                self.assertEqual(self.mounts_of("upon"), 1)
                self.assertEqual(self.mounts_of(m.store), 1)
            finally:
                self.run_ok("umount", "-t", "tmpfs", m.at)
            self.wait_unmounted(m.store)
            m.wait_gone()

    def test_the_server_of_root_runs_as_the_stores_owner(self):
        self.make_dir("store", 0o700, ckpttest.NOBODY)
        process = self.mkproc("anon")
        with self.mount() as m:
            uids = ckpttest.status_field(m.process("sandckpt-server"), "Uid").split()
            self.assertEqual(uids, [str(ckpttest.NOBODY)] * 4)
            name = m.write(f"{process.pid}")
            for folder, dirs, files in os.walk(os.path.join(m.store, name)):
                for entry in dirs + files:
                    self.assertEqual(os.lstat(os.path.join(folder, entry)).st_uid, ckpttest.NOBODY)
            self.assertEqual(os.stat(m.path(name)).st_uid, 0)
            self.assertTrue(ckpttest.read_bytes(m.path(name, "memory/0.bin")))

    def test_a_store_is_made_where_its_parent_exists(self):
        with self.mount(store="made") as m:
            self.assertEqual(os.stat(m.store).st_mode & 0o7777, 0o700)

    def test_as_many_descriptors_are_taken_as_may_be(self):
        store, at = self.path("store"), self.make_dir("mnt")
        self.run_ok("sh", "-c", 'ulimit -Sn 64; "$0" "$1" "$2"', ckpttest.MOUNT, store, at)
        for pid in ckpttest.our_processes(at):
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            self.assertEqual(soft, hard)
        self.run_ok("umount", at)
        ckpttest.wait_for(lambda: not ckpttest.our_processes(at), "they end")

    def test_a_mount_survives_hup(self):
        with self.mount() as m:
            os.kill(m.process("mount.sandckpt"), signal.SIGHUP)
            ckpttest.sleep_sample(m.store, "new")
            self.assertEqual(m.names(), ["new"])

    def test_in_the_foreground_it_stays_and_ends_on_sigint(self):
        at = self.make_dir("mnt")
        popen = self.spawn(ckpttest.MOUNT, self.path("store"), at, "-o", "foreground")
        ckpttest.wait_for(
            lambda: ckpttest.is_mounted(at) and os.listdir(at) == ["ctl"], "it is mounted"
        )
        self.assertIsNone(popen.poll())
        popen.send_signal(signal.SIGINT)
        self.assertEqual(popen.wait(ckpttest.DEADLINE), 0)
        ckpttest.wait_for(lambda: not ckpttest.is_mounted(at), "it is unmounted")

    def test_it_works_without_home_and_with_closed_descriptors(self):
        at = self.make_dir("mnt")
        self.run_ok(
            "sh",
            "-c",
            '"$0" "$1" "$2" <&- >&- 2>&-',
            ckpttest.MOUNT,
            self.path("store"),
            at,
            env={},
        )
        self.assertEqual(os.listdir(at), ["ctl"])
        self.run_ok("umount", at)
        ckpttest.wait_for(lambda: not ckpttest.our_processes(at), "it ends")

    def test_relative_paths_are_resolved(self):
        at = self.make_dir("mnt")
        self.run_ok(ckpttest.MOUNT, "store", "mnt")
        self.assertEqual(os.listdir(at), ["ctl"])
        self.run_ok("umount", at)
        ckpttest.wait_for(lambda: not ckpttest.our_processes("mnt"), "it ends")


class Usage(ckpttest.TestCase):
    def setUp(self):
        super().setUp()
        self.at = self.make_dir("mnt")
        self.store = self.path("store")

    def assert_fails(self, code, *words, said=""):
        done = self.run_program(ckpttest.MOUNT, *words)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn(said, done.stderr)
        self.assertFalse(ckpttest.is_mounted(self.at))

    def test_wrong_usage_is_1(self):
        self.assert_fails(1)
        self.assert_fails(1, self.store)
        self.assert_fails(1, self.store, self.at, "third")
        self.assert_fails(1, self.store, self.at, "-o", "frobnicate", said='"frobnicate"')
        self.assert_fails(1, self.store, self.at, "-o", "max_threads=many")
        self.assert_fails(1, self.store, self.at, "-o", "reserve=101")
        self.assert_fails(1, self.store, self.at, "-o", "cache_size=1Q")
        self.assert_fails(1, self.store, self.at, "-o", "mode=maybe")
        self.assert_fails(1, self.store, self.at, "-o", "mode=live", said="mode=live")
        self.assert_fails(1, self.store, self.at, "-o", "store=packed", said="store=packed")
        self.assert_fails(1, self.store, self.at, "--frobnicate")
        self.assertFalse(os.path.exists(self.store), "nothing was made")

    def test_remount_is_refused_in_a_sentence(self):
        self.assert_fails(1, self.store, self.at, "-o", "remount", said="remount")

    def test_a_missing_store_is_made_one_deep_only(self):
        deep = self.path("no/store")
        self.assert_fails(32, deep, self.at, said=f'"{deep}"')
        self.assert_fails(32, deep, self.at, "-f", said=f'"{deep}"')
        self.assertFalse(os.path.exists(self.path("no")))

    def test_a_mount_point_in_the_store_is_refused(self):
        os.mkdir(self.store)
        os.mkdir(os.path.join(self.store, "mnt"))
        at = os.path.join(self.store, "mnt")
        self.assert_fails(1, self.store, at, said=f'"{at}"')
        self.assertFalse(ckpttest.is_mounted(at))

    def test_a_read_only_mount_makes_no_store(self):
        self.assert_fails(32, self.store, self.at, "-o", "ro", said=f'"{self.store}"')
        self.assertFalse(os.path.exists(self.store))

    def test_a_mount_point_that_is_missing_or_no_directory(self):
        with open(self.path("file"), "w"):
            pass
        for at in (self.path("missing"), self.path("file")):
            self.assert_fails(32, self.store, at, said=f'"{at}"')

    def test_a_store_that_is_a_file(self):
        with open(self.store, "w"):
            pass
        self.assert_fails(32, self.store, self.at, said=f'"{self.store}"')

    def test_help_and_version_go_to_stdout(self):
        text = self.run_ok(ckpttest.MOUNT, "--help")
        for option in (
            "foreground",
            "debug",
            "allow_other",
            "auto_unmount",
            "unconfined",
            "max_threads",
            "cache_size",
            "reserve",
            "idle_timeout",
            "deadline",
            "captures",
            "captures_per_user",
            "copy_limit",
            "mode",
            "store",
        ):
            self.assertIn(option, text)
        self.assertTrue(all(len(line) <= 80 for line in text.splitlines()), text)
        self.assertRegex(self.run_ok(ckpttest.MOUNT, "--version"), r"\d+\.\d+")

    def test_fake_checks_and_does_not_mount(self):
        self.run_ok(ckpttest.MOUNT, self.store, self.at, "-f")
        self.assertFalse(ckpttest.is_mounted(self.at))
        done = self.run_program(ckpttest.MOUNT, self.store, self.at, "-f", "-o", "frobnicate")
        self.assertEqual(done.returncode, 1)

    def test_sloppy_ignores_unknown_options(self):
        with self.mount("frobnicate,ro=maybe", flags=("-s",)) as m:
            self.assertEqual(os.listdir(m.at), ["ctl"])

    def test_sloppy_may_come_after_the_options(self):
        self.run_ok(ckpttest.MOUNT, self.store, self.at, "-o", "frobnicate", "-s")
        self.run_ok("umount", self.at)
        ckpttest.wait_for(lambda: not ckpttest.our_processes(self.at), "it ends")

    def test_options_of_fstab_are_swallowed_or_passed_on(self):
        options = (
            "rw,auto,noauto,user,nouser,users,owner,group,nofail,_netdev,defaults,"
            "x-systemd.automount,comment=abc,relatime,noatime,nodev,nosuid,noexec,sync,dirsync"
        )
        with self.mount(options) as m:
            line = next(
                l
                for l in ckpttest.read_text("/proc/self/mountinfo").splitlines()
                if m.at in l.split()
            )
            self.assertIn("nodev", line.split()[5])
            self.assertIn("noexec", line.split()[5])

    def test_mount_8s_way_to_call(self):
        with self.mount("rw", flags=("-v", "-n", "-t", "sandckpt")) as m:
            self.assertEqual(os.listdir(m.at), ["ctl"])


if __name__ == "__main__":
    ckpttest.main()
