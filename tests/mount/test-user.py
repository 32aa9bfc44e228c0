# SPDX-License-Identifier: Apache-2.0
"""An ordinary user's mount by way of fusermount3, and captures of his own processes."""

import os
import shutil
import signal
import stat

import ckpttest
from ckpttest import NOBODY


class User(ckpttest.TestCase):
    def setUp(self):
        super().setUp()
        before = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
        os.chmod("/dev/fuse", 0o666)
        self.addCleanup(os.chmod, "/dev/fuse", before)
        os.chown(self.dir, NOBODY, NOBODY)
        # Where the build lies, an ordinary user may not be able to go.
        for program in (ckpttest.MOUNT, ckpttest.MKPROC):
            shutil.copy(program, self.dir)
        self.program = self.path("mount.sandckpt")

    def mount_own(self, options=""):
        return self.mount(options, user=NOBODY, program=self.program)

    def as_nobody(self, script):
        return self.run_program("sh", "-c", script, user=NOBODY)

    def test_his_own_process_is_captured(self):
        process = self.mkproc("anon", user=NOBODY, program=self.path("mkproc"))
        with self.mount_own() as m:
            done = self.as_nobody(f"/bin/echo {process.pid} name=own > {m.ctl} && ls {m.at}")
            self.assertEqual(done.stderr, "")
            self.assertEqual(done.stdout.split(), ["ctl", "own"])
            done = self.as_nobody(f"cd {m.path('own')} && sha256sum --quiet -c SHA256SUMS")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(os.stat(m.store).st_uid, NOBODY)
            done = self.as_nobody(f"mv {m.path('own')} {m.path('new')} && rmdir {m.path('new')}")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(self.as_nobody(f"fusermount3 -u {m.at}").returncode, 0)
            m.wait_gone()
        self.assertEqual(process.ask("alive"), {"alive": 0})

    def test_anothers_process_is_refused(self):
        process = self.mkproc("anon")
        with self.mount_own() as m:
            done = self.as_nobody(f"/bin/echo {process.pid} > {m.ctl}")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("not permitted", done.stderr)
            self.assert_untouched(process.pid)

    def test_the_mount_is_nobodys_but_his(self):
        with self.mount_own() as m:
            done = self.run_program("ls", m.at, user=NOBODY - 1)
            self.assertNotEqual(done.returncode, 0)
            self.assertNotEqual(self.run_program("ls", m.at).returncode, 0, "not even root's")

    def test_sigterm_and_the_servers_death_unmount_through_fusermount3(self):
        for comm, number in (
            ("mount.sandckpt", signal.SIGTERM),
            ("sandckpt-server", signal.SIGKILL),
        ):
            with self.subTest(comm), self.mount_own() as m:
                os.kill(m.process(comm), number)
                m.wait_gone()


if __name__ == "__main__":
    fusermount = shutil.which("fusermount3")
    if not fusermount or not os.stat(fusermount).st_mode & stat.S_ISUID:
        ckpttest.skip_all("fusermount3 is not there, or not set-user-id")
    scope = "/proc/sys/kernel/yama/ptrace_scope"
    if os.path.exists(scope) and ckpttest.read_text(scope) != "0\n":
        ckpttest.skip_all("yama's ptrace_scope lets an ordinary user capture nothing")
    ckpttest.main()
