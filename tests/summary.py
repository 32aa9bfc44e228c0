# SPDX-License-Identifier: Apache-2.0
"""Says in a few lines how a run of meson's tests ended: what was skipped and why, what failed.

    summary.py TESTLOG.json

Exits 1 when a test failed or none ran.
"""

import json
import sys

GOOD = ("OK", "EXPECTEDFAIL")


def main(path):
    with open(path, encoding="utf-8") as f:
        tests = [json.loads(line) for line in f if line.strip()]
    passed = [t for t in tests if t["result"] in GOOD]
    skipped = [t for t in tests if t["result"] == "SKIP"]
    failed = [t for t in tests if t not in passed and t not in skipped]

    for t in skipped:
        lines = (t.get("stdout", "") + "\n" + t.get("stderr", "")).strip().splitlines()
        print("skipped: %s: %s" % (t["name"], lines[-1] if lines else "no reason given"))
    for t in failed:
        print("failed: %s (%s)" % (t["name"], t["result"]))
    print("%d passed, %d failed, %d skipped" % (len(passed), len(failed), len(skipped)))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
