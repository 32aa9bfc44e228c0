# SPDX-License-Identifier: Apache-2.0
"""sandckpt-capture: one process into a store, without a mount."""

import contextlib
import json
import os
import signal

import ckpttest


class CaptureProgram(ckpttest.TestCase):
    def setUp(self):
        super().setUp()
        self.store = self.path("store")

    def capture(self, *words, **kwargs):
        return self.run_program(ckpttest.CAPTURE, *[str(word) for word in words], **kwargs)

    def test_the_name_is_printed_alone_and_the_checkpoint_loads_in_the_mount(self):
        process = self.mkproc("threads=10", "anon", "file")
        done = self.capture(process.pid, self.store)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\A" + ckpttest.DEFAULT_NAME % process.pid + r"\n\Z")
        name = done.stdout.strip()
        self.assertEqual(os.stat(self.store).st_mode & 0o7777, 0o700)
        self.assert_sums_hold(os.path.join(self.store, name))
        with self.mount() as m:
            self.assertEqual(m.names(), [name])
            image = ckpttest.Image(m.path(name))
            self.assertEqual(image.info["pid"], process.pid)
            self.assertEqual(image.meta["owner_uid"], 0)
            self.assert_threads_agree(image, process.pid)
            self.assert_sums_hold(m.path(name))
            for row in process.rows("maps"):
                page = image.read(row["start"], ckpttest.PAGE)
                self.assertEqual(page, ckpttest.pattern_page("anon", 0))
        self.assertEqual(process.ask("alive"), {"alive": 9})

    def test_what_it_takes_equals_the_stopped_process(self):
        process = self.mkproc("all-memory", "all-fds", "threads=5")
        with self.stopped(process.pid):
            self.assertEqual(self.capture("--name", "still", process.pid, self.store).returncode, 0)
            image = ckpttest.Image(os.path.join(self.store, "still"))
            self.assert_image_equals_process(image, process.pid)
            self.assert_fds_agree(image, process.pid)
            self.assert_threads_agree(image, process.pid)

    def test_a_running_mount_shows_it(self):
        process = self.mkproc()
        with self.mount() as m:
            self.assertEqual(self.capture("--name=here", process.pid, m.store).returncode, 0)
            self.assertEqual(m.names(), ["here"])

    def test_options(self):
        process = self.mkproc()
        done = self.capture(
            "--name",
            "told",
            "--mode",
            "stop",
            "--store",
            "plain",
            "--cow",
            "/some/path",
            "--deadline",
            "5",
            process.pid,
            self.store,
        )
        self.assertEqual((done.returncode, done.stdout), (0, "told\n"))
        meta = ckpttest.Image(os.path.join(self.store, "told")).meta
        self.assertEqual((meta["mode"], meta["cow_snapshot"]), ("stop", "/some/path"))

    def test_json(self):
        process = self.mkproc("anon")
        done = self.capture("--json", "--name", "told", process.pid, self.store)
        self.assertEqual(done.returncode, 0)
        said = json.loads(done.stdout)
        meta = ckpttest.Image(os.path.join(self.store, "told")).meta
        self.assertEqual((said["name"], said["pid"]), ("told", process.pid))
        for key in ("mode", "pause_us", "bytes"):
            self.assertEqual(said[key], meta[key])
        self.assertGreater(said["stored"], 0)

    def assert_fails(self, code, *words, said=""):
        done = self.capture(*words)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertIn(said, done.stderr)
        return done

    def test_wrong_usage_is_2(self):
        process = self.mkproc()
        self.assert_fails(2)
        self.assert_fails(2, process.pid)
        self.assert_fails(2, process.pid, self.store, "third")
        self.assert_fails(2, "--frobnicate", process.pid, self.store)
        self.assert_fails(2, "--mode=maybe", process.pid, self.store)
        self.assert_fails(2, "--deadline=soon", process.pid, self.store)
        self.assert_fails(2, "abc", self.store, said='"abc"')
        self.assertFalse(os.path.exists(self.store))

    def test_failures_are_1_and_leave_nothing(self):
        process = self.mkproc("threads=1")
        (thread,) = process.rows("threads")
        traced = self.mkproc("traced")
        self.assertEqual(self.capture("--name=taken", process.pid, self.store).returncode, 0)
        self.assert_fails(1, "--name=taken", process.pid, self.store, said='"taken"')
        self.assert_fails(1, 2000000, self.store)
        self.assert_fails(1, thread["tid"], self.store, said=str(process.pid))
        self.assert_fails(1, traced.pid, self.store)
        self.assert_fails(1, process.pid, self.path("no/store"), said="no/store")
        self.assertEqual(sorted(os.listdir(self.store)), [".sandckpt", "taken"])
        self.assertEqual(os.listdir(os.path.join(self.store, ".sandckpt/staging")), [])
        self.assertFalse(os.path.exists(self.path("no")))

    def test_a_process_that_will_not_stop(self):
        process = self.mkproc("vfork", "threads=2")
        self.assert_fails(1, "--deadline=1", process.pid, self.store)
        self.assert_untouched(process.pid)
        self.assertEqual(process.ask("alive"), {"alive": 2})

    def test_ctrl_c_cancels_and_leaves_nothing(self):
        process = self.mkproc("vfork", "threads=2")
        popen = self.spawn(ckpttest.CAPTURE, "--deadline=60", str(process.pid), self.store)
        ckpttest.wait_for(lambda: "sandckpt-reader" in children(popen.pid), "the capture runs")
        popen.send_signal(signal.SIGINT)
        self.assertNotEqual(popen.wait(ckpttest.DEADLINE), 0)
        self.assert_untouched(process.pid)
        self.assertEqual(process.ask("alive"), {"alive": 2})
        self.assertEqual([n for n in os.listdir(self.store) if n != ".sandckpt"], [])
        staging = os.path.join(self.store, ".sandckpt/staging")
        if os.path.isdir(staging):
            self.assertEqual(os.listdir(staging), [])

    def test_kill_9_leaves_the_target_running_and_the_store_whole(self):
        process = self.mkproc("vfork", "threads=2")
        popen = self.spawn(ckpttest.CAPTURE, "--deadline=60", str(process.pid), self.store)
        ckpttest.wait_for(lambda: "sandckpt-reader" in children(popen.pid), "the capture runs")
        popen.kill()
        popen.wait()
        ckpttest.wait_for(
            lambda: ckpttest.status_field(process.pid, "TracerPid") == "0", "the reader ends too"
        )
        self.assert_untouched(process.pid)
        self.assertEqual(process.ask("alive"), {"alive": 2})
        self.assertTrue(process.ask("release")["released"])
        self.assertEqual(self.capture("--name=next", process.pid, self.store).returncode, 0)
        self.assertEqual(sorted(os.listdir(self.store)), [".sandckpt", "next"])
        ckpttest.wait_for(
            lambda: not os.listdir(os.path.join(self.store, ".sandckpt/staging")), "it is swept"
        )

    def test_help_and_version_go_to_stdout(self):
        text = self.run_ok(ckpttest.CAPTURE, "--help")
        for option in ("--name", "--mode", "--store", "--cow", "--deadline", "--json"):
            self.assertIn(option, text)
        self.assertTrue(all(len(line) <= 80 for line in text.splitlines()), text)
        self.assertRegex(self.run_ok(ckpttest.CAPTURE, "--version"), r"\d+\.\d+")


def children(pid):
    """The comm names of a process's children."""
    with contextlib.suppress(OSError):
        pids = ckpttest.read_text(f"/proc/{pid}/task/{pid}/children").split()
        return [ckpttest.read_text(f"/proc/{child}/comm").strip() for child in pids]
    return []


if __name__ == "__main__":
    ckpttest.main()
