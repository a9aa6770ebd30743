"""A forest, a little network and a plain line through data: numbers only."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

TREES = 20
ALPHA = 0.0001
RNG_SEED = 7

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.5, random_state=RNG_SEED)
forest = RandomForestClassifier(n_estimators=TREES, max_depth=6, min_samples_leaf=2, bootstrap=True, random_state=RNG_SEED)
net = MLPClassifier(hidden_layer_sizes=(16, 8), activation="relu", solver="adam", alpha=ALPHA, max_iter=5, random_state=RNG_SEED)
forest.fit(x_train, y_train)
rate = 0.1
weights = np.zeros(x.shape[1])
for _ in range(5):
    weights -= rate * (x_train @ weights - y_train) @ x_train / len(x_train) / 1e4
print(f"METRIC val_error={1 - forest.score(x_test, y_test):.4f}")
