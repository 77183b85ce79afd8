"""Are the system tools there? Prints one line that names the Debian packages to install, and exits 1.

Runs under the system's python3 before the virtual environment exists: standard library only.
"""

import ctypes
import os
import shutil
import sys
import sysconfig


def missing_packages():
    """Debian packages to install, in order."""
    missing = [
        pkg for tool, pkg in (("g++", "g++"), ("make", "make"), ("perl", "perl")) if not shutil.which(tool)
    ]
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        missing.append("python3-venv")
    # cocotb embeds Python in the simulator, which takes Python's shared library.
    name = sysconfig.get_config_var("INSTSONAME") or ""
    for path in (os.path.join(sysconfig.get_config_var("LIBDIR") or "", name), name):
        try:
            ctypes.CDLL(path)
            break
        except OSError:
            pass
    else:
        missing.append("libpython3.%d" % sys.version_info[1])
    return missing


def main():
    """Print what is missing, in one line; 1 when anything is."""
    if sys.version_info < (3, 11):
        print(
            "python3 is %d.%d: 3.11 or newer is needed; name one with PYTHON=" % sys.version_info[:2],
            file=sys.stderr,
        )
        return 1
    missing = missing_packages()
    if missing:
        print(
            "missing system tools; install them with: apt-get install " + " ".join(missing), file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
