# SPDX-License-Identifier: Apache-2.0
"""A node at work. V8 reserves a tebibyte or more, which must cost neither time nor space."""

import os
import time

import ckpttest

PROGRAM = """
const data = new Map();
for (let i = 0; i < 100000; i++) data.set(i, "value " + i);
let n = 0;
(function work() { n++; data.set(n % 100000, "again " + n); setImmediate(work); })();
require("readline").createInterface({ input: process.stdin })
  .on("line", () => console.log(data.size + " keys, alive"));
console.log("ready");
"""


class Node(ckpttest.TestCase):
    def test_node(self):
        node = self.spawn("node", "-e", PROGRAM)
        self.assertEqual(node.stdout.readline(), b"ready\n")
        with self.mount() as m:
            begin = time.monotonic()
            m.capture(node.pid, "name=busy")
            self.assertLess(time.monotonic() - begin, 20)
            with self.stopped(node.pid):
                image = m.capture(node.pid, "name=still")
                self.assert_image_equals_process(image, node.pid)
                self.assert_fds_agree(image, node.pid)
                self.assert_threads_agree(image, node.pid)
            self.assert_untouched(node.pid)
            node.stdin.write(b"\n")
            node.stdin.flush()
            self.assertEqual(node.stdout.readline(), b"100000 keys, alive\n")
            for name in ("busy", "still"):
                used = int(self.run_ok("du", "-sk", os.path.join(m.store, name)).split()[0])
                self.assertLess(used, 400 * 1024)
            total = sum(row["end"] - row["start"] for row in image.rows)
            self.assertLess(total, 16 << 30)


if __name__ == "__main__":
    ckpttest.need_programs("node")
    ckpttest.main()
