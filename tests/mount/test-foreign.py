# SPDX-License-Identifier: Apache-2.0
"""What other programs do to the store while it is mounted, and what they left there before."""

import json
import os
import resource
import shutil

import ckpttest


class Foreign(ckpttest.TestCase):
    def setUp(self):
        super().setUp()
        self.store = self.make_dir("store", 0o700)

    def test_a_checkpoint_of_the_seed_shows_and_its_removal_shows(self):
        with self.mount() as m:
            self.assertEqual(m.names(), [])
            self.assertFalse(os.path.exists(m.path("sleep")))
            staged = os.path.join(self.store, "sleep.tmp")
            shutil.copytree(os.path.join(ckpttest.SAMPLES, "sleep"), staged)
            self.assertEqual(m.names(), [], "staged is not there yet")
            self.assertFalse(os.path.exists(m.path("sleep.tmp")))
            os.rename(staged, os.path.join(self.store, "sleep"))
            self.assertEqual(m.names(), ["sleep"])
            self.assertEqual(
                ckpttest.read_bytes(m.path("sleep/meta.json")),
                ckpttest.read_bytes(os.path.join(ckpttest.SAMPLES, "sleep/meta.json")),
            )
            os.rename(os.path.join(self.store, "sleep"), os.path.join(self.store, "slept"))
            self.assertEqual(m.names(), ["slept"])
            self.assertFalse(os.path.exists(m.path("sleep")))
            self.assertEqual(ckpttest.Image(m.path("slept")).meta["name"], "slept")
            shutil.rmtree(os.path.join(self.store, "slept"))
            self.assertEqual(m.names(), [])
            self.assertFalse(os.path.exists(m.path("slept")))

    def test_the_samples_are_shown_byte_for_byte(self):
        for sample in ("sleep", "rich"):
            shutil.copytree(
                os.path.join(ckpttest.SAMPLES, sample), os.path.join(self.store, sample)
            )
        with self.mount() as m:
            for sample in ("sleep", "rich"):
                source = os.path.join(ckpttest.SAMPLES, sample)
                for folder, _, files in os.walk(source):
                    for file in files:
                        path = os.path.relpath(os.path.join(folder, file), source)
                        if (sample, path) == ("rich", "meta.json"):
                            continue  # its name there is another than the directory's
                        self.assertEqual(
                            ckpttest.read_bytes(m.path(sample, path)),
                            ckpttest.read_bytes(os.path.join(source, path)),
                            path,
                        )
            meta = json.loads(ckpttest.read_text(m.path("rich/meta.json")))
            self.assertEqual(meta, {"name": "rich", "cow_snapshot": "/snap/naïve"})
            self.assertEqual(
                ckpttest.read_bytes(m.path("rich/app_state.bin")),
                ckpttest.read_bytes(os.path.join(ckpttest.SAMPLES, "rich/app_state.bin")),
            )

    def test_a_directory_is_a_checkpoint_once_meta_json_and_process_exist(self):
        with self.mount() as m:
            growing = os.path.join(self.store, "growing")
            os.mkdir(growing)
            self.assertEqual(m.names(), [])
            os.mkdir(os.path.join(growing, "process"))
            self.assertEqual(m.names(), [])
            shutil.copy(os.path.join(ckpttest.SAMPLES, "sleep/meta.json"), growing)
            self.assertEqual(m.names(), ["growing"])

    def test_what_is_no_checkpoint_is_not_shown(self):
        outside = self.make_dir("outside")
        shutil.copytree(os.path.join(ckpttest.SAMPLES, "sleep"), os.path.join(outside, "real"))
        ckpttest.sleep_sample(self.store, "real")
        os.symlink(os.path.join(outside, "real"), os.path.join(self.store, "link"))
        os.symlink("real", os.path.join(self.store, "near"))
        os.mkfifo(os.path.join(self.store, "fifo"))
        os.mkdir(os.path.join(self.store, "empty"))
        for name in (".hidden", "late.tmp"):
            shutil.copytree(os.path.join(outside, "real"), os.path.join(self.store, name))
        with open(os.path.join(self.store, "file"), "w") as f:
            f.write("x")
        linked = os.path.join(self.store, "linked")
        os.mkdir(linked)
        os.symlink(os.path.join(outside, "real/process"), os.path.join(linked, "process"))
        shutil.copy(os.path.join(outside, "real/meta.json"), linked)
        with self.mount() as m:
            self.assertEqual(m.names(), ["real"])
            for name in os.listdir(self.store):
                if name != "real":
                    self.assertFalse(os.path.lexists(m.path(name)), name)

    def test_strays_inside_a_checkpoint_are_not_shown(self):
        ckpttest.sleep_sample(self.store, "real")
        top = os.path.join(self.store, "real")
        before = None
        with self.mount() as m:
            before = sorted(ckpttest.listing(m.at))
        os.symlink("/etc/passwd", os.path.join(top, "evil"))
        os.symlink("/etc", os.path.join(top, "process/etc"))
        os.mkfifo(os.path.join(top, "process/memory/99.bin"))
        os.mkfifo(os.path.join(top, "core"))
        os.mkdir(os.path.join(top, "stray"))
        with open(os.path.join(top, "stray.txt"), "w") as f:
            f.write("x")
        with self.mount() as m:
            self.assertEqual(sorted(ckpttest.listing(m.at)), before)
            for path in ("evil", "process/etc", "process/memory/99.bin", "stray", "stray.txt"):
                self.assertFalse(os.path.lexists(m.path("real", path)), path)

    def test_links_in_place_of_our_files_are_not_followed(self):
        secret = self.path("secret")
        with open(secret, "w") as f:
            f.write("secret")
        for path in (
            "policy.dat",
            "process/fds.json",
            "process/memory/0.bin",
            "process/threads/0.bin",
        ):
            with self.subTest(path):
                ckpttest.sleep_sample(self.store, "real")
                victim = os.path.join(self.store, "real", path)
                os.unlink(victim)
                os.symlink(secret, victim)
                with self.mount() as m:
                    done = self.run_program("cat", m.path("real", path))
                    self.assertNotEqual(done.returncode, 0)
                    self.assertNotIn("secret", done.stdout)
                    self.assertEqual(
                        ckpttest.read_bytes(m.path("real/process/memory/1.bin")),
                        ckpttest.read_bytes(os.path.join(self.store, "real/process/memory/1.bin")),
                    )
                shutil.rmtree(os.path.join(self.store, "real"))

    def test_damaged_json_does_not_hide_the_rest(self):
        for path in ("meta.json", "process/info.json", "process/fds.json"):
            with self.subTest(path):
                ckpttest.sleep_sample(self.store, "real")
                with open(os.path.join(self.store, "real", path), "wb") as f:
                    f.write(b'{"name": [[[')
                with self.mount() as m:
                    self.assertEqual(m.names(), ["real"])
                    self.assertEqual(ckpttest.read_bytes(m.path("real", path)), b'{"name": [[[')
                    self.run_ok("cat", m.path("real/memory/0.bin"))
                    self.run_ok("ls", "-lR", m.path("real"))
                shutil.rmtree(os.path.join(self.store, "real"))

    def test_a_damaged_file_reads_as_eio_and_the_rest_stays_readable(self):
        process = self.mkproc("anon")
        with self.mount() as m:
            m.write(f"{process.pid} name=hurt")
        for path in ("process/info.json", "process/threads/0.bin"):
            victim = os.path.join(self.store, "hurt", path)
            data = bytearray(ckpttest.read_bytes(victim))
            data[len(data) // 2] ^= 1
            os.chmod(victim, 0o600)
            with open(victim, "wb") as f:
                f.write(data)
            with self.mount() as m:
                self.assertEqual(
                    ckpttest.errno_of(ckpttest.read_bytes, m.path("hurt", path)), "EIO"
                )
                self.assertTrue(ckpttest.read_bytes(m.path("hurt/process/fds.json")))
                self.assertTrue(ckpttest.read_bytes(m.path("hurt/memory/0.bin")))

    def test_a_checkpoint_of_another_version_is_shown_as_plain_files(self):
        source = os.path.join(ckpttest.SAMPLES, "v3-sleep")
        for name, version in (("three", 3), ("ninety", 90)):
            shutil.copytree(source, os.path.join(self.store, name))
            path = os.path.join(self.store, name, "meta.json")
            meta = json.loads(ckpttest.read_text(path))
            with open(path, "w") as f:
                json.dump({**meta, "version": version}, f)
        with self.mount() as m:
            self.assertEqual(m.names(), ["ninety", "three"])
            for name in m.names():
                for file in os.listdir(os.path.join(source, "process/memory")):
                    self.assertEqual(
                        ckpttest.read_bytes(m.path(name, "process/memory", file)),
                        ckpttest.read_bytes(os.path.join(source, "process/memory", file)),
                    )

    def test_a_store_of_an_unknown_version_is_refused(self):
        os.mkdir(os.path.join(self.store, ".sandckpt"))
        with open(os.path.join(self.store, ".sandckpt/version"), "w") as f:
            f.write("sandckpt 99\n")
        at = self.make_dir("mnt")
        done = self.run_program(ckpttest.MOUNT, self.store, at)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f'"{self.store}"', done.stderr)
        self.assertFalse(ckpttest.is_mounted(at))

    def test_two_mounts_of_one_store_agree(self):
        process = self.mkproc()
        with self.mount(at="one") as one, self.mount(at="two") as two:
            one.write(f"{process.pid} name=seen")
            self.assertEqual(two.names(), ["seen"])
            os.rename(two.path("seen"), two.path("moved"))
            self.assertEqual(one.names(), ["moved"])
            os.rmdir(one.path("moved"))
            self.assertEqual(two.names(), [])

    def test_a_mount_moved_into_its_own_store_does_not_wait_for_itself(self):
        ckpttest.sleep_sample(self.store, "real")
        inside = os.path.join(self.store, "inside")
        os.mkdir(inside)
        ckpttest.sleep_sample(self.store, "over")
        over = os.path.join(self.store, "over/process")
        with self.mount() as m:
            for place in (inside, over):
                self.run_ok("mount", "--bind", m.at, place)
                self.addCleanup(self.run_program, "umount", "-l", place)
            with ckpttest.within(ckpttest.DEADLINE, "a look at the store"):
                self.assertIn("real", m.names())
                self.assertNotIn("inside", m.names())
                self.assertFalse(os.path.lexists(m.path("inside")))
                self.assertEqual(
                    ckpttest.errno_of(os.rename, m.path("real"), m.path("inside")), "EEXIST"
                )
                self.run_ok("ls", "-lR", m.path("real"))
            for place in (over, inside):
                self.run_ok("umount", place)

    def test_a_mount_point_within_the_store_is_refused(self):
        at = os.path.join(self.store, "a")
        os.mkdir(at)
        done = self.run_program(ckpttest.MOUNT, self.store, at)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertFalse(ckpttest.is_mounted(at))

    def test_a_checkpoint_looked_at_while_it_is_copied_in_becomes_whole(self):
        source = os.path.join(ckpttest.SAMPLES, "rich")
        late = os.path.join(self.store, "late")
        with self.mount() as m:
            os.makedirs(os.path.join(late, "process"))
            with open(os.path.join(late, "meta.json"), "w") as f:
                f.write('{"name": ')
            half = ckpttest.read_bytes(os.path.join(source, "process/fds.json"))[:100]
            with open(os.path.join(late, "process/fds.json"), "wb") as f:
                f.write(half)
            self.assertEqual(m.names(), ["late"])
            for _ in range(2):
                ckpttest.listing(m.path("late"))
                self.assertEqual(ckpttest.read_bytes(m.path("late/fds.json")), half)
                self.assertEqual(os.listdir(m.path("late/proc/fd")), [])
            shutil.copytree(source, late, dirs_exist_ok=True)
            for folder, _, files in os.walk(source):
                path = os.path.relpath(folder, source)
                if path == "process/memory":
                    self.assertEqual(sorted(os.listdir(m.path("late", path))), sorted(files))
                for file in files:
                    if file != "meta.json":
                        self.assertEqual(
                            ckpttest.read_bytes(m.path("late", path, file)),
                            ckpttest.read_bytes(os.path.join(folder, file)),
                        )
            self.assertEqual(json.loads(ckpttest.read_text(m.path("late/meta.json")))["name"], "late")
            self.assertEqual(os.readlink(m.path("late/proc/exe")), "frozen:/usr/bin/sleep")
            self.assertIn("251", os.listdir(m.path("late/proc/fd")))

    def test_a_file_replaced_in_place_is_read_anew(self):
        process = self.mkproc("anon")
        with self.mount() as m:
            name = m.write(f"{process.pid} name=one")
            shown = m.path(name, "meta.json")
            before = json.loads(ckpttest.read_text(shown))
            path = os.path.join(self.store, name, "meta.json")
            os.unlink(os.path.join(self.store, name, "SHA256SUMS"))
            os.unlink(path)
            with open(path, "w") as f:
                json.dump({**before, "mode_reason": "another"}, f)
            self.assertEqual(json.loads(ckpttest.read_text(shown))["mode_reason"], "another")

    def test_a_server_without_descriptors_says_so(self):
        for name in ("one", "two"):
            ckpttest.sleep_sample(self.store, name)
        with self.mount() as m:
            self.assertEqual(m.names(), ["one", "two"])
            server = m.process("sandckpt-server")
            before = resource.prlimit(server, resource.RLIMIT_NOFILE)
            resource.prlimit(server, resource.RLIMIT_NOFILE, (3, before[1]))
            self.assertEqual(ckpttest.errno_of(os.listdir, m.at), "EMFILE")
            self.assertEqual(ckpttest.errno_of(os.stat, m.path("one")), "EMFILE")
            resource.prlimit(server, resource.RLIMIT_NOFILE, before)
            self.assertEqual(m.names(), ["one", "two"])


if __name__ == "__main__":
    ckpttest.main()
