# SPDX-License-Identifier: Apache-2.0
"""ctl's table of answers: the errno of write(2) says what became of the command."""

import contextlib
import os
import subprocess

import ckpttest


class Malformed(ckpttest.TestCase):
    def test_einval(self):
        process = self.mkproc("threads=2")
        pid = process.pid
        thread, *_ = process.rows("threads")
        commands = (
            "\n",
            "   \n",
            "abc",
            "-1",
            "0",
            "+5",
            "12x",
            "1.5",
            "99999999999999999999",
            f"{pid} {pid}",
            f"{pid} frob=1",
            f"{pid} name",
            f"{pid} name=",
            f"{pid} =x",
            f"{pid} mode=",
            f"{pid} mode=maybe",
            f"{pid} store=elsewhere",
            f"{pid} store=packed",
            f"{pid} name=a name=b",
            f"name=a {pid}",
            f"{pid}\n{pid}\n",
            f"{pid}\n{pid} name=b",
            f"{pid} name=a\n\n{pid}",
            f"{pid}" + " " * 4096,
            f"{pid} name=.hidden",
            f"{pid} name=..",
            f"{pid} name=a/b",
            f"{pid} name=/a",
            f"{pid} name=a.tmp",
            f"{pid} name=ctl",
            f"{pid} name=\x01",
            f"{pid} name=\x7f",
            f"{pid} name=" + "a" * 256,
            f"{pid} name=".encode() + b"\xff\xfe",
            f"{pid} name=a\0b",
            f"{thread['tid']}",
        )
        with self.mount() as m:
            for command in commands:
                with self.subTest(command=command):
                    self.assertEqual(m.answer(command), "EINVAL")
            self.assertEqual(m.names(), [])
            self.assertEqual(m.staging(), [])
        self.assertEqual(process.ask("alive"), {"alive": 2})

    def test_the_sentence_of_a_threads_id_names_its_process(self):
        process = self.mkproc("threads=1")
        (thread,) = process.rows("threads")
        with self.mount() as m:
            self.assertEqual(m.answer(f"{thread['tid']}"), "EINVAL")
            said = m.state()[0].partition(" said=")[2]
            self.assertIn(str(process.pid), said)

    def test_what_is_well_formed(self):
        process = self.mkproc()
        pid = process.pid
        commands = (
            (f"{pid} name=plain", "plain"),
            (f"{pid} name=newline\n", "newline"),
            (f"  {pid}\tname=blanks  \n", "blanks"),
            (f"{pid} mode=stop name=words store=plain cow=/x\n", "words"),
            (f"{pid} mode=auto name=auto", "auto"),
            (f"{pid} name=naïve-日本", "naïve-日本"),
            (f"{pid} name=a=b", "a=b"),
            (f"{pid} name=" + "a" * 255, "a" * 255),
            (f"{pid} name=x.tmp.y", "x.tmp.y"),
        )
        with self.mount() as m:
            for command, name in commands:
                with self.subTest(command=command):
                    self.assertEqual(m.write(command), name)
            self.assertEqual(m.names(), sorted(name for _, name in commands))

    def test_the_longest_command_has_4096_bytes(self):
        process = self.mkproc()
        with self.mount() as m:
            self.assertEqual(m.answer(f"{process.pid}".ljust(4096)), "done")
            self.assertEqual(m.answer(f"{process.pid}".ljust(4097)), "EINVAL")


