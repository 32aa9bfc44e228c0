# SPDX-License-Identifier: Apache-2.0
"""From mount to umount: who returns when, what ends what, and what the program says."""

import os
import signal
import subprocess

import ckpttest


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
        self.assert_fails(1, self.store, self.at, "--frobnicate")
        self.assertFalse(os.path.exists(self.store), "nothing was made")

    def test_remount_is_refused_in_a_sentence(self):
        self.assert_fails(1, self.store, self.at, "-o", "remount", said="remount")

    def test_a_missing_store_is_made_one_deep_only(self):
        deep = self.path("no/store")
        done = self.run_program(ckpttest.MOUNT, deep, self.at)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f'"{deep}"', done.stderr)
        self.assertFalse(os.path.exists(self.path("no")))
        self.assertFalse(ckpttest.is_mounted(self.at))

    def test_a_read_only_mount_makes_no_store(self):
        done = self.run_program(ckpttest.MOUNT, self.store, self.at, "-o", "ro")
        self.assertNotEqual(done.returncode, 0)
        self.assertFalse(os.path.exists(self.store))

    def test_a_mount_point_that_is_missing_or_no_directory(self):
        with open(self.path("file"), "w"):
            pass
        for at in (self.path("missing"), self.path("file")):
            done = self.run_program(ckpttest.MOUNT, self.store, at)
            self.assertIn(done.returncode, (1, 32), done.stderr)
            self.assertIn(f'"{at}"', done.stderr)

    def test_a_store_that_is_a_file(self):
        with open(self.store, "w"):
            pass
        done = self.run_program(ckpttest.MOUNT, self.store, self.at)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f'"{self.store}"', done.stderr)

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
