"""Plain numpy: a line through noisy points."""

import numpy as np

RATE = 0.1
STEPS = 50
RIDGE = 1e-3
CENTER = True


def fit(x, y, rate=RATE, ridge=RIDGE, shrink=0.99):
    w = np.zeros(x.shape[1])
    for step in range(STEPS):
        error = x @ w - y
        w -= rate * (x.T @ error / len(x) + ridge * w)
        rate *= shrink
    return w


rng = np.random.default_rng(0)
x = rng.normal(size=(200, 3))
y = x @ np.array([1.0, -2.0, 0.5]) + 0.1 * rng.normal(size=200)
if CENTER:
    x = x - x.mean(axis=0)
print("val_loss:", float(np.mean((x @ fit(x, y) - y) ** 2)))
