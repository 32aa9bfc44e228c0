# SPDX-License-Identifier: Apache-2.0
"""System calls that a capture interrupts go on as if nothing had been.

mkproc's process aborts at the first EINTR that it did not ask for, when one that it needs does
not come, and when a wait of 300 ms takes more than two seconds.
"""

import ctypes
import os
import signal

import ckpttest

PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000


def attach_and_detach(tid):
    """What any debugger does to a thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, tid, None, None) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.waitpid(tid, WALL)
    if libc.ptrace(PTRACE_DETACH, tid, None, None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Calls(ckpttest.TestCase):
    def thread_in(self, process, call):
        (row,) = [row for row in process.rows("threads") if row.get("call") == call]
        return row["tid"]

    def test_a_debugger_ends_the_process_by_looking_at_it(self):
        process = self.mkproc("calls")
        attach_and_detach(self.thread_in(process, "epoll_wait"))
        self.assertEqual(process.popen.wait(ckpttest.DEADLINE), -signal.SIGABRT)

    def test_a_thousand_captures_do_not(self):
        process = self.mkproc("calls", "alarm", "short")
        with self.mount() as m:
            for n in ckpttest.rounds(1000, "calls"):
                before = process.ask("waits")["alarms"]
                image = m.capture(process.pid)
                ckpttest.wait_for(
                    lambda before=before: process.ask("waits")["alarms"] > before,
                    f"an alarm rings after capture {n}",
                )
                os.rmdir(image.path)
        self.assert_untouched(process.pid)
        self.assertIsNone(process.popen.poll())

    def test_a_short_wait_ends_under_captures_without_a_pause(self):
        process = self.mkproc("short")
        with self.mount() as m:
            for _ in ckpttest.rounds(100, "calls-short"):
                before = process.ask("waits")["shorts"]
                while process.ask("waits")["shorts"] == before:
                    os.rmdir(m.capture(process.pid).path)
        self.assertIsNone(process.popen.poll())


if __name__ == "__main__":
    ckpttest.main()
