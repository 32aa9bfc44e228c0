# SPDX-License-Identifier: Apache-2.0
"""A redis-server under load: afterwards it answers, and all its keys are there."""

import socket

import ckpttest

KEYS = 50000


class Redis(ckpttest.TestCase):
    def ask(self, *words):
        """One command in Redis's protocol; gives the first line of the answer."""
        text = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(ckpttest.DEADLINE)
            s.connect(self.path("redis.sock"))
            s.sendall(text.encode())
            return s.makefile("rb").readline()

    def answers(self):
        try:
            return self.ask("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def test_redis(self):
        redis = self.spawn(
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            "redis.sock",
            "--save",
            "",
            "--appendonly",
            "no",
            "--hz",
            "100",
            "--enable-debug-command",
            "local",
        )
        ckpttest.wait_for(self.answers, "redis answers")
        self.assertEqual(self.ask("DEBUG", "POPULATE", str(KEYS), "key", "200"), b"+OK\r\n")
        load = self.spawn(
            "redis-benchmark", "-s", "redis.sock", "-q", "-l", "-t", "get,lpush", "-c", "4"
        )
        with self.mount() as m:
            for i in range(3):
                m.capture(redis.pid, f"name=busy-{i}")
                self.assert_untouched(redis.pid)
                self.assertEqual(self.ask("PING"), b"+PONG\r\n")
            self.assertIsNone(load.poll(), "the clients lost nothing")
            ckpttest.end_program(load)
            with self.stopped(redis.pid):
                image = m.capture(redis.pid, "name=still")
                self.assert_image_equals_process(image, redis.pid)
                self.assert_fds_agree(image, redis.pid)
                self.assert_threads_agree(image, redis.pid)
            self.assertEqual(self.ask("GET", f"key:{KEYS - 1}"), b"$200\r\n")
            self.ask("DEL", "mylist")  # the clients' own
            self.assertEqual(self.ask("DBSIZE"), b":%d\r\n" % KEYS)


if __name__ == "__main__":
    ckpttest.need_programs("redis-server", "redis-benchmark")
    ckpttest.main()
