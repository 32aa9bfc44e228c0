# SPDX-License-Identifier: Apache-2.0
"""Descriptors of each kind: fds.json says what /proc and the maker of each say."""

import json
import os

import ckpttest


class Fds(ckpttest.TestCase):
    def setUp(self):
        super().setUp()
        self.process = self.mkproc("all-fds")

    def test_every_kind_is_told_apart(self):
        with self.mount() as m:
            image = m.capture(self.process.pid)
        for expected in self.process.rows("fds"):
            row = image.fds[expected["fd"]]
            self.assertEqual({key: row.get(key) for key in expected}, expected)

    def test_every_row_agrees_with_proc(self):
        with self.mount() as m, self.stopped(self.process.pid):
            image = m.capture(self.process.pid)
            self.assert_fds_agree(image, self.process.pid)

    def test_the_fdinfo_fields_are_kept(self):
        with self.mount() as m:
            image = m.capture(self.process.pid)
            (row,) = self.process.facts["eventfd"]["fds"]
            self.assertEqual(image.fds[row["fd"]]["fdinfo"]["eventfd-count"].strip(), "2a")
            (row,) = self.process.facts["signalfd"]["fds"]
            self.assertEqual(image.fds[row["fd"]]["fdinfo"]["sigmask"], "0000000000000001")
            for number in image.fds:
                kept = ckpttest.read_text(os.path.join(image.path, f"proc/fdinfo/{number}"))
                self.assertTrue(kept.startswith("pos:\t"), kept)

    def test_the_seed_reads_the_first_four_keys(self):
        with self.mount() as m:
            image = m.capture(self.process.pid)
        for row in image.fds.values():
            keys = [key for key in row if not key.endswith("_hex")]
            self.assertEqual(keys[:4], ["fd", "path", "flags", "offset"])

    def test_a_name_that_is_not_utf8_keeps_its_bytes(self):
        (expected,) = self.process.facts["odd-name"]["fds"]
        name = b'odd \xff\n"\\name'
        with self.mount() as m:
            image = m.capture(self.process.pid)
            row = image.fds[expected["fd"]]
            self.assertEqual(bytes.fromhex(row["path_hex"]), os.fsencode(self.dir) + b"/" + name)
            self.assertEqual(row["path"], self.path('odd \ufffd\n"\\name'))
            link = os.readlink(os.fsencode(os.path.join(image.path, f"proc/fd/{row['fd']}")))
            self.assertEqual(link, b"frozen:" + os.fsencode(self.dir) + b"/" + name)

    def test_the_target_keeps_exactly_its_own(self):
        before = os.listdir(f"/proc/{self.process.pid}/fd")
        with self.mount() as m:
            m.capture(self.process.pid)
        self.assertEqual(os.listdir(f"/proc/{self.process.pid}/fd"), before)

    def test_an_fd_into_the_mount_itself_does_not_hang_the_capture(self):
        with self.mount() as m:
            m.write(f"{self.process.pid} name=first")
            program = "import sys; f = open(sys.argv[1]); print('ready', flush=True); input()"
            reader = self.spawn(ckpttest.PYTHON, "-c", program, m.path("first/meta.json"))
            self.assertEqual(reader.stdout.readline(), b"ready\n")
            image = m.capture(reader.pid, "name=second")
            paths = [row["path"] for row in image.fds.values()]
            self.assertIn(m.path("first/meta.json"), paths)
            reader.kill()
            reader.wait()

    def test_fds_json_is_printed_as_serde_does(self):
        with self.mount() as m:
            name = m.write(f"{self.process.pid}")
            text = ckpttest.read_text(m.path(name, "process/fds.json"))
        self.assertEqual(text, json.dumps(json.loads(text), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    ckpttest.main()