class Refused(ckpttest.TestCase):
    def test_esrch_of_a_process_that_is_gone(self):
        gone = subprocess.Popen(["true"])
        gone.wait()
        zombie = self.spawn("true")
        ckpttest.wait_for(lambda: ckpttest.process_state(zombie.pid) == "Z", "it exits")
        with self.mount() as m:
            self.assertEqual(m.answer(f"{gone.pid}"), "ESRCH")
            self.assertEqual(m.answer(f"{zombie.pid}"), "ESRCH")

    def test_eperm_of_a_kernel_thread(self):
        with contextlib.suppress(OSError):
            if ckpttest.read_text("/proc/2/comm") == "kthreadd\n":
                with self.mount() as m:
                    self.assertEqual(m.answer("2"), "EPERM")
                return
        self.skipTest("kernel threads are not visible here")

    def test_eperm_of_another_users_process(self):
        process = self.mkproc("anon")
        with self.mount("allow_other") as m:
            done = self.run_program(
                "sh", "-c", f"/bin/echo {process.pid} > {m.ctl}", user=ckpttest.NOBODY
            )
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("not permitted", done.stderr)
            self.assertEqual(m.names(), [])
        self.assert_untouched(process.pid)

    def test_a_handle_opened_by_root_does_not_lend_its_rights(self):
        process = self.mkproc()
        with self.mount("allow_other") as m:
            done = self.run_program(
                "sh",
                "-c",
                f"exec 3>{m.ctl}; setpriv --reuid={ckpttest.NOBODY} /bin/echo {process.pid} >&3",
            )
            self.assertIn("not permitted", done.stderr)
            self.assertEqual(m.names(), [])

    def test_another_users_own_process_is_captured_and_is_his(self):
        self.need_ptrace_of_own()
        process = self.mkproc("anon", user=ckpttest.NOBODY)
        with self.mount("allow_other") as m:
            self.run_ok("sh", "-c", f"echo {process.pid} name=his > {m.ctl}", user=ckpttest.NOBODY)
            self.assertEqual(os.stat(m.path("his")).st_uid, ckpttest.NOBODY)
            self.assertEqual(os.stat(m.path("his/meta.json")).st_uid, ckpttest.NOBODY)
            self.assertEqual(ckpttest.Image(m.path("his")).meta["owner_uid"], ckpttest.NOBODY)
            self.run_ok("cat", m.path("his/memory/0.bin"), user=ckpttest.NOBODY)
            self.run_ok("mv", m.path("his"), m.path("still-his"), user=ckpttest.NOBODY)
            self.run_ok("rmdir", m.path("still-his"), user=ckpttest.NOBODY)
            self.assertEqual(m.names(), [])

    def test_a_user_sees_only_his_own_captures_in_ctl(self):
        self.need_ptrace_of_own()
        mine = self.mkproc()
        his = self.mkproc(user=ckpttest.NOBODY)
        with self.mount("allow_other") as m:
            m.write(f"{mine.pid} name=mine")
            self.run_ok("sh", "-c", f"echo {his.pid} name=his > {m.ctl}", user=ckpttest.NOBODY)
            seen = self.run_ok("cat", m.ctl, user=ckpttest.NOBODY)
            self.assertEqual([line.split()[2] for line in seen.splitlines()], ["his"])
            self.assertEqual([line.split()[2] for line in m.state()], ["his", "mine"])

    def test_a_writer_under_a_seccomp_filter_may_capture_only_itself(self):
        process = self.mkproc()
        program = (
            "import ctypes, os, struct, sys\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "code = ctypes.create_string_buffer(struct.pack('<HBBI', 6, 0, 0, 0x7fff0000))\n"
            "prog = ctypes.create_string_buffer("
            "struct.pack('<HxxxxxxQ', 1, ctypes.addressof(code)))\n"
            "assert libc.prctl(38, 1, 0, 0, 0) == 0\n"
            "assert libc.prctl(22, 2, prog, 0, 0) == 0\n"
            "fd = os.open(sys.argv[1], os.O_RDWR)\n"
            "try: os.write(fd, sys.argv[2].encode()); print('done')\n"
            "except OSError as e: print(e.errno)\n"
            "os.write(fd, b'%d' % os.getpid()); print(os.read(fd, 4096).decode(), flush=True)\n"
            "input()\n"
        )
        with self.mount() as m:
            writer = self.spawn(ckpttest.PYTHON, "-c", program, m.ctl, str(process.pid))
            self.assertEqual(writer.stdout.readline(), b"1\n")
            name = writer.stdout.readline().decode().strip()
            ckpttest.wait_for(lambda: m.names() == [name], "it has captured itself")
            ckpttest.end_program(writer)

    def test_ebusy_of_a_traced_process(self):
        process = self.mkproc("traced")
        with self.mount() as m:
            self.assertEqual(m.answer(f"{process.pid}"), "EBUSY")
        self.assertEqual(
            ckpttest.status_field(process.pid, "TracerPid"), str(process.facts["traced"]["tracer"])
        )
        self.assertEqual(process.ask("alive"), {"alive": 0})

    def test_eexist_of_a_name_taken(self):
        process = self.mkproc()
        with self.mount() as m:
            m.write(f"{process.pid} name=taken")
            before = ckpttest.listing(m.store)
            self.assertEqual(m.answer(f"{process.pid} name=taken"), "EEXIST")
            self.assertEqual(ckpttest.listing(m.store), before)
            os.mkdir(os.path.join(m.store, "stray"))
            self.assertEqual(m.answer(f"{process.pid} name=stray"), "EEXIST")

    def test_edeadlk_of_the_mounts_own_processes(self):
        with self.mount() as m:
            for comm in ("mount.sandckpt", "sandckpt-server"):
                self.assertEqual(m.answer(f"{m.process(comm)}"), "EDEADLK", comm)

    def test_erofs_of_a_read_only_mount(self):
        process = self.mkproc()
        with self.mount() as m:
            m.write(f"{process.pid} name=kept")
        with self.mount("ro") as m:
            before = ckpttest.listing(m.store)
            self.assertEqual(m.answer(f"{process.pid}"), "EROFS")
            self.assertEqual(ckpttest.errno_of(os.rmdir, m.path("kept")), "EROFS")
            self.assertEqual(ckpttest.errno_of(os.rename, m.path("kept"), m.path("new")), "EROFS")
            self.assertEqual(m.names(), ["kept"])
            self.assertEqual(ckpttest.listing(m.store), before)
            self.assertEqual(ckpttest.Image(m.path("kept")).info["pid"], process.pid)

    def need_ptrace_of_own(self):
        with contextlib.suppress(FileNotFoundError):
            if ckpttest.read_text("/proc/sys/kernel/yama/ptrace_scope") != "0\n":
                self.skipTest("yama's ptrace_scope lets an ordinary user capture nothing")


