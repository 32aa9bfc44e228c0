# SPDX-License-Identifier: Apache-2.0
"""Threads: all of them, with their registers, signals and what they wait in."""

import os

import ckpttest

R12 = 3  # of user_regs_struct: r15 r14 r13 r12 …
XMM7 = 160 + 7 * 16  # of the FXSAVE area, which NT_X86_XSTATE starts with


class Threads(ckpttest.TestCase):
    def test_a_spinning_thread_shows_its_registers(self):
        process = self.mkproc("threads=9", "spin")
        (spin,) = process.facts["spin"]["threads"]
        with self.mount() as m:
            image = m.capture(process.pid)
            numbers = {t["tid"]: n for n, t in enumerate(image.info["threads"])}
            number = numbers[spin["tid"]]
            self.assertEqual(image.registers(number)[R12], int(spin["r12"], 16))
            xstate = ckpttest.read_bytes(
                os.path.join(image.path, f"process/threads/{number}.xstate")
            )
            self.assertEqual(xstate[XMM7 : XMM7 + 16], spin["xmm7"].encode())

    def test_fifty_threads_are_all_there(self):
        process = self.mkproc("threads=50")
        with self.mount() as m:
            image = m.capture(process.pid)
            self.assert_threads_agree(image, process.pid)
            calls = {t["tid"]: t["syscall"] for t in image.info["threads"]}
            for row in process.rows("threads"):
                self.assertEqual(calls[row["tid"]], row.get("syscall"), row)
        self.assertEqual(process.ask("alive"), {"alive": 45})

    def test_a_waiting_thread_waits_on_as_if_nothing_happened(self):
        process = self.mkproc("threads=30")
        with self.mount() as m:
            for i in range(10):
                m.capture(process.pid)
                self.assertEqual(process.ask("alive"), {"alive": 27})

    def test_signal_masks_and_pending_signals_are_kept_and_none_is_lost(self):
        process = self.mkproc("threads=2", "signals")
        (expected,) = process.facts["signals"]["threads"]
        with self.mount() as m:
            image = m.capture(process.pid)
        main = image.info["threads"][0]
        self.assertEqual(main["sigmask"], expected["sigmask"])
        pending = int(expected["pending_thread"], 16)
        self.assertEqual(int(main["pending"], 16) & pending, pending)
        self.assertEqual(ckpttest.status_field(process.pid, "SigPnd"), expected["pending_thread"])
        self.assertEqual(ckpttest.status_field(process.pid, "ShdPnd"), expected["pending_process"])
        self.assertEqual(ckpttest.status_field(process.pid, "SigBlk"), expected["sigmask"])

    def test_a_process_whose_leader_has_exited(self):
        process = self.mkproc("threads=5", "leaderless")
        ckpttest.wait_for(lambda: ckpttest.process_state(process.pid) == "Z", "the leader exits")
        with self.mount() as m:
            image = m.capture(process.pid)
            live = sorted(int(t) for t in os.listdir(f"/proc/{process.pid}/task"))
            live.remove(process.pid)
            self.assertEqual([t["tid"] for t in image.info["threads"]][0], live[0])
            self.assertEqual(sorted(t["tid"] for t in image.info["threads"]), live)
            self.assertTrue(image.rows)
        self.assertEqual(process.ask("alive"), {"alive": 5})

    def test_threads_that_come_and_go_during_the_capture(self):
        program = (
            "import threading, sys\n"
            "def short(): pass\n"
            "def churn():\n"
            "    while True:\n"
            "        t = threading.Thread(target=short); t.start(); t.join()\n"
            "for _ in range(4): threading.Thread(target=churn, daemon=True).start()\n"
            "print('ready', flush=True)\n"
            "for line in sys.stdin: print('alive', flush=True)\n"
        )
        churn = self.spawn(ckpttest.PYTHON, "-c", program)
        self.assertEqual(churn.stdout.readline(), b"ready\n")
        with self.mount() as m:
            for i in range(10):
                image = m.capture(churn.pid)
                self.assertGreaterEqual(len(image.info["threads"]), 5)
                files = os.listdir(os.path.join(image.path, "process/threads"))
                self.assertEqual(len(files), 2 * len(image.info["threads"]))
                self.assert_untouched(churn.pid)
                churn.stdin.write(b"\n")
                churn.stdin.flush()
                self.assertEqual(churn.stdout.readline(), b"alive\n")

    def test_info_json_tells_who_it_was(self):
        process = self.mkproc("threads=2", user=ckpttest.NOBODY)
        with self.mount() as m:
            info = m.capture(process.pid).info
        self.assertEqual(info["pid"], process.pid)
        self.assertEqual(info["ppid"], os.getpid())
        self.assertEqual(info["comm"], "mkproc")
        self.assertEqual(info["exe"], os.path.realpath(ckpttest.MKPROC))
        self.assertEqual(info["cwd"], self.dir)
        self.assertEqual(info["cmdline"], [ckpttest.MKPROC, "threads=2"])
        self.assertEqual(info["uids"], [ckpttest.NOBODY] * 4)
        self.assertEqual(info["gids"], [ckpttest.NOBODY] * 4)
        self.assertEqual(info["groups"], [])
        self.assertEqual(info["namespaces"]["mnt"], os.stat(f"/proc/{process.pid}/ns/mnt").st_ino)
        stat = ckpttest.read_text(f"/proc/{process.pid}/stat").rpartition(")")[2].split()
        self.assertEqual(info["start_time_ticks"], int(stat[19]))
        self.assertEqual(list(info)[:3], ["pid", "cwd", "exe"])


if __name__ == "__main__":
    ckpttest.main()
