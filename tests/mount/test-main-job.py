# SPDX-License-Identifier: Apache-2.0
"""The main job: mount a store, write a pid to ctl, look at the checkpoint with everyday tools."""

import os
import re
import stat

import ckpttest

BUSY = ("threads=50", "spin", "anon", "big=0x2000000", "file", "pipe")


class MainJob(ckpttest.TestCase):
    def test_echo_into_ctl_makes_a_checkpoint_that_ls_and_cat_show(self):
        process = self.mkproc("anon", "file")
        with self.mount() as m:
            self.assertEqual(self.run_ok("ls", m.at).split(), ["ctl"])
            self.run_ok("sh", "-c", f"echo {process.pid} > {m.ctl}")
            (name,) = m.names()
            self.assertRegex(name, "^" + ckpttest.DEFAULT_NAME % process.pid + "$")
            self.assertTrue(name.startswith("mkproc-"), name)
            self.assertEqual(
                self.run_ok("ls", m.path(name)).split(),
                ["SHA256SUMS", "fds.json", "memory", "meta.json", "policy.dat", "proc", "process"],
            )
            self.assertEqual(os.readlink(m.path(name, "fds.json")), "process/fds.json")
            self.assertEqual(os.readlink(m.path(name, "memory")), "process/memory")
            self.assertIn("/file", self.run_ok("cat", m.path(name, "fds.json")))
            self.assertEqual(
                self.run_ok("cat", m.path(name, "proc/cmdline")),
                ckpttest.read_text(f"/proc/{process.pid}/cmdline"),
            )
        self.assertEqual(process.ask("alive"), {"alive": 0})

    def test_grep_finds_data_of_the_process(self):
        process = self.mkproc("anon")
        with self.mount() as m:
            name = m.write(f"{process.pid}\n")
            found = self.run_ok("sh", "-c", f"grep -al 'anon page 62' {m.at}/*/memory/*").split()
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(f"{m.at}/{name}/memory/"), found)

    def test_a_busy_process_is_captured_whole_and_goes_on(self):
        process = self.mkproc(*BUSY)
        with self.mount() as m:
            for n in ckpttest.rounds(40, "main-job-busy"):
                self.capture_busy(m, process, n)

    def capture_busy(self, m, process, n):
        busy = m.capture(process.pid, f"name=busy{n}")
        self.assert_untouched(process.pid)
        self.assertEqual(process.ask("alive"), {"alive": 45})
        with self.stopped(process.pid):
            image = m.capture(process.pid, f"name=still{n}")
            self.assert_image_equals_process(image, process.pid)
            self.assert_fds_agree(image, process.pid)
            self.assert_threads_agree(image, process.pid)
        self.assertEqual(process.ask("alive"), {"alive": 45})
        self.assert_threads_agree(busy, process.pid)
        self.assert_fds_agree(busy, process.pid)
        for row in process.rows("maps"):
            size = row["end"] - row["start"]
            self.assertEqual(busy.read(row["start"], size), image.read(row["start"], size))
        for name in (f"busy{n}", f"still{n}"):
            os.rmdir(m.path(name))

    def test_a_stopped_process_stays_stopped(self):
        process = self.mkproc("threads=20")
        with self.mount() as m, self.stopped(process.pid):
            image = m.capture(process.pid)
            self.assertEqual({t["state"] for t in image.info["threads"]}, {"T"})
            self.assertTrue(ckpttest.all_stopped(process.pid))
            self.assertEqual(ckpttest.status_field(process.pid, "TracerPid"), "0")
        self.assertEqual(process.ask("alive"), {"alive": 18})

    def test_a_copy_has_true_sizes_and_is_as_sparse(self):
        process = self.mkproc("big=0x4000000", "reserve-none", "reserve-rw")
        with self.mount() as m:
            name = m.write(f"{process.pid}\n")
            copy = self.path("copy")
            self.run_ok("cp", "-r", m.path(name), copy)
            for folder, _, files in os.walk(copy):
                for file in files:
                    path = os.path.join(folder, file)
                    seen = os.lstat(m.path(name, os.path.relpath(path, copy)))
                    mine = os.lstat(path)
                    self.assertEqual(mine.st_size, seen.st_size, path)
                    self.assertLessEqual(mine.st_blocks, seen.st_blocks + 64, path)
                    if stat.S_ISREG(mine.st_mode):
                        self.assertEqual(
                            ckpttest.sha256_of(path),
                            ckpttest.sha256_of(m.path(name, os.path.relpath(path, copy))),
                        )
            self.assertLess(stored_bytes(copy), 48 << 20)
            self.assertGreater(stored_bytes(copy), 32 << 20)

    def test_the_digests_hold_in_the_store_in_the_mount_and_in_copies_renamed_too(self):
        process = self.mkproc("anon", "threads=3")
        with self.mount() as m:
            name = m.write(f"{process.pid}\n")
            sums = ckpttest.read_text(m.path(name, "SHA256SUMS"))
            listed = sorted(line.split(None, 1)[1] for line in sums.splitlines())
            self.assertEqual(listed, stored_files(os.path.join(m.store, name)))
            self.assert_sums_hold(os.path.join(m.store, name))
            self.assert_sums_hold(m.path(name))
            self.run_ok("cp", "-r", m.path(name), self.path("copy"))
            self.assert_sums_hold(self.path("copy"))
            os.rename(m.path(name), m.path("renamed"))
            self.assertEqual(ckpttest.Image(m.path("renamed")).meta["name"], "renamed")
            self.assert_sums_hold(m.path("renamed"))
            self.assert_sums_hold(os.path.join(m.store, "renamed"))
            self.run_ok("cp", "-r", m.path("renamed"), self.path("copy2"))
            self.assert_sums_hold(self.path("copy2"))

    def test_meta_json_tells_how_it_was_captured(self):
        process = self.mkproc("anon")
        with self.mount() as m:
            image = m.capture(process.pid, "name=told mode=stop cow=/some/path")
        meta = image.meta
        self.assertEqual(meta["name"], "told")
        self.assertEqual(meta["cow_snapshot"], "/some/path")
        self.assertEqual(meta["owner_uid"], 0)
        self.assertEqual(meta["mode"], "stop")
        self.assertRegex(meta["created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")
        self.assertGreater(meta["pause_us"], 0)
        self.assertGreater(meta["bytes"], 100000)
        self.assertIn("sandckpt", meta)
        self.assertEqual(meta["omitted"], [])

    def test_policy_dat_is_the_default_policy(self):
        process = self.mkproc()
        with self.mount() as m:
            name = m.write(f"{process.pid}\n")
            policy = ckpttest.read_bytes(m.path(name, "policy.dat"))
        self.assertEqual(
            policy, ckpttest.read_bytes(os.path.join(ckpttest.SAMPLES, "sleep/policy.dat"))
        )

    def test_modes_and_owners_keep_memory_secret(self):
        process = self.mkproc("anon", "threads=2")
        with self.mount() as m:
            name = m.write(f"{process.pid}\n")
            self.assertEqual(os.stat(m.at).st_mode, stat.S_IFDIR | 0o700)
            self.assertEqual(os.stat(m.ctl).st_mode, stat.S_IFREG | 0o600)
            for folder, dirs, files in os.walk(m.path(name)):
                self.assertEqual(os.stat(folder).st_mode, stat.S_IFDIR | 0o700, folder)
                for file in files:
                    st = os.lstat(os.path.join(folder, file))
                    if not stat.S_ISLNK(st.st_mode):
                        self.assertEqual(st.st_mode, stat.S_IFREG | 0o400, file)
                    self.assertEqual(st.st_uid, 0)
            for folder, dirs, files in os.walk(os.path.join(m.store, name)):
                self.assertEqual(os.stat(folder).st_mode & 0o077, 0, folder)
                for file in files:
                    path = os.path.join(folder, file)
                    self.assertEqual(os.lstat(path).st_mode & 0o077, 0, path)

    def test_allow_other_opens_the_root_and_ctl_to_all_and_the_checkpoints_to_none(self):
        process = self.mkproc("anon")
        with self.mount("allow_other") as m:
            name = m.write(f"{process.pid}\n")
            self.assertEqual(os.stat(m.at).st_mode, stat.S_IFDIR | 0o1777)
            self.assertEqual(os.stat(m.ctl).st_mode, stat.S_IFREG | 0o666)
            self.assertIn(name, self.run_ok("ls", m.at, user=ckpttest.NOBODY))
            for path in ("meta.json", "process/memory/0.bin", ""):
                done = self.run_program("ls", m.path(name, path), user=ckpttest.NOBODY)
                self.assertNotEqual(done.returncode, 0, path)
            done = self.run_program("rmdir", m.path(name), user=ckpttest.NOBODY)
            self.assertNotEqual(done.returncode, 0)
            done = self.run_program("mv", m.path(name), m.path("mine"), user=ckpttest.NOBODY)
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(m.names(), [name])

    def test_links_in_proc_are_frozen_ones(self):
        process = self.mkproc("file")
        (row,) = process.rows("fds")
        with self.mount() as m:
            name = m.write(f"{process.pid}\n")
            self.assertEqual(os.readlink(m.path(name, "proc/exe")), "frozen:" + ckpttest.MKPROC)
            self.assertEqual(os.readlink(m.path(name, "proc/cwd")), "frozen:" + self.dir)
            self.assertEqual(os.readlink(m.path(name, "proc/root")), "frozen:/")
            self.assertEqual(
                os.readlink(m.path(name, "proc/fd", str(row["fd"]))), "frozen:" + self.path("file")
            )
            self.assertEqual(
                sorted(os.listdir(m.path(name, "proc/fd"))),
                sorted(os.listdir(f"/proc/{process.pid}/fd")),
            )

    def test_proc_files_are_kept_as_they_were(self):
        process = self.mkproc("threads=3")
        with self.mount() as m, self.stopped(process.pid):
            name = m.write(f"{process.pid}\n")
            for file in ("cmdline", "environ", "auxv", "limits", "maps", "cgroup"):
                self.assertEqual(
                    ckpttest.read_bytes(m.path(name, "proc", file)),
                    ckpttest.read_bytes(f"/proc/{process.pid}/{file}"),
                    file,
                )
            for file in ("status", "stat"):
                self.assertGreater(os.stat(m.path(name, "proc", file)).st_size, 0)
            for tid in os.listdir(f"/proc/{process.pid}/task"):
                self.assertEqual(
                    ckpttest.read_bytes(m.path(name, "proc/task", tid, "comm")),
                    ckpttest.read_bytes(f"/proc/{process.pid}/task/{tid}/comm"),
                )

    def test_the_same_file_is_the_same_inode_while_mounted(self):
        process = self.mkproc()
        with self.mount() as m:
            name = m.write(f"{process.pid}\n")
            paths = [
                os.path.join(folder, entry)
                for folder, dirs, files in os.walk(m.path(name))
                for entry in dirs + files
            ]
            first = [os.lstat(path).st_ino for path in paths]
            with open("/proc/sys/vm/drop_caches", "w") as f:
                f.write("2\n")
            self.assertEqual([os.lstat(path).st_ino for path in paths], first)
            self.assertEqual(len(set(first)), len(first))

    def test_mtime_is_the_moment_of_capture(self):
        process = self.mkproc()
        with self.mount() as m:
            image = m.capture(process.pid)
            mtime = os.stat(image.path).st_mtime
            stamp = re.match(r"(.*)\.\d+Z", image.meta["created"]).group(1)
            said = self.run_ok("date", "-u", "-d", stamp + "Z", "+%s")
            self.assertEqual(int(mtime), int(said))
            self.assertEqual(os.stat(image.bin_path(0)).st_mtime, mtime)

    def test_df_tells_the_filesystem_of_the_store(self):
        with self.mount() as m:
            self.assertEqual(os.statvfs(m.at).f_blocks, os.statvfs(m.store).f_blocks)


def stored_files(root):
    found = []
    for folder, _, files in os.walk(root):
        found += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(set(found) - {"SHA256SUMS"})


def stored_bytes(root):
    return sum(
        os.lstat(os.path.join(folder, file)).st_blocks * 512
        for folder, _, files in os.walk(root)
        for file in files
    )


if __name__ == "__main__":
    ckpttest.main()
