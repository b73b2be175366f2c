#!/usr/bin/env python3
"""Checks that objects built for one instruction set share no function with the rest of the program.

An inline function or template that is compiled with wide -m flags and emitted as a weak symbol may be the copy that the
linker keeps for everybody, and then crash on a machine without that instruction set. So the objects of backend/cpu/isa may
define nothing but their one table function.

usage: check_isa_symbols.py NM ARCHIVE
"""

import re
import subprocess
import sys

OBJECTS = {"scalar.cc.o", "avx2.cc.o", "avx512.cc.o", "avx512_vbmi.cc.o", "amx.cc.o", "neon.cc.o", "neon_dotprod.cc.o"}
# nm -A: archive:object:address type name
LINE = re.compile(r"^[^:]*:([^:]+):\s*[0-9a-f]*\s+(\S)\s+(.*)$")


def main() -> int:
    nm, archive = sys.argv[1:3]
    listing = subprocess.run([nm, "-A", "-C", archive], check=True, capture_output=True, text=True).stdout
    seen, problems = set(), []
    for line in listing.splitlines():
        match = LINE.match(line)
        if not match or match.group(1) not in OBJECTS:
            continue
        name, kind, symbol = match.groups()
        seen.add(name)
        exported = kind.isupper() and kind != "U"
        if kind in "WVuwv" or (exported and not symbol.endswith("::Kernels()")):
            problems.append(f"{name}: {kind} {symbol}")
    if len(seen) < 2:
        problems.append(f"found only {sorted(seen)} in {archive}")
    print("\n".join(problems) if problems else f"{', '.join(sorted(seen))}: nothing shared")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
