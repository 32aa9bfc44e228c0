# SPDX-License-Identifier: Apache-2.0
"""ctl as a file: what it takes however it is opened, what it says when read."""

import os
import re
import shutil
import time

import ckpttest

LINE = re.compile(
    r"^(running|done|failed) \d+ (\S+)"
    r"( (progress|mode|pause_us|bytes|stored|errno)=\S+)*( said=.+)?$"
)
DONE = re.compile(r"^done \d+ \S+ mode=(stop|live) pause_us=\d+ bytes=\d+ stored=\d+( said=.+)?$")
FAILED = re.compile(r"^failed \d+ (\S+) ([a-z_]+=\S+ )*errno=E[A-Z]+ said=.+$")


class Handle(ckpttest.TestCase):
    def test_the_handle_that_wrote_reads_the_name_once_whatever_the_offset(self):
        process = self.mkproc()
        with self.mount() as m:
            fd = os.open(m.ctl, os.O_RDWR)
            os.write(fd, b"%d name=one\n" % process.pid)
            self.assertEqual(os.read(fd, 4096), b"one\n")
            self.assertEqual(os.read(fd, 4096), b"")
            os.pwrite(fd, b"%d name=two\n" % process.pid, 12345)
            self.assertEqual(os.pread(fd, 4096, 777), b"two\n")
            self.assertEqual(os.read(fd, 4096), b"")
            os.close(os.dup(fd))
            os.close(fd)

    def test_after_a_failed_write_there_is_just_the_end(self):
        process = self.mkproc()
        with self.mount() as m:
            fd = os.open(m.ctl, os.O_RDWR)
            self.assertEqual(ckpttest.errno_of(os.write, fd, b"nonsense\n"), "EINVAL")
            self.assertEqual(os.read(fd, 4096), b"")
            os.write(fd, b"%d name=one\n" % process.pid)
            self.assertEqual(ckpttest.errno_of(os.write, fd, b"nonsense\n"), "EINVAL")
            self.assertEqual(os.read(fd, 4096), b"")
            os.close(fd)

    def test_the_shells_way_to_read_it_back(self):
        process = self.mkproc()
        with self.mount() as m:
            script = f'exec 3<>{m.ctl}; echo {process.pid} >&3; read name <&3; echo "$name"'
            said = self.run_ok("sh", "-c", script).strip()
            self.assertEqual(m.names(), [said])

    def test_truncating_appending_and_offsets_are_fine(self):
        process = self.mkproc()
        with self.mount() as m:
            self.run_ok("sh", "-c", f"echo {process.pid} name=a > {m.ctl}")
            self.run_ok("sh", "-c", f"echo {process.pid} name=b >> {m.ctl}")
            self.run_ok("sh", "-c", f": > {m.ctl}")
            os.truncate(m.ctl, 0)
            self.run_ok(
                "sh",
                "-c",
                f"exec 3>{m.ctl}; echo {process.pid} name=c >&3; echo {process.pid} name=d >&3",
            )
            self.run_ok("sh", "-c", f"echo {process.pid} name=e | tee {m.ctl}")
            self.run_ok("sh", "-c", f"echo {process.pid} name=f | dd of={m.ctl} 2>/dev/null")
            self.assertEqual(m.names(), ["a", "b", "c", "d", "e", "f"])

    def test_a_shell_captures_itself(self):
        with self.mount() as m:
            shell = self.spawn("sh", "-c", f"echo $$ name=self > {m.ctl}; echo went on; read x")
            self.assertEqual(shell.stdout.readline(), b"went on\n")
            ckpttest.wait_for(lambda: m.names() == ["self"], "the shell is in the store")
            image = ckpttest.Image(m.path("self"))
            self.assertEqual(image.info["pid"], shell.pid)
            line = f"done {shell.pid} self "
            ckpttest.wait_for(lambda: m.state()[0].startswith(line), "ctl says so")

    def test_a_program_that_captures_itself_reads_its_name_without_waiting(self):
        with self.mount() as m:
            shell = self.spawn(
                "sh", "-c", f'exec 3<>{m.ctl}; echo $$ >&3; read name <&3; echo "$name"; read x'
            )
            name = shell.stdout.readline().decode().strip()
            self.assertRegex(name, "^" + ckpttest.DEFAULT_NAME % shell.pid + "$")
            ckpttest.wait_for(lambda: m.names() == [name], "the shell is in the store")
            ckpttest.end_program(shell)

    def test_a_thread_captures_its_process(self):
        program = (
            "import os, sys, threading\n"
            "def work():\n"
            "    fd = os.open(sys.argv[1], os.O_RDWR)\n"
            "    os.write(fd, b'%d name=by-thread' % os.getpid())\n"
            "    print(os.read(fd, 100).decode(), end='', flush=True)\n"
            "t = threading.Thread(target=work); t.start(); t.join(); input()\n"
        )
        with self.mount() as m:
            python = self.spawn(ckpttest.PYTHON, "-c", program, m.ctl)
            self.assertEqual(python.stdout.readline(), b"by-thread\n")
            ckpttest.wait_for(lambda: m.names() == ["by-thread"], "it is in the store")
            ckpttest.end_program(python)

    def test_default_names_that_are_taken_get_a_number(self):
        process = self.mkproc()
        with self.mount() as m:
            now = int(time.time())
            for second in range(now, now + 30):
                stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
                ckpttest.sleep_sample(m.store, f"mkproc-{process.pid}-{stamp}")
            first = m.write(f"{process.pid}\n")
            self.assertRegex(first, rf"^mkproc-{process.pid}-\d{{8}}T\d{{6}}Z\.2$")
            shutil.copytree(os.path.join(m.store, first), os.path.join(m.store, first[:-2] + ".3"))

    def test_odd_bytes_of_comm_become_underlines(self):
        program = self.path("odd na\nme")
        os.symlink(ckpttest.MKPROC, program)
        process = self.mkproc(program=program)
        with self.mount() as m:
            self.assertTrue(m.write(f"{process.pid}").startswith(f"odd_na_me-{process.pid}-"))

    def test_what_cat_says(self):
        process = self.mkproc()
        with self.mount() as m:
            self.assertEqual(m.state(), [])
            m.write(f"{process.pid} name=first")
            m.answer("2000000 name=failed")
            m.write(f"{process.pid} name=second")
            m.answer(f"{process.pid} name=first")
            lines = m.state()
            for line in lines:
                self.assertRegex(line, LINE)
                self.assertNotIn("  ", line)
            wanted = [line for line in lines if "said=" not in line or "errno=" in line]
            self.assertEqual(wanted, lines)
            done = [line for line in lines if line.startswith("done")]
            self.assertEqual([line.split()[2] for line in done], ["second", "first"])
            for line in done:
                self.assertRegex(line, DONE)
                self.assertIn(f" {process.pid} ", line)
            failed = [line for line in lines if line.startswith("failed")]
            self.assertTrue(any("errno=ESRCH" in line for line in failed), lines)
            for line in failed:
                self.assertRegex(line, FAILED)

    def test_facts_of_a_capture_are_true(self):
        process = self.mkproc("big=0x1000000")
        with self.mount() as m:
            image = m.capture(process.pid, "name=facts")
            facts = dict(word.split("=", 1) for word in m.state()[0].split()[3:])
            self.assertEqual(facts["mode"], image.meta["mode"])
            self.assertEqual(int(facts["pause_us"]), image.meta["pause_us"])
            self.assertEqual(int(facts["bytes"]), image.meta["bytes"])
            self.assertGreater(int(facts["bytes"]), 8 << 20)
            self.assertLess(int(facts["bytes"]), 12 << 20)
            self.assertGreaterEqual(int(facts["stored"]), 8 << 20)

    def test_the_last_64_are_remembered(self):
        with self.mount() as m:
            for pid in range(2000001, 2000071):
                m.answer(f"{pid}")
            lines = m.state()
            self.assertEqual([int(l.split()[1]) for l in lines], list(range(2000070, 2000006, -1)))

    def test_everything_can_be_read_in_pieces(self):
        process = self.mkproc()
        with self.mount() as m:
            for i in range(10):
                m.write(f"{process.pid} name=n{i}")
            whole = ckpttest.read_bytes(m.ctl)
            with open(m.ctl, "rb", buffering=0) as f:
                pieces = list(iter(lambda: f.read(7), b""))
            self.assertEqual(b"".join(pieces), whole)
            self.assertGreater(len(whole), 300)


if __name__ == "__main__":
    ckpttest.main()
