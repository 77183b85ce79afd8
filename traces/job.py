"""The program behind numpy.svmt: array arithmetic, a sort, a matrix product, arrays that grow and go."""

import sys

sys.path.append(f".venv/lib/python3.{sys.version_info[1]}/site-packages")
import numpy as np

rng = np.random.default_rng(7)
a = rng.integers(0, 1 << 30, 40_000)
b = np.sort(a)
c = (a * 3 + b) ^ (b >> 3)
total = int(c.sum())
for n in (50_000, 100_000, 30_000):
    total += int(np.cumsum(np.arange(n)).max())
c.resize(90_000, refcheck=False)  # realloc moves the mapping: mremap
c[40_000:] = 7
total += int(c.sum())
big = np.zeros(600_000)  # large and touched here and there
big[::500] = 1.0
total += int(big.sum())
m = rng.random((100, 100))
total += int((m @ m.T).trace())
words = {}
for i in range(4000):
    words.setdefault(f"key{i % 700}", []).append(i)
grow = []
for i in range(40_000):
    grow.append(i)
print(total, len(words), len(grow))
