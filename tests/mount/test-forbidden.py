# SPDX-License-Identifier: Apache-2.0
"""Nothing in the mount can be created, changed or removed, but by mv and rmdir of a checkpoint.

Root asks, so it is the mount that refuses, not the modes. After each try everything is as before.
"""

import os
import socket

import ckpttest


class Forbidden(ckpttest.TestCase):
    def tries(self, root, name):
        """What is tried: a word, the call, its arguments."""
        top = os.path.join(root, name)
        meta = os.path.join(top, "meta.json")
        segment = os.path.join(top, "process/memory/0.bin")
        outside = self.path("outside")
        times = (1, 1)
        yield from (
            ("create in root", open, os.path.join(root, "new"), "x"),
            ("create in checkpoint", open, os.path.join(top, "new"), "x"),
            ("create in memory", open, os.path.join(top, "process/memory/999.bin"), "x"),
            ("mkdir in root", os.mkdir, os.path.join(root, "new")),
            ("mkdir NAME.tmp in root", os.mkdir, os.path.join(root, "new.tmp")),
            ("mkdir in checkpoint", os.mkdir, os.path.join(top, "new")),
            ("mkfifo in root", os.mkfifo, os.path.join(root, "new")),
            ("mkfifo in checkpoint", os.mkfifo, os.path.join(top, "new")),
            ("symlink in root", os.symlink, "/etc/passwd", os.path.join(root, "new")),
            ("symlink in checkpoint", os.symlink, "/etc/passwd", os.path.join(top, "new")),
            ("link in root", os.link, meta, os.path.join(root, "new")),
            ("link in checkpoint", os.link, meta, os.path.join(top, "new")),
            ("socket in root", bind, os.path.join(root, "new")),
            ("unlink ctl", os.unlink, os.path.join(root, "ctl")),
            ("unlink meta.json", os.unlink, meta),
            ("unlink a segment", os.unlink, segment),
            ("unlink a link", os.unlink, os.path.join(top, "memory")),
            ("rmdir process", os.rmdir, os.path.join(top, "process")),
            ("rmdir threads", os.rmdir, os.path.join(top, "process/threads")),
            ("rmdir proc/fd", os.rmdir, os.path.join(top, "proc/fd")),
            ("truncate meta.json", os.truncate, meta, 0),
            ("truncate a segment", os.truncate, segment, 1 << 30),
            ("write meta.json", open, meta, "w"),
            ("append to meta.json", open, meta, "a"),
            ("update a segment", open, segment, "r+"),
            ("chmod meta.json", os.chmod, meta, 0o666),
            ("chmod checkpoint", os.chmod, top, 0o777),
            ("chmod root", os.chmod, root, 0o777),
            ("chmod ctl", os.chmod, os.path.join(root, "ctl"), 0o666),
            ("chown meta.json", os.chown, meta, 1, 1),
            ("chown checkpoint", os.chown, top, 1, 1),
            ("chown root", os.chown, root, 1, 1),
            ("utime meta.json", os.utime, meta, times),
            ("utime checkpoint", os.utime, top, times),
            ("rename meta.json to root", os.rename, meta, os.path.join(root, "new")),
            ("rename in checkpoint", os.rename, meta, os.path.join(top, "new")),
            ("rename process", os.rename, os.path.join(top, "process"), os.path.join(top, "new")),
            (
                "rename process to root",
                os.rename,
                os.path.join(top, "process"),
                os.path.join(root, "new"),
            ),
            (
                "rename checkpoint inwards",
                os.rename,
                os.path.join(root, "other"),
                os.path.join(top, "other"),
            ),
            ("rename ctl", os.rename, os.path.join(root, "ctl"), os.path.join(root, "new")),
            ("rename over ctl", os.rename, top, os.path.join(root, "ctl")),
            ("rename into the mount", os.rename, outside, os.path.join(root, "new")),
            ("rename out of the mount", os.rename, top, self.path("taken-out")),
            ("set an attribute", os.setxattr, meta, "user.x", b"y"),
            ("remove an attribute", os.removexattr, meta, "user.x"),
        )

    # What the kernel says before it asks the mount, besides the mount's own two.
    KERNELS_OWN = {
        "rename into the mount": "EXDEV",
        "rename out of the mount": "EXDEV",
        "set an attribute": "ENOTSUP",
        "remove an attribute": "ENOTSUP",
        "rename over ctl": "ENOTDIR",
    }

    def assert_all_refused(self, m, allowed):
        self.make_dir("outside")
        store, mount = ckpttest.listing(m.store), ckpttest.listing(m.at)
        for what, call, *args in self.tries(m.at, "kept"):
            with self.subTest(what):
                answer = ckpttest.errno_of(call, *args)
                self.assertIn(answer, (*allowed, self.KERNELS_OWN.get(what, "EPERM")))
        self.assertEqual(ckpttest.listing(m.store), store)
        self.assertEqual(ckpttest.listing(m.at), mount)
        self.assertFalse(os.path.exists(self.path("taken-out")))

    def fill(self, m):
        process = self.mkproc("anon")
        m.write(f"{process.pid} name=kept")
        m.write(f"{process.pid} name=other")

    def test_every_change_is_refused(self):
        with self.mount() as m:
            self.fill(m)
            self.assert_all_refused(m, ("EPERM", "EROFS"))

    def test_every_change_is_refused_read_only(self):
        with self.mount() as m:
            self.fill(m)
        with self.mount("ro") as m:
            self.assert_all_refused(m, ("EPERM", "EROFS"))

    def test_what_a_checkpoint_may_be_renamed_to(self):
        with self.mount() as m:
            self.fill(m)
            before = ckpttest.listing(m.store)
            answers = {
                "other": "EEXIST",
                ".hidden": "EINVAL",
                "new.tmp": "EINVAL",
                "\x01": "EINVAL",
            }
            for name, expected in answers.items():
                with self.subTest(name):
                    answer = ckpttest.errno_of(os.rename, m.path("kept"), m.path(name))
                    self.assertEqual(answer, expected)
            self.assertEqual(ckpttest.errno_of(os.rename, m.path("gone"), m.path("new")), "ENOENT")
            self.assertEqual(ckpttest.listing(m.store), before)
            self.assertEqual(m.names(), ["kept", "other"])

    def test_rm_r_is_refused_and_changes_nothing(self):
        with self.mount() as m:
            self.fill(m)
            before = ckpttest.listing(m.store)
            for words in (("rm", "-r", m.path("kept")), ("rm", "-rf", m.path("kept"))):
                self.assertNotEqual(self.run_program(*words).returncode, 0)
            self.assertEqual(ckpttest.listing(m.store), before)

    def test_mapping_shared_and_writable_is_refused_and_private_is_not(self):
        program = (
            "import mmap, os, sys\n"
            "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
            "m = mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)\n"
            "m[0:4] = b'mine'\n"
            "try: mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)\n"
            "except PermissionError: print('refused')\n"
        )
        with self.mount() as m:
            self.fill(m)
            segment = m.path("kept/memory/0.bin")
            before = ckpttest.sha256_of(segment)
            self.assertEqual(self.run_ok(ckpttest.PYTHON, "-c", program, segment), "refused\n")
            self.assertEqual(ckpttest.sha256_of(segment), before)