class NoSpace(ckpttest.TestCase):
    def make_small(self):
        tmpfs = self.make_dir("small")
        self.run_ok("mount", "-t", "tmpfs", "-o", "size=12m", "none", tmpfs)
        self.addCleanup(subprocess.run, ["umount", "-l", tmpfs], check=False)
        return tmpfs

    def test_enospc_leaves_nothing_and_the_target_runs_on(self):
        process = self.mkproc("big=0x2000000", "threads=3")
        tmpfs = self.make_small()
        with self.mount("reserve=0", store="small/store") as m:
            small = self.mkproc()
            m.write(f"{small.pid} name=before")
            used = os.statvfs(tmpfs)
            self.assertEqual(m.answer(f"{process.pid}"), "ENOSPC")
            self.assert_untouched(process.pid)
            self.assertEqual(m.names(), ["before"])
            self.assertEqual(sorted(os.listdir(m.store)), [".sandckpt", "before"])
            self.assertEqual(m.staging(), [])
            self.assertLess(abs(os.statvfs(tmpfs).f_bfree - used.f_bfree), 64)
            m.write(f"{small.pid} name=after")
            self.assertEqual(m.names(), ["after", "before"])
        self.assertEqual(process.ask("alive"), {"alive": 3})

    def test_enospc_below_the_reserve(self):
        process = self.mkproc()
        with open(os.path.join(self.make_small(), "other"), "wb") as f:
            f.write(bytes(2 << 20))
        with self.mount("reserve=90", store="small/store") as m:
            self.assertEqual(m.answer(f"{process.pid}"), "ENOSPC")
            self.assertEqual(m.names(), [])
            self.assertEqual(m.staging(), [])


if __name__ == "__main__":
    ckpttest.main()
