# SPDX-License-Identifier: Apache-2.0
"""A python3 at work: captured while busy, compared while stopped, working on afterwards."""

import ckpttest

PROGRAM = """
import hashlib, sys, threading
secret = "the secret of " + "python3"
data = {i: "value %d" % i for i in range(200000)}
done = [0]
def work():
    while True:
        done[0] += 1
        data[done[0] % 200000] = hashlib.sha256(b"%d" % done[0]).hexdigest()
threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    before = done[0]
    while done[0] == before:
        pass
    print(len(data), secret, flush=True)
"""


class Python(ckpttest.TestCase):
    def test_python3(self):
        python = self.spawn(ckpttest.PYTHON, "-c", PROGRAM)
        self.assertEqual(python.stdout.readline(), b"ready\n")
        with self.mount() as m:
            for i in range(3):
                m.capture(python.pid, f"name=busy-{i}")
            with self.stopped(python.pid):
                image = m.capture(python.pid, "name=still")
                self.assert_image_equals_process(image, python.pid)
                self.assert_fds_agree(image, python.pid)
                self.assert_threads_agree(image, python.pid)
            self.assert_untouched(python.pid)
            python.stdin.write(b"\n")
            python.stdin.flush()
            self.assertEqual(python.stdout.readline(), b"200000 the secret of python3\n")
            found = self.run_ok("sh", "-c", f"grep -al 'the secret of python3' {m.at}/*/memory/*")
            for name in ("busy-0", "busy-1", "busy-2", "still"):
                self.assertIn(f"/{name}/memory/", found)


if __name__ == "__main__":
    ckpttest.main()
