# SPDX-License-Identifier: Apache-2.0
"""Memory of each kind that a capture must tell apart, right in the image.

mkproc says what each of its mappings holds; everything is read back through the mount.
"""

import os
import time

import ckpttest
from ckpttest import PAGE, pattern_page

SHARED_BY_ANOTHER = ("shared", "memfd-map", "memfd-closed", "sysv")


class Memory(ckpttest.TestCase):
    def capture_kind(self, *factories):
        """Captures a process with these kinds; gives its facts by name."""
        process = self.mkproc(*factories)
        with self.mount() as m:
            image = m.capture(process.pid)
            self.keep(image)
        for factory, facts in process.facts.items():
            if factory != "pid" and "skipped" in facts:
                self.skipTest(f"{factory}: {facts['skipped']}")
        return {row["name"]: row for row in process.rows("maps")}

    def keep(self, image):
        """The image outlives the mount: in the store the segments are plain files."""
        self.image = ckpttest.Image(self.path("store", os.path.basename(image.path)))

    def assert_kind(self, row):
        """The named pages hold the pattern, all others are zero."""
        written = {first + i for first, count in row["pattern"] for i in range(count)}
        for number in range((row["end"] - row["start"]) // PAGE):
            expected = pattern_page(row["name"], number) if number in written else bytes(PAGE)
            page = self.image.read(row["start"] + number * PAGE, PAGE)
            self.assertEqual(page, expected, f"page {number} of {row['name']}")

    def assert_simple(self, *factories):
        rows = self.capture_kind(*factories)
        for row in rows.values():
            self.assert_kind(row)
        self.assertEqual(self.image.meta["omitted"], [])

    def test_private_anonymous(self):
        self.assert_simple("anon")

    def test_a_page_given_back_is_zero(self):
        self.assert_simple("dropped")

    def test_the_zero_page_and_a_page_that_became_zero(self):
        self.assert_simple("zero-page")

    def test_zero_pages_take_no_space(self):
        rows = self.capture_kind("big=0x4000000")
        number, _ = self.image.row_at(rows["big"]["start"])
        stored = os.stat(self.image.bin_path(number)).st_blocks * 512
        self.assertLess(stored, 0x2000000 + (4 << 20))
        self.assertEqual(self.image.read(rows["big"]["start"], 0x2000000), bytes(0x2000000))

    def test_shared_memory_that_the_target_never_touched(self):
        self.assert_simple(*SHARED_BY_ANOTHER)

    def test_mappings_of_deleted_files(self):
        self.assert_simple("deleted-shared", "deleted-private", "deleted-text")

    def test_a_prot_none_page_with_data(self):
        self.assert_simple("prot-none")

    def test_a_guard_page_costs_that_page_alone(self):
        rows = self.capture_kind("guard")
        self.assert_kind(rows["guard"])
        at = rows["guard"]["start"] + 5 * PAGE
        (omitted,) = self.image.meta["omitted"]
        self.assertEqual(omitted["what"], f"memory/{at:x}-{at + PAGE:x}")
        self.assertIn(omitted["errno"], ("EFAULT", "EIO"))
        self.assertTrue(omitted["call"])

    def test_a_dirty_page_of_a_read_only_private_mapping(self):
        row = self.capture_kind("dirty-ro")["dirty-ro"]
        for number in range(8):
            expected = (
                bytes([0xD1]) * PAGE
                if number == row["dirty_page"]
                else pattern_page("dirty-ro", number)
            )
            self.assertEqual(self.image.read(row["start"] + number * PAGE, PAGE), expected, number)

    def test_a_private_file_mapping_half_of_which_was_never_read(self):
        self.assert_simple("half-read")

    def test_a_private_file_mapping_past_the_end_of_its_file(self):
        row = self.capture_kind("past-eof")["past-eof"]
        half = row["half_page"]
        for number in range(half):
            self.assertEqual(
                self.image.read(row["start"] + number * PAGE, PAGE),
                pattern_page("past-eof", number),
            )
        page = pattern_page("past-eof", half)[: PAGE // 2] + bytes(PAGE // 2)
        self.assertEqual(self.image.read(row["start"] + half * PAGE, PAGE), page)
        found = self.image.row_at(row["start"])[1]
        rest = min(found["end"], row["end"]) - row["start"] - (half + 1) * PAGE
        self.assertEqual(self.image.read(row["start"] + (half + 1) * PAGE, rest), bytes(rest))
        self.assertEqual(self.image.meta["omitted"], [], "behind the end nothing is missing")

    def test_what_a_file_gives_back_whole_is_left_out(self):
        process = self.mkproc("file-only")
        with self.mount() as m:
            image = m.capture(process.pid)
            for row in process.rows("maps"):
                self.assertIsNone(image.row_at(row["start"]), row)

    def test_a_reservation_of_a_tebibyte_costs_nothing(self):
        process = self.mkproc("reserve-none", "reserve-rw")
        begin = time.monotonic()
        with self.mount() as m:
            self.keep(m.capture(process.pid))
        self.assertLess(time.monotonic() - begin, 20)
        rows = {row["name"]: row for row in process.rows("maps")}
        self.assertFalse(
            any(
                rows["reserve-none"]["start"] <= r["start"] < rows["reserve-none"]["end"]
                for r in self.image.rows
            )
        )
        row = rows["reserve-rw"]
        ((first, count),) = row["pattern"]
        for number in range(first, first + count):
            self.assertEqual(
                self.image.read(row["start"] + number * PAGE, PAGE),
                pattern_page("reserve-rw", number),
            )
        total = sum(r["end"] - r["start"] for r in self.image.rows)
        self.assertLess(total, 1 << 30, "rows are cut at holes")
        self.assertLess(int(self.run_ok("du", "-sk", self.image.path).split()[0]), 20 * 1024)

    def test_a_cut_row_has_its_start_and_end_moved(self):
        process = self.mkproc("reserve-rw")
        (row,) = process.rows("maps")
        with self.mount() as m:
            image = m.capture(process.pid)
            data = row["start"] + row["pattern"][0][0] * PAGE
            _, found = image.row_at(data)
            self.assertGreater(found["start"], row["start"])
            self.assertLess(found["end"], row["end"])
            self.assertIsNone(found["path"])
            maps = ckpttest.read_text(os.path.join(image.path, "proc/maps"))
            whole = [
                line
                for line in maps.splitlines()
                if int(line.split("-")[0], 16) <= row["start"]
                and int(line.split("-")[1].split()[0], 16) >= row["end"]
            ]
            self.assertEqual(len(whole), 1, "proc/maps keeps the whole")

    def test_a_cut_row_of_a_file_has_its_offset_moved(self):
        process = self.mkproc("sparse-memfd")
        (row,) = process.rows("maps")
        ((middle, _),) = row["pattern"]
        with self.mount() as m:
            image = m.capture(process.pid)
            data = row["start"] + middle * PAGE
            _, found = image.row_at(data)
            self.assertLess(found["end"] - found["start"], 64 << 20)
            self.assertEqual(found["offset"], found["start"] - row["start"])
            self.assertEqual(image.read(data, PAGE), pattern_page("sparse-memfd", middle))

    def test_dontdump_is_captured_and_marked(self):
        rows = self.capture_kind("dontdump", "anon")
        self.assert_kind(rows["dontdump"])
        self.assertIs(self.image.row_at(rows["dontdump"]["start"])[1].get("dontdump"), True)
        self.assertNotIn("dontdump", self.image.row_at(rows["anon"]["start"])[1])

    def test_the_first_page_of_each_elf_image_is_there(self):
        process = self.mkproc()
        with self.mount() as m:
            image = m.capture(process.pid)
            seen = 0
            for start, _, _, path in ckpttest.mappings(process.pid):
                if path.startswith("/") and is_elf_at(process.pid, start):
                    row = image.row_at(start)
                    self.assertTrue(row, path)
                    self.assertEqual(image.read(start, 4), b"\x7fELF", path)
                    self.assertEqual(row[1]["path"], path)
                    seen += 1
            self.assertGreaterEqual(seen, 3)

    def test_what_belongs_to_the_kernel_is_left_out(self):
        process = self.mkproc()
        with self.mount() as m:
            image = m.capture(process.pid)
            for start, _, _, path in ckpttest.mappings(process.pid):
                if path.startswith("[v"):
                    self.assertIsNone(image.row_at(start), path)
            vdso = ckpttest.read_bytes(os.path.join(image.path, "proc/vdso"))
            self.assertEqual(vdso[:4], b"\x7fELF")

    def test_every_kind_at_once_equals_the_stopped_process(self):
        process = self.mkproc("all-memory", "threads=5")
        with self.mount() as m, self.stopped(process.pid):
            image = m.capture(process.pid)
            self.assert_image_equals_process(image, process.pid)
            ends = [0]
            for row in image.rows:
                self.assertGreaterEqual(row["start"], ends[-1])
                self.assertGreater(row["end"], row["start"])
                ends.append(row["end"])
            self.assertEqual(
                sorted(os.listdir(os.path.join(image.path, "memory"))),
                sorted(f"{n}.bin" for n in range(len(image.rows))),
            )

    def test_a_capture_leaves_the_page_tables_of_untouched_memory_alone(self):
        process = self.mkproc("reserve-rw")
        before = ckpttest.status_field(process.pid, "VmPTE")
        with self.mount() as m:
            m.capture(process.pid)
        after = ckpttest.status_field(process.pid, "VmPTE")
        self.assertLess(int(after.split()[0]) - int(before.split()[0]), 128, (before, after))


def is_elf_at(pid, address):
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        try:
            return os.pread(mem.fileno(), 4, address) == b"\x7fELF"
        except OSError:
            return False


if __name__ == "__main__":
    ckpttest.main()
