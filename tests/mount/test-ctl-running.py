# SPDX-License-Identifier: Apache-2.0
"""What ctl does while a capture takes its time.

A thread that waits for its vfork child can't be stopped, so a capture of such a process goes on
trying until its deadline, or until the child is let go: captures held for as long as a test
wants, without a clock.
"""

import contextlib
import os
import signal
import time

import ckpttest

WRITER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
for number in (signal.SIGCHLD, signal.SIGWINCH, signal.SIGURG, signal.SIGCONT, signal.SIGIO):
    signal.signal(number, lambda *_: None)
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    os.write(fd, sys.argv[2].encode())
    print(os.read(fd, 4096).decode().rstrip() or "-", flush=True)
except OSError as e:
    print(os.strerror(e.errno), flush=True)
"""


class Running(ckpttest.TestCase):
    def held(self, m, words=""):
        """A process and the program that waits for its capture, which has begun."""
        process = self.mkproc("vfork", "threads=2")
        writer = self.spawn(ckpttest.PYTHON, "-c", WRITER, m.ctl, f"{process.pid} {words}")
        self.wait_running(m, process.pid)
        return process, writer

    def wait_running(self, m, pid):
        ckpttest.wait_for(
            lambda: any(line.startswith(f"running {pid} ") for line in m.state()),
            f"the capture of {pid} runs",
        )

    def outcome(self, writer):
        line = writer.stdout.readline().decode().strip()
        writer.wait(ckpttest.DEADLINE)
        return line

    def release(self, process):
        """The process can be stopped from here on."""
        self.assertEqual(process.ask("release"), {"released": True})

    def assert_alive_and_free(self, process):
        self.assert_untouched(process.pid)
        self.assertEqual(process.ask("alive"), {"alive": 2})

    def test_etimedout_of_a_process_that_will_not_stop(self):
        process = self.mkproc("vfork", "threads=2")
        with self.mount("deadline=1") as m:
            begin = time.monotonic()
            self.assertEqual(m.answer(f"{process.pid}"), "ETIMEDOUT")
            took = time.monotonic() - begin
            self.assertGreater(took, 0.9)
            self.assertLess(took, 6)
            self.assert_alive_and_free(process)
            self.assertEqual(m.names(), [])
            self.assertEqual(m.staging(), [])
            self.release(process)
            self.assertEqual(m.answer(f"{process.pid} name=later"), "done")
            self.assertEqual(m.names(), ["later"])

    def test_a_straggler_is_never_held_while_it_is_waited_for(self):
        with self.mount("deadline=60") as m:
            process, writer = self.held(m)
            for _ in range(20):
                self.assertEqual(process.ask("alive"), {"alive": 2})
            self.release(process)
            self.assertRegex(self.outcome(writer), "^" + ckpttest.DEFAULT_NAME % process.pid)
            self.assert_alive_and_free(process)

    def test_ebusy_of_a_process_being_captured_already(self):
        with self.mount("deadline=60") as m:
            process, writer = self.held(m, "name=first")
            self.assertEqual(m.answer(f"{process.pid} name=second"), "EBUSY")
            self.release(process)
            self.assertEqual(self.outcome(writer), "first")
            self.assertEqual(m.names(), ["first"])

    def test_eexist_of_a_name_that_a_running_capture_has_reserved(self):
        other = self.mkproc()
        with self.mount("deadline=60") as m:
            process, writer = self.held(m, "name=reserved")
            self.assertEqual(m.answer(f"{other.pid} name=reserved"), "EEXIST")
            self.assertEqual(m.names(), [], "what is being written is invisible")
            self.release(process)
            self.assertEqual(self.outcome(writer), "reserved")

    def test_a_name_that_a_running_capture_has_reserved_is_no_rename_away(self):
        other = self.mkproc()
        with self.mount("deadline=60") as m:
            m.write(f"{other.pid} name=other")
            process, writer = self.held(m, "name=reserved")
            rename = ckpttest.errno_of(os.rename, m.path("other"), m.path("reserved"))
            self.assertEqual(rename, "EEXIST")
            os.rename(m.path("other"), m.path("another"))
            self.release(process)
            self.assertEqual(self.outcome(writer), "reserved")
            self.assertEqual(m.names(), ["another", "reserved"])

    def test_a_rename_without_a_broker_is_done(self):
        other = self.mkproc()
        with self.mount() as m:
            m.write(f"{other.pid} name=one")
            os.kill(m.process("mount.sandckpt"), signal.SIGKILL)
            with ckpttest.within(ckpttest.DEADLINE, "a rename"):
                os.rename(m.path("one"), m.path("two"))
            self.assertEqual(m.names(), ["two"])
            self.run_ok("umount", m.at)

    def test_eagain_of_too_many_captures_of_a_user(self):
        other = self.mkproc()
        with self.mount("deadline=60,captures_per_user=1") as m:
            process, writer = self.held(m)
            self.assertEqual(m.answer(f"{other.pid}"), "EAGAIN")
            self.release(process)
            self.outcome(writer)
            self.assertEqual(m.answer(f"{other.pid}"), "done")

    def test_eagain_of_too_many_captures_in_all(self):
        other = self.mkproc()
        with self.mount("deadline=60,captures=2,captures_per_user=5") as m:
            held = [self.held(m), self.held(m)]
            self.assertEqual(m.answer(f"{other.pid}"), "EAGAIN")
            for process, writer in held:
                self.release(process)
                self.outcome(writer)
            self.assertEqual(m.answer(f"{other.pid}"), "done")

    def test_a_running_capture_occupies_no_fuse_thread(self):
        other = self.mkproc()
        with self.mount("deadline=60,captures=8,captures_per_user=8,max_threads=2") as m:
            held = [self.held(m) for _ in range(5)]
            name = m.write(f"{other.pid} name=other")
            self.assertEqual(m.names(), [name])
            self.assertTrue(ckpttest.read_bytes(m.path(name, "meta.json")))
            for process, writer in held:
                self.release(process)
                self.outcome(writer)

    def test_ctrl_c_cancels_and_leaves_nothing(self):
        with self.mount("deadline=60") as m:
            process, writer = self.held(m, "name=cancelled")
            writer.send_signal(signal.SIGINT)
            self.assertEqual(writer.wait(ckpttest.DEADLINE), -signal.SIGINT)
            ckpttest.wait_for(lambda: m.state()[0].startswith("failed"), "the capture ends")
            self.assertRegex(m.state()[0], r"^failed \d+ \S+ .*\berrno=EINTR\b")
            self.assertEqual(m.names(), [])
            self.assertEqual(m.staging(), [])
            self.assert_alive_and_free(process)
            self.release(process)
            self.assertEqual(m.answer(f"{process.pid} name=cancelled"), "done")

    def test_sigkill_of_the_writer_cancels_too(self):
        with self.mount("deadline=60") as m:
            process, writer = self.held(m)
            writer.kill()
            writer.wait(ckpttest.DEADLINE)
            ckpttest.wait_for(lambda: m.state()[0].startswith("failed"), "the capture ends")
            self.assert_alive_and_free(process)

    def test_signals_that_mean_nothing_do_not_cancel(self):
        with self.mount("deadline=60") as m:
            process, writer = self.held(m, "name=goes-on")
            for number in (
                signal.SIGCHLD,
                signal.SIGWINCH,
                signal.SIGURG,
                signal.SIGCONT,
                signal.SIGIO,
            ):
                writer.send_signal(number)
                self.assertTrue(m.state()[0].startswith("running"), number)
            self.release(process)
            self.assertEqual(self.outcome(writer), "goes-on")

    def test_a_signal_that_cancels_may_come_after_one_that_does_not(self):
        with self.mount("deadline=60") as m:
            process, writer = self.held(m)
            writer.send_signal(signal.SIGCHLD)
            self.assertTrue(m.state()[0].startswith("running"))
            writer.send_signal(signal.SIGINT)
            self.assertEqual(writer.wait(ckpttest.DEADLINE), -signal.SIGINT)

    def test_running_captures_come_first(self):
        other = self.mkproc()
        with self.mount("deadline=60") as m:
            process, writer = self.held(m, "name=slow")
            m.write(f"{other.pid} name=fast")
            first, second = m.state()
            self.assertRegex(first, rf"^running {process.pid} (slow|-) .*\bprogress=\d+\b")
            self.assertRegex(second, rf"^done {other.pid} fast ")
            self.release(process)
            self.outcome(writer)
            self.assertEqual([line.split()[2] for line in m.state()], ["slow", "fast"])

    def test_the_processes_of_a_running_capture_have_their_names(self):
        with self.mount("deadline=60") as m:
            process, writer = self.held(m)
            comms = sorted(ckpttest.OUR_COMMS)
            ckpttest.wait_for(lambda: sorted(m.processes().values()) == comms, comms)
            for comm in ("sandckpt-writer", "sandckpt-reader"):
                self.assertEqual(m.answer(f"{m.process(comm)}"), "EDEADLK", comm)
            self.release(process)
            self.outcome(writer)
            ckpttest.wait_for(lambda: len(m.processes()) == 2, "writer and reader end")

    def test_the_reader_dies_and_the_target_runs_on(self):
        with self.mount("deadline=60") as m:
            process, writer = self.held(m)
            os.kill(m.process("sandckpt-reader"), signal.SIGKILL)
            self.assertEqual(self.outcome(writer), os.strerror(5))
            self.assert_alive_and_free(process)
            self.assertEqual(m.names(), [])
            self.assertEqual(m.staging(), [])

    def test_the_writer_dies_and_the_target_runs_on(self):
        with self.mount("deadline=60") as m:
            process, writer = self.held(m)
            os.kill(m.process("sandckpt-writer"), signal.SIGKILL)
            self.release(process)
            self.assertNotRegex(self.outcome(writer), ckpttest.DEFAULT_NAME % process.pid)
            self.assert_alive_and_free(process)
            self.assertEqual(m.names(), [])
            self.assertEqual(m.answer(f"{process.pid} name=next"), "done")
            ckpttest.wait_for(lambda: m.staging() == [], "what the dead one left is swept")

    def test_a_target_that_exits_is_esrch(self):
        with self.mount("deadline=60") as m:
            process, writer = self.held(m)
            os.kill(process.pid, signal.SIGKILL)
            process.popen.wait(ckpttest.DEADLINE)
            self.assertEqual(self.outcome(writer), os.strerror(3))
            self.assertEqual(m.names(), [])

    def test_umount_and_sigterm_cancel_what_runs(self):
        for end in ("umount", "SIGTERM"):
            with self.subTest(end=end), self.mount("deadline=60") as m:
                process, writer = self.held(m)
                broker = m.process("mount.sandckpt")
                if end == "umount":
                    self.run_ok("umount", "-l", m.at)
                    writer.kill()
                else:
                    os.kill(broker, signal.SIGTERM)
                m.wait_gone()
                with contextlib.suppress(BrokenPipeError):
                    self.assert_alive_and_free(process)
                self.assertEqual(m.staging(), [])


if __name__ == "__main__":
    ckpttest.main()