class RenameAndRemove(ckpttest.TestCase):
    def setUp(self):
        super().setUp()
        self.process = self.mkproc("anon")

    def test_mv_renames_in_the_store_and_in_meta_json(self):
        with self.mount() as m:
            m.write(f"{self.process.pid} name=before")
            inode = os.stat(m.path("before")).st_ino
            ckpttest.read_bytes(m.path("before/meta.json"))
            self.run_ok("mv", m.path("before"), m.path("after"))
            self.assertEqual(m.names(), ["after"])
            self.assertEqual(ckpttest.Image(m.path("after")).meta["name"], "after")
            self.assertEqual(os.stat(m.path("after")).st_ino, inode)
            self.assertEqual(sorted(os.listdir(m.store)), [".sandckpt", "after"])
            self.assertFalse(os.path.exists(m.path("before")))
            size = os.stat(m.path("after/meta.json")).st_size
            self.assertEqual(len(ckpttest.read_bytes(m.path("after/meta.json"))), size)
        with self.mount() as m:
            self.assertEqual(m.names(), ["after"])

    def test_a_longer_and_a_shorter_name_give_true_sizes(self):
        with self.mount() as m:
            name = m.write(f"{self.process.pid} name=middling")
            for new in ("a" * 200, "b", "middling"):
                os.rename(m.path(name), m.path(new))
                name = new
                text = ckpttest.read_bytes(m.path(name, "meta.json"))
                self.assertEqual(len(text), os.stat(m.path(name, "meta.json")).st_size)
                self.assertIn(b'"name": "%s"' % name.encode(), text)
                self.assert_sums_hold(m.path(name))

    def test_rmdir_removes_the_whole_checkpoint(self):
        with self.mount() as m:
            m.write(f"{self.process.pid} name=gone")
            m.write(f"{self.process.pid} name=kept")
            self.run_ok("rmdir", m.path("gone"))
            self.assertEqual(m.names(), ["kept"])
            self.assertEqual(ckpttest.errno_of(os.stat, m.path("gone")), "ENOENT")
            self.assertEqual(ckpttest.errno_of(os.stat, m.path("gone/meta.json")), "ENOENT")
            self.assertEqual(ckpttest.errno_of(os.rmdir, m.path("gone")), "ENOENT")
            self.assertFalse(os.path.exists(os.path.join(m.store, "gone")))
            ckpttest.wait_for(lambda: not m.staging(), "what was removed is dropped")
            self.assertEqual(m.answer(f"{self.process.pid} name=gone"), "done")

    def test_an_open_file_can_be_read_after_the_removal(self):
        process = self.mkproc("big=0x1000000")
        (row,) = process.rows("maps")
        with self.mount() as m:
            image = m.capture(process.pid, "name=gone")
            number, segment = image.row_at(row["start"])
            with open(image.bin_path(number), "rb", buffering=0) as f:
                first = f.read(4096)
                os.rmdir(m.path("gone"))
                f.seek(row["start"] + (8 << 20) - segment["start"])
                with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as mem:
                    live = ckpttest.read_memory(mem, row["start"] + (8 << 20), 65536)
                self.assertEqual(f.read(65536), live)
                self.assertEqual(len(first), 4096)

    def test_removing_while_listing_skips_nothing(self):
        with self.mount() as m:
            for i in range(40):
                ckpttest.sleep_sample(m.store, f"n{i:02}")
            removed = []
            with os.scandir(m.at) as entries:
                for entry in entries:
                    if entry.name != "ctl":
                        os.rmdir(entry.path)
                        removed.append(entry.name)
            self.assertEqual(sorted(removed), [f"n{i:02}" for i in range(40)])
            self.assertEqual(m.names(), [])

    def test_a_shell_may_stand_in_a_checkpoint_that_is_removed(self):
        with self.mount() as m:
            m.write(f"{self.process.pid} name=gone")
            script = (
                f"cd {m.path('gone')} && rmdir {m.path('gone')}; ls >/dev/null 2>&1; cd /; echo ok"
            )
            self.assertEqual(self.run_ok("sh", "-c", script), "ok\n")


def bind(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)


if __name__ == "__main__":
    ckpttest.main()
